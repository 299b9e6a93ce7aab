"""train_kills PROGRAMS TESTS [--kills N] [--ranks N] [--steps N] [--seed N]: row F26 of the fault contract. A training run over
processes of MPI is killed at random moments, --kills times: one rank, or all of it at once. Each time it is started again and goes
on from its last checkpoint. The weights and the optimiser's state that it ends with must be those of a run that nobody disturbed,
bit for bit; each step is told of once; and no start may find a checkpoint in its place that is not whole.

Prints the figure, its gate, PASS or FAIL, and the seed. Exits 0 where it passes."""
import argparse
import os
import random
import signal
import sys
import time

from training import Training

SECONDS = 120


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs")
    parser.add_argument("tests")
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--ranks", type=int, default=2)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1000000)
    return parser.parse_args()


def ranks_of(training, config):
    """Processes of the run, apart from mpirun."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                words = file.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if os.path.basename(words[0]) == "longhaul-trainer" and training.path(config) in words:
            found.append(int(pid))
    return sorted(found)


def wait_gone(training, config):
    deadline = time.monotonic() + 20
    while ranks_of(training, config):
        if time.monotonic() > deadline:
            raise AssertionError("ranks outlive their group: %s" % ranks_of(training, config))
        time.sleep(0.02)


class Killed:
    """A run that is killed again and again."""

    def __init__(self, training, options, number):
        self.training, self.options = training, options
        self.choose = random.Random("%d F26 %d" % (options.seed, number))
        self.name = "killed%d" % number
        self.config = self.name + ".yaml"
        training.write(self.config, self.name, steps=options.steps, between=3, data=options.ranks)

    def start(self):
        with open(self.training.path(self.name + ".log"), "ab") as log:
            return self.training.start(self.config, ranks=self.options.ranks, stdout=log, stderr=log)

    def kill_once(self):
        """False where the run ended by itself before."""
        before = self.training.losses(self.name)
        process = self.start()
        deadline = time.monotonic() + SECONDS
        begun = lambda: self.training.losses(self.name)[-1:] not in ([], before[-1:])
        while process.poll() is None and not begun():
            if time.monotonic() > deadline:
                raise AssertionError("no step in %d s" % SECONDS)
            time.sleep(0.005)
        time.sleep(self.choose.uniform(0, 0.3))
        victims = ranks_of(self.training, self.config)
        if process.poll() is not None or not victims:
            process.wait(SECONDS)
            return False
        all_at_once = self.choose.random() < 0.5
        for victim in victims if all_at_once else [self.choose.choice(victims)]:
            try:
                os.kill(victim, signal.SIGKILL)
            except ProcessLookupError:
                pass
        code = process.wait(SECONDS)
        wait_gone(self.training, self.config)
        return code != 0

    def finish(self):
        """Whether it does, and all was as it should be."""
        code = self.start().wait(SECONDS)
        with open(self.training.path(self.name + ".log"), encoding="utf-8", errors="replace") as log:
            said = log.read()
        if code != 0 or "passed over" in said:
            print(said, file=sys.stderr)
        steps = [each["step"] for each in self.training.losses(self.name)]
        return code == 0 and "passed over" not in said and steps == list(range(1, self.options.steps + 1))


def main():
    options = arguments()
    kills = held = number = 0
    with Training(options.programs, options.tests) as training:
        training.write("whole.yaml", "whole", steps=options.steps, between=3, data=options.ranks)
        result = training.run("whole.yaml", ranks=options.ranks, timeout=SECONDS)
        assert result.returncode == 0, result.stderr
        truth = training.digest("whole")
        while kills < options.kills:
            run, mine = Killed(training, options, number), 0
            number += 1
            while kills + mine < options.kills and run.kill_once():
                mine += 1
            good = run.finish() and training.digest(run.name) == truth
            print("run %d: %d kills, %s" % (number, mine, "the same bits" if good else "OTHER BITS"), file=sys.stderr)
            kills += mine
            held += mine if good else 0
            if number > 10 * options.kills:
                raise AssertionError("runs end before they can be killed: give more --steps")
    passed = held == kills
    print("F26 %d kills at random moments of %d runs over %d ranks: %d followed by the bits of an undisturbed run, gate all: %s, seed %d" %
          (kills, number, options.ranks, held, "PASS" if passed else "FAIL", options.seed))
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
