"""Workers on several hosts, started by `longhaul run` and --launch, by mpirun and by srun, in a Slurm job and without: they answer
as one host does, are one group, and leave nothing. Arguments: the folder of the programs, the program that writes a small
model, and --cut to pull a cable too, which takes as long as all the rest."""
import json
import os
import re
import signal
import subprocess
import sys
import time
import unittest

import hosts as emulated
from hosts import Hosts
from slurm import PROGRAMS, Slurm

BIN, TINY_MODEL_FILE = sys.argv[1:3]
LONGHAUL, COORDINATOR, WORKER = (os.path.join(BIN, each) for each in ("longhaul", "longhaul-coordinator", "longhaul-worker"))
# Sampled, so that the random model's answer is no repetition; by kernels that all CPUs have, so that it is the same everywhere.
ASK = ["--raw", "--prompt", "the quick brown fox " * 20, "--max-tokens", "12", "--temperature", "30", "--seed", "3", "--kernels",
       "reference", "--threads", "1"]
TWO = ["--nodes=2", "--ntasks-per-node=1", "--cpus-per-task=2"]
SECONDS = 60


class LaunchOnHosts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hosts = cls.enterClassContext(Hosts(2, "launch"))
        cls.slurm = cls.enterClassContext(Slurm(cls.hosts))
        cls.model = os.path.join(cls.hosts.folder, "tiny.gguf")
        subprocess.run([TINY_MODEL_FILE, cls.model], check=True, timeout=60)
        cls.run_words = [LONGHAUL, "run", "--model", cls.model, *ASK, "--json"]
        cls.environment = {**cls.slurm.environment, "OMPI_MCA_plm_rsh_agent": cls.hosts.agent}
        alone = cls.hosts.run(1, cls.run_words, SECONDS, env=cls.slurm.environment)
        assert alone.returncode == 0, alone.stderr
        cls.ids = json.loads(alone.stdout)["token_ids"]
        assert len(set(cls.ids)) > 4, cls.ids

    def setUp(self):
        self.names = {self.hosts.name(i) for i in (1, 2)}
        self.addCleanup(self.expect_nothing_left)

    def expect_nothing_left(self):
        """No process of ours, no file of Open MPI's, no folder of a join secret."""
        def left():
            found = [words for i in range(3) for words in self.hosts.processes(i).values()
                     if re.search(r"longhaul-(worker|coordinator)|orted|mpirun", " ".join(words))]
            for i in range(3):
                found += self.hosts.run(i, ["sh", "-c", "ls -d /dev/shm/* /tmp/ompi* 2>/dev/null"], SECONDS).stdout.split()
            return found + [each for each in os.listdir(self.hosts.folder) if each.startswith("longhaul-")]
        deadline = time.monotonic() + 15
        while left() and time.monotonic() < deadline:
            time.sleep(0.2)
        self.assertEqual(left(), [])

    def read(self, name):
        with open(os.path.join(self.hosts.folder, name), encoding="utf-8") as file:
            return file.read()

    def batch(self, words, *options):
        """Runs a command as a job; what it said on standard output and standard error."""
        script = os.path.join(self.hosts.folder, "job")
        with open(script, "w", encoding="utf-8") as file:
            file.write("#!/bin/bash\nexec %s\n" % " ".join("'%s'" % word for word in words))
        job = self.slurm.sbatch(script, *options, "--output=said", "--error=told")
        state = self.slurm.wait(job, SECONDS)
        self.assertEqual(state, ("COMPLETED", 0), self.read("told"))
        return self.read("said"), self.read("told")

    def expect_answer(self, said, told, workers):
        answer = json.loads(said)
        self.assertEqual(answer["token_ids"], self.ids)
        self.assertEqual(answer["plan"]["workers"], workers)
        for rank in answer["ranks"]:
            self.assertGreater(rank["sent_bytes"], 0)
            self.assertEqual(rank["sent_bytes"], rank["predicted_sent_bytes"])
        joined = set(re.findall(r'event="worker joined".* host=(\S+)', told))
        self.assertEqual(joined, self.names, told)

    def test_run_uses_the_hosts_of_its_job(self):
        said, told = self.batch([*self.run_words, "--log-level", "info"], *TWO)
        self.expect_answer(said, told, 2)
        self.assertRegex(told, r'event="workers on several hosts" named_by="Slurm job \d+" hosts=2 workers=2 workers_here=1 .*'
                         "address=%s " % re.escape(self.hosts.address(1)))
        self.assertRegex(told, r'event="workers started" program=\S*/mpirun ')

    def test_run_starts_them_by_srun_where_that_is_asked_for(self):
        said, told = self.batch([*self.run_words, "--log-level", "info", "--launcher", "srun", "--workers", "3",
                                 "--interface", "eth0"], *TWO)
        self.expect_answer(said, told, 3)
        self.assertRegex(told, r'event="workers started" program=\S*/srun ')

    def test_each_task_of_srun_keeps_its_workers_on_its_host(self):
        said, told = (os.path.join(self.hosts.folder, name) for name in ("said.", "told."))
        words = ["srun", *TWO, "--output", said + "%t", "--error", told + "%t", *self.run_words, "--workers", "2", "--log-level", "info"]
        result = self.slurm.run(words, SECONDS)
        self.assertEqual(result.returncode, 0, result.stderr + self.read("told.0") + self.read("told.1"))
        for task in "01":
            log = self.read("told." + task)
            self.assertEqual(json.loads(self.read("said." + task))["token_ids"], self.ids)
            self.assertIn("one of 2,", log)
            joined = re.findall(r'event="worker joined".* host=(\S+)', log)
            self.assertEqual(joined, [self.hosts.name(1 + int(task))] * 2, log)

    def test_a_file_of_lines_uses_them_too_and_two_jobs_on_the_same_hosts_do_not_meet(self):
        with open(os.path.join(self.hosts.folder, "in.jsonl"), "w", encoding="utf-8") as file:
            for n in range(4):
                file.write(json.dumps({"custom_id": "l%d" % n, "method": "POST", "url": "/v1/completions", "body": {
                    "model": "tiny", "prompt": "line %d says" % n, "max_tokens": 6, "seed": n, "temperature": 2}}) + "\n")
        script = os.path.join(self.hosts.folder, "lines")
        with open(script, "w", encoding="utf-8") as file:
            file.write("#!/bin/bash\nexec %s run --model %s --kernels reference --threads 1 --log-level info -i in.jsonl -o $1.jsonl\n" %
                       (LONGHAUL, self.model))
        jobs = [self.slurm.sbatch(script, "--nodes=2", "--cpus-per-task=1", "--error=told." + name, arguments=[name])
                for name in ("a", "b")]
        alone = self.hosts.run(0, ["bash", script, "alone"], SECONDS, env=self.slurm.environment)
        self.assertEqual(alone.returncode, 0, alone.stderr)
        for job, name in zip(jobs, ("a", "b")):
            self.assertEqual(self.slurm.wait(job, SECONDS), ("COMPLETED", 0), self.read("told." + name))
            self.assertEqual(set(re.findall(r'event="worker joined".* host=(\S+)', self.read("told." + name))), self.names)
        begun, ended = zip(*(self.times_of(job) for job in jobs))
        self.assertLess(max(begun), min(ended), "both ran at once")
        texts = [sorted((line["custom_id"], line["response"]["body"]["choices"][0]["text"]) for line in
                        map(json.loads, self.read(name + ".jsonl").splitlines())) for name in ("alone", "a", "b")]
        self.assertEqual(len(texts[0]), 4)
        self.assertEqual(texts[1:], [texts[0]] * 2)

    def times_of(self, job):
        fields = self.slurm.job(job)
        return [time.mktime(time.strptime(fields[each], "%Y-%m-%dT%H:%M:%S")) for each in ("StartTime", "EndTime")]

    def test_hosts_that_are_named_are_reached_without_slurm(self):
        """From the head, where no worker runs."""
        with open(os.path.join(self.hosts.folder, "hostfile"), "w", encoding="utf-8") as file:
            file.write("%s slots=1\n%s slots=2 # the larger one\n" % (self.hosts.name(1), self.hosts.name(2)))
        words = [*self.run_words, "--log-level", "info", "--hostfile", "hostfile", "--interface", "198.18.0.0/24"]
        result = self.hosts.run(0, words, SECONDS, env=self.environment)
        self.assertEqual(result.returncode, 0, result.stderr)
        self.expect_answer(result.stdout, result.stderr, 3)

    def test_what_cannot_be_is_refused_with_the_reason(self):
        for words, code, sentence in (
                (["--hosts", "launch1,nowhere"], 66, "host nowhere has no IPv4 address here"),
                (["--hosts", "launch1,127.0.0.1"], 69, "over this host's loopback"),
                (["--hosts", "launch1", "--interface", "ib0"], 66, r"no such one, but eth0 \(198.18.0.0/24\)"),
                (["--hosts", "launch1", "--transport", "loopback"], 65, "leave it out with --hosts"),
                (["--hostfile", "missing"], 66, "--hostfile missing: No such file"),
                (["--workers", "2", "--launcher", "srun"], 78, "in a Slurm job, and this is in none")):
            result = self.hosts.run(0, [*self.run_words, *words], SECONDS, env=self.environment)
            self.assertEqual(result.returncode, code, result.stderr)
            self.assertRegex(result.stderr, sentence)
        result = self.hosts.run(0, [COORDINATOR, "--model", self.model, "--launch", "--hosts", "launch1", "--worker-listen",
                                    "127.0.0.1:0"], SECONDS, env=self.environment)
        self.assertEqual(result.returncode, 65, result.stderr)
        self.assertIn("workers on other hosts cannot reach it", result.stderr)

    def test_what_fails_on_another_host_is_the_reason_that_is_told(self):
        agent = os.path.join(self.hosts.folder, "deaf")
        with open(agent, "w", encoding="utf-8") as file:
            file.write("#!/bin/sh\necho ssh: connect to host $1: no route >&2\nexit 255\n")
        os.chmod(agent, 0o755)
        for environment, code, sentence in (
                ({"HOME": "/tmp"}, 69, r"open the join secret /tmp/longhaul-launch0/\d+.secret: No such file or directory; on host launch1: "
                 "where hosts share no folder for it"),
                ({"OMPI_MCA_plm_rsh_agent": agent}, 69, "ssh: connect to host launch1: no route")):
            result = self.hosts.run(0, [*self.run_words, "--hosts", "launch1"], SECONDS, env={**self.environment, **environment})
            self.assertRegex(result.stderr.splitlines()[-1], "the workers ended before they were ready .*" + sentence)
            self.assertEqual(result.returncode, code, result.stderr)

    def start_coordinator(self, *flags):
        """On the head; returns it with its clients' and workers' addresses."""
        ready = os.path.join(self.hosts.folder, "ready")
        self.addCleanup(lambda: os.path.exists(ready) and os.remove(ready))
        log = open(os.path.join(self.hosts.folder, "coordinator.log"), "w", encoding="utf-8")
        self.addCleanup(log.close)
        process = self.hosts.start(0, [COORDINATOR, "--model", self.model, "--listen", "127.0.0.1:0", "--kernels", "reference",
                                       "--ready-file", ready, *flags], env=self.environment, stderr=log)
        self.addCleanup(process.kill)
        self.slurm.wait_until(lambda: os.path.exists(ready), SECONDS, "the coordinator listens")
        return process, *self.read("ready").split()

    def status(self, server):
        return self.hosts.run(0, [LONGHAUL, "status", "--server", server], SECONDS, env=self.environment).stdout

    def test_srun_makes_one_group_of_its_tasks_or_refuses(self):
        secret = os.path.join(self.hosts.folder, "secret")
        self.addCleanup(lambda: os.path.exists(secret) and os.remove(secret))
        coordinator, server, workers = self.start_coordinator("--worker-listen", self.hosts.name(0) + ":0", "--insecure-bind",
                                                              "--join-secret", secret)
        words = [WORKER, "--coordinator", workers, "--model", self.model, "--threads", "1", "--kernels", "reference", "--join-secret",
                 secret]
        for how in ("none", "pmi2"):
            result = self.slurm.run(["srun", "--mpi=" + how, *TWO, "--kill-on-bad-exit=1", *words], SECONDS)
            self.assertNotEqual(result.returncode, 0)
            self.assertNotIn("launch1", self.status(server), "no group of one")
            if how == "none":
                self.assertIn("srun started 2 workers without MPI", result.stderr)
        step = self.hosts.start(0, ["srun", "--mpi=pmix", *TWO, *words], env=self.environment, stderr=subprocess.PIPE, text=True)
        self.addCleanup(step.stderr.close)
        self.addCleanup(step.kill)
        self.slurm.wait_until(lambda: re.search(r"\sready\s+2/2\s+mpi", self.status(server)), SECONDS, "one group of two")
        coordinator.terminate()
        self.assertEqual(coordinator.wait(SECONDS), 0)
        self.assertEqual(step.wait(SECONDS), 0)

    def lose_a_host(self, lose, restore, *flags):
        """While it answers: the request ends in time, and so does what the launcher left; a group on both hosts comes again."""
        coordinator, server, _ = self.start_coordinator("--launch", "--hosts", ",".join(sorted(self.names)), "--context", "100000",
                                                        *flags)
        self.slurm.wait_until(lambda: "2/2" in self.status(server), SECONDS, "the group is ready")
        ask = self.hosts.start(0, [LONGHAUL, "generate", "--server", server, "--raw", "--prompt", "a", "--max-tokens", "90000",
                                   "--temperature", "2", "--seed", "1"], env=self.environment, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
        self.addCleanup(ask.stdout.close)
        self.addCleanup(ask.stderr.close)
        self.assertTrue(ask.stdout.read(1))
        first = [pid for pid, words in self.hosts.processes(0).items() if words[0].endswith("mpirun")]
        lose(2)
        begin = time.monotonic()
        try:
            self.assertEqual(ask.wait(SECONDS), 69)
            self.assertLess(time.monotonic() - begin, 10)
            self.slurm.wait_until(lambda: not set(first) & set(self.hosts.processes(0)), 15, "mpirun has ended")
            self.slurm.wait_until(lambda: not any("longhaul-worker" in words[0] for words in self.hosts.processes(1).values()), 15,
                                  "the other host's worker has ended")
        finally:
            restore(2)
        self.slurm.wait_until(lambda: "2/2" in self.status(server), SECONDS, "a group is there again")
        coordinator.send_signal(signal.SIGTERM)
        self.assertEqual(coordinator.wait(SECONDS), 0)

    def test_a_stopped_host_ends_its_group(self):
        self.lose_a_host(self.hosts.stop, self.hosts.resume, "--heartbeat-timeout", "3")

    if "--cut" in sys.argv:
        def test_a_host_that_is_cut_off_ends_its_group(self):
            self.lose_a_host(self.hosts.cut, self.hosts.heal)


if __name__ == "__main__":
    emulated.run_tests(*PROGRAMS, "mpirun")
