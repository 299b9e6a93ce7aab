"""The real Slurm on emulated hosts (slurm.py): that it starts tasks and jobs on all of them, tells how they ended, gives back what
says so, and leaves nothing."""
import os
import time
import unittest

import hosts as emulated
from hosts import Hosts
from slurm import PROGRAMS, Slurm

OTHERS = 3
SECONDS = 30


class SlurmOnHosts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hosts = cls.enterClassContext(Hosts(OTHERS, "slurmt"))
        cls.slurm = cls.enterClassContext(Slurm(cls.hosts))

    def script(self, text):
        path = os.path.join(self.hosts.folder, self.id().rpartition(".")[2])
        with open(path, "w", encoding="utf-8") as file:
            file.write("#!/bin/bash\n" + text)
        return path

    def read(self, name):
        with open(os.path.join(self.hosts.folder, name), encoding="utf-8") as file:
            return file.read()

    def test_srun_starts_tasks_on_every_host_and_tells_them_their_ranks(self):
        result = self.slurm.run(["srun", "--mpi=pmix", "-N3", "-n6", "sh", "-c", "echo $(hostname) $PMIX_RANK"])
        self.assertEqual(result.returncode, 0, result.stderr)
        said = [line.split() for line in result.stdout.splitlines()]
        self.assertEqual({name for name, _ in said}, {self.hosts.name(i) for i in range(1, OTHERS + 1)})
        self.assertEqual(sorted(int(rank) for _, rank in said), list(range(6)))

    def test_a_job_starts_ranks_by_mpirun_and_ends_with_its_own_code(self):
        script = self.script("export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1\nmpirun hostname\nexit 7\n")
        job = self.slurm.sbatch(script, "--nodes=2", "--output=said")
        self.assertEqual(self.slurm.wait(job, SECONDS), ("FAILED", 7))
        self.assertEqual(len(set(self.read("said").split())), 2)

    def test_a_job_that_exits_with_75_is_queued_again(self):
        job = self.slurm.sbatch(self.script("echo run >>runs\nexit 75\n"), "--requeue")
        self.slurm.wait_until(lambda: self.slurm.job(job).get("Restarts") == "1", SECONDS, "the job is in the queue again")
        self.slurm.cancel(job)
        self.assertEqual(self.slurm.wait(job, SECONDS)[0], "CANCELLED")
        self.assertEqual(self.read("runs"), "run\n")

    def test_a_job_that_is_cancelled_leaves_no_process(self):
        job = self.slurm.sbatch(self.script("touch runs.$SLURM_JOB_ID; sleep 1001 & sleep 1001; wait\n"), "--nodes=2")
        self.slurm.wait_until(lambda: os.path.exists(os.path.join(self.hosts.folder, "runs." + job)), SECONDS, "the job runs")
        self.slurm.cancel(job)
        self.assertEqual(self.slurm.wait(job, SECONDS)[0], "CANCELLED")
        deadline = time.monotonic() + SECONDS
        while self.sleepers() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(self.sleepers(), [])

    def sleepers(self):
        return [line for i in range(OTHERS + 1) for line in self.hosts.processes(i).values() if "1001" in line]


if __name__ == "__main__":
    emulated.run_tests(*PROGRAMS)
