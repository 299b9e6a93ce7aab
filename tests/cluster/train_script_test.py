"""deploy/slurm/train.sbatch under a real Slurm, two ranks on a node: told to end and queued again, a rank that is lost, what cannot
work; each time with the bits of a run that nobody disturbed. Arguments: the folders of the programs and of the test programs."""
import os
import re
import signal
import sys
import unittest

import hosts as emulated
from hosts import SOURCE, Hosts
from slurm import PROGRAMS, Slurm
from training import Training

BIN, TESTS = (os.path.abspath(each) for each in sys.argv[1:3])
SCRIPT = os.path.join(SOURCE, "deploy", "slurm", "train.sbatch")
SECONDS, STEPS = 90, 600


class TrainScript(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hosts = cls.enterClassContext(Hosts(1, "train"))
        cls.slurm = cls.enterClassContext(Slurm(cls.hosts, node_seconds=5))
        cls.slurm.environment["PATH"] = BIN + ":" + cls.slurm.environment["PATH"]
        cls.training = cls.enterClassContext(Training(BIN, TESTS, folder=cls.hosts.folder))
        cls.write("whole")
        result = cls.training.run("whole.yaml", "--ranks", "2")
        assert result.returncode == 0, result.stderr
        cls.truth = cls.training.digest("whole")

    @classmethod
    def write(cls, name, **changes):
        cls.training.write(name + ".yaml", name, **{"steps": STEPS, "between": 20, "data": 2, **changes})

    def submit(self, name):
        return self.slurm.sbatch(SCRIPT, "--ntasks-per-node=2", "--cpus-per-task=1", "--output=%s.log" % name,
                                 arguments=[self.training.path(name + ".yaml")], cwd=self.training.folder)

    def said(self, name):
        with open(self.training.path(name + ".log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def begun(self, name):
        self.slurm.wait_until(lambda: len(self.training.losses(name)) >= 25, SECONDS, "%s takes steps" % name)

    def expect_all_steps(self, job, name):
        self.assertEqual(self.slurm.wait(job, SECONDS), ("COMPLETED", 0), self.said(name))
        self.assertEqual([each["step"] for each in self.training.losses(name)], list(range(1, STEPS + 1)))
        self.assertEqual(self.training.digest(name), self.truth)

    def test_told_to_end_it_is_queued_again_and_goes_on(self):
        self.write("told")
        job = self.submit("told")
        self.begun("told")
        self.slurm.run(["scancel", "--batch", "--signal=USR1", job])
        self.slurm.start_again(job, SECONDS)
        self.assertRegex(self.said("told"), r"step \d+ of %d is saved" % STEPS)
        self.expect_all_steps(job, "told")

    def test_a_lost_rank_is_started_again_with_the_others(self):
        self.write("lost")
        job = self.submit("lost")
        self.begun("lost")
        ranks = [pid for pid, words in self.hosts.processes(1).items() if re.search(r"longhaul-trainer$", words[0])]
        self.assertEqual(len(ranks), 2, ranks)
        os.kill(ranks[1], signal.SIGKILL)
        self.expect_all_steps(job, "lost")
        self.assertIn("starting again from the last checkpoint", self.said("lost"))

    def test_what_cannot_work_is_the_jobs_code_at_once(self):
        self.write("wrong", data=3)
        self.assertEqual(self.slurm.wait(self.submit("wrong"), SECONDS), ("FAILED", 65), self.said("wrong"))
        self.assertIn("= 3 ranks", self.said("wrong"))


if __name__ == "__main__":
    emulated.run_tests("mpirun", *PROGRAMS)
