"""Row F23 of the contract: the host's clock is set forward and back by an hour, under libfaketime, while batches and requests run.
Nothing expires that is not due, nothing waits for the clock, ids stay unique, and a restart after a step back goes on behind what was
written last. Prints `F23.steps figure gate PASS|FAIL seed`. 77: no libfaketime here."""
import calendar
import glob
import os
import sys
import time
import unittest

from batch_client import BatchTest, bp, completion
from cluster_under_test import FOLDER, wait_until

LIBRARY = glob.glob("/usr/lib/*/faketime/libfaketimeMT.so.1")
STEPS = [3600, -3600, 3600, 0]


class ClockTest(BatchTest):
    def set_clock(self, seconds):
        """By how much the coordinator's wall clock is off; it looks once a second."""
        with open(self.clock + ".new", "w", encoding="ascii") as file:
            file.write("%+d\n" % seconds)
        os.rename(self.clock + ".new", self.clock)

    def start_faked(self):
        self.start(self.store(), "--log-level=info", environment=dict(
            os.environ, LD_PRELOAD=LIBRARY[0], FAKETIME_TIMESTAMP_FILE=self.clock, FAKETIME_CACHE_DURATION="1",
            FAKETIME_DONT_FAKE_MONOTONIC="1"))
        self.echo("--group=g", "--places=4", "--again", "--step-us=2000")
        self.wait_ready()

    def is_off_by(self, seconds):
        """As the last line of the coordinator's own log tells, which a request adds to."""
        list(self.generate("WHAT TIME IS IT", timeout=30))
        last = [line for line in self.log_of(self.coordinator).splitlines() if line[:4].isdigit()][-1].split()[0]
        off = calendar.timegm(time.strptime(last[:19], "%Y-%m-%dT%H:%M:%S")) - time.time()
        return abs(off - seconds) < 60

    def run_batch(self, number):
        made = self.create([completion(str(n), "STEP %d LINE %d" % (number, n)) for n in range(8)],
                           bp.Batch(expires_after_seconds=120))
        return made.name, self.wait_ended(made.name, 30)

    def test_steps_of_the_clock_change_nothing(self):
        self.clock = os.path.join(FOLDER, "clock")
        self.set_clock(0)
        self.start_faked()
        names, created, wrong = [], [], 0
        # It waits in no state that time ends: nothing of it may expire.
        waiting = self.create((), bp.Batch(expires_after_seconds=600)).name
        for number, step in enumerate(STEPS):
            self.set_clock(step)
            wait_until(lambda: self.is_off_by(step), 20, "the coordinator's clock is set")
            begin = time.monotonic()
            events = list(self.generate("STEP", timeout=30))
            name, ended = self.run_batch(number)
            names.append(name)
            created.append(ended.created_us)
            wrong += ended.state != bp.BATCH_STATE_SUCCEEDED or ended.counts.completed != 8 or not events
            wrong += self.get(waiting).state != bp.BATCH_STATE_UPLOADING
            wrong += time.monotonic() - begin > 20
        self.coordinator.terminate()
        self.coordinator.wait(30)
        self.set_clock(-3600)
        self.start_faked()
        name, ended = self.run_batch(len(STEPS))
        names.append(name)
        created.append(ended.created_us)
        wrong += self.get(waiting).state != bp.BATCH_STATE_UPLOADING or ended.counts.completed != 8
        wrong += len(set(names)) != len(names) or created != sorted(created)
        print("F23.steps %d of an hour, wrong %d gate 0 %s seed 0" % (len(STEPS) + 1, wrong, "FAIL" if wrong else "PASS"))
        self.assertEqual(wrong, 0)


if __name__ == "__main__":
    if not LIBRARY:
        sys.exit(77)
    unittest.main(argv=sys.argv[:1])
