"""deploy/run-group with an mpirun that does not end: told to end, it forces it, and says 143. On hosts: request_on_hosts_test.py."""
import os
import signal
import subprocess
import tempfile
import time
import unittest

RUN_GROUP = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy", "run-group")
# As one that waits for a daemon on a host that stands still; no rank is here.
MPIRUN = """#!/bin/sh
trap '' TERM
echo $$ >"$0.pid"
while :; do sleep 0.1; done
"""


class RunGroup(unittest.TestCase):
    def test_an_mpirun_that_ignores_its_end_is_forced(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        mpirun = os.path.join(folder, "mpirun")
        with open(mpirun, "w", encoding="ascii") as file:
            file.write(MPIRUN)
        os.chmod(mpirun, 0o755)
        group = subprocess.Popen([RUN_GROUP, "-np", "1", "longhaul-worker"], env={**os.environ, "PATH": folder + ":" + os.environ["PATH"]},
                                 stdin=subprocess.DEVNULL)
        self.addCleanup(group.kill)
        deadline = time.monotonic() + 20
        while not (os.path.exists(mpirun + ".pid") and os.path.getsize(mpirun + ".pid")) and time.monotonic() < deadline:
            time.sleep(0.02)
        with open(mpirun + ".pid", encoding="ascii") as file:
            pid = int(file.read())
        self.addCleanup(self.end, pid)
        group.terminate()
        self.assertEqual(group.wait(20), 143)
        self.assertFalse(os.path.exists("/proc/%d" % pid))

    def end(self, pid):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass


if __name__ == "__main__":
    unittest.main()
