"""deploy/slurm's batch scripts under a real Slurm: one node and several, shards of an array, drained and queued again, a node that
is lost, jobs side by side, cancelled ones; exit codes, tokens, and that nothing is left.
Arguments: the folders of the programs and of the test programs."""
import json
import os
import re
import shutil
import subprocess
import sys
import time
import unittest

import hosts as emulated
from hosts import SOURCE, Hosts
from slurm import PROGRAMS, Slurm

BIN, TESTS = (os.path.abspath(each) for each in sys.argv[1:3])
SCRIPTS = os.path.join(SOURCE, "deploy", "slurm")
LINES, TOKENS = 12, 1000
SECONDS = 90
RUN = ["--threads", "1", "--quiet", "--config", "two.yaml"]


class BatchScripts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hosts = cls.enterClassContext(Hosts(2, "batch"))
        cls.slurm = cls.enterClassContext(Slurm(cls.hosts, node_seconds=5))
        cls.slurm.environment["PATH"] = BIN + ":" + cls.slurm.environment["PATH"]
        cls.model = cls.path("tiny.gguf")
        subprocess.run([os.path.join(TESTS, "tiny_model_file"), cls.model], check=True, timeout=60)
        with open(cls.path("in.jsonl"), "w", encoding="utf-8") as file:
            for n in range(LINES):
                file.write(json.dumps({"custom_id": "l%d" % n, "method": "POST", "url": "/v1/completions", "body": {
                    "model": "tiny", "prompt": "the other light %d" % n, "max_tokens": TOKENS}}) + "\n")
        with open(cls.path("two.yaml"), "w", encoding="ascii") as file:
            file.write("coordinator:\n  group_requests: 2\n")  # so that lines end one after another
        alone = cls.slurm.run(["longhaul", "run", "--model", cls.model, "-i", "in.jsonl", "-o", "alone.jsonl", *RUN], timeout=SECONDS)
        assert alone.returncode == 0, alone.stderr
        cls.texts = cls.texts_of("alone.jsonl")
        assert len(cls.texts) == LINES, cls.texts

    def tearDown(self):
        deadline = time.monotonic() + 15
        while self.left() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual(self.left(), [])

    def left(self):
        """Processes of ours and of Open MPI's, and folders of jobs."""
        found = [words for i in range(3) for words in self.hosts.processes(i).values()
                 if re.search(r"longhaul|orted|mpirun|sbatch", " ".join(words[:2]))]
        return found + [each for each in os.listdir(self.hosts.folder) if each.startswith("longhaul-")]

    @classmethod
    def path(cls, name):
        return os.path.join(cls.hosts.folder, name)

    @classmethod
    def read(cls, name):
        try:
            with open(cls.path(name), encoding="utf-8") as file:
                return file.read()
        except FileNotFoundError:
            return ""

    @classmethod
    def texts_of(cls, name):
        """What each line was answered; a line that has two results is an error."""
        found = {}
        for line in map(json.loads, cls.read(name).splitlines()):
            assert line["custom_id"] not in found, line
            found[line["custom_id"]] = line["response"]["body"]["choices"][0]["text"]
        return found

    def lines(self, out, *options, env=None, cwd=None):
        return self.slurm.sbatch(os.path.join(SCRIPTS, "lines.sbatch"), "--cpus-per-task=1", "--output=%s.log" % out, *options,
                                 arguments=[self.model, self.path("in.jsonl"), out, *RUN], env=env, cwd=cwd)

    def serve(self, out, *command, options=(), env=None, cwd=None):
        return self.slurm.sbatch(os.path.join(SCRIPTS, "serve.sbatch"), "--cpus-per-task=1", "--output=%s.log" % out, *options,
                                 arguments=[self.model, *command], env=env, cwd=cwd)

    def expect(self, job, code, out):
        self.assertEqual(self.slurm.wait(job, SECONDS), ("FAILED" if code else "COMPLETED", code), self.read(out + ".log"))

    def begun(self, out, lines=2):
        """The file as it is once some lines are answered, and not all."""
        self.slurm.wait_until(lambda: self.read(out).count("\n") >= lines, SECONDS, "%s has lines\n%s" % (out, self.read(out + ".log")))
        text = self.read(out)
        self.assertLess(text.count("\n"), LINES)
        return text[:text.rfind("\n") + 1]

    # ---- lines of a file ----

    def test_lines_are_drained_and_go_on_when_the_job_is_queued_again(self):
        job = self.lines("drained.jsonl", "--nodes=2")
        before = self.begun("drained.jsonl")
        self.slurm.run(["scancel", "--batch", "--signal=USR1", job])
        self.slurm.start_again(job, SECONDS)
        drained = self.read("drained.jsonl")
        self.assertTrue(drained.startswith(before))
        self.expect(job, 0, "drained.jsonl")
        self.assertTrue(self.read("drained.jsonl").startswith(drained), "finished lines are not made again")
        self.assertEqual(self.texts_of("drained.jsonl"), self.texts)

    def test_lines_go_on_elsewhere_when_their_node_is_lost(self):
        job = self.lines("lost.jsonl")
        before = self.begun("lost.jsonl")
        node = self.slurm.job(job)["BatchHost"]
        lost = next(i for i in (1, 2) if self.hosts.name(i) == node)
        self.hosts.kill(lost)
        self.slurm.start_again(job, SECONDS)
        self.expect(job, 0, "lost.jsonl")
        self.assertNotEqual(self.slurm.job(job)["BatchHost"], node)
        self.assertTrue(self.read("lost.jsonl").startswith(before), "finished lines are not made again")
        self.assertEqual(self.texts_of("lost.jsonl"), self.texts)
        self.slurm.start_node(lost)
        self.slurm.wait_until(lambda: self.slurm.idle() == 2, SECONDS, "the node is back")

    def tasks(self, array):
        """The tasks of an array, in sequence: the fields of each."""
        result = self.slurm.run(["scontrol", "--oneliner", "show", "job", array])
        found = [dict(re.findall(r"(\w+)=(\S*)", line)) for line in result.stdout.splitlines()]
        return sorted((each for each in found if each["ArrayTaskId"].isdigit()), key=lambda each: int(each["ArrayTaskId"]))

    def test_tasks_of_an_array_answer_a_share_each_and_are_queued_again_one_by_one(self):
        self.addCleanup(self.slurm.change, "RequeueExit", self.slurm.change("RequeueExit", None))  # then it is the script that asks
        job = self.lines("shared.jsonl", "--array=3-5", "--output=shared.%a.log")
        self.slurm.wait_until(lambda: [each["JobState"] for each in self.tasks(job)] == ["RUNNING"] * 3, SECONDS, "three tasks run")
        named = next(each["ArrayTaskId"] for each in self.tasks(job) if each["JobId"] == job)  # by the array's own number
        self.slurm.wait_until(lambda: self.read("shared.jsonl.%s.in" % named), SECONDS, "it has its share")
        self.slurm.run(["scancel", "--batch", "--signal=USR1", "%s_%s" % (job, named)])
        self.slurm.start_again("%s_%s" % (job, named), SECONDS)
        self.assertEqual(self.slurm.wait(job, SECONDS), ("COMPLETED", 0), self.read("shared.%s.log" % named))
        self.assertEqual({each["ArrayTaskId"]: each["Restarts"] for each in self.tasks(job)}, {"3": "0", "4": "0", "5": "0", named: "1"})
        parts = [self.texts_of("shared.jsonl.%d" % task) for task in (3, 4, 5)]
        self.assertEqual([sorted(part) for part in parts], [sorted("l%d" % n for n in range(LINES) if n % 3 == task) for task in range(3)])
        self.assertEqual({key: text for part in parts for key, text in part.items()}, self.texts)
        # With another number of shares it would have other lines.
        self.expect(self.lines("shared.jsonl", "--array=4-5", "--output=shared.jsonl.log"), 2, "shared.jsonl")
        self.assertIn("another number of shares", self.read("shared.jsonl.log"))
        self.assertEqual(self.texts_of("shared.jsonl.4"), parts[1])

    def test_an_array_with_gaps_is_refused_unless_it_says_how_many_shares_there_are(self):
        jobs = [self.lines("gaps.jsonl", "--array=" + each) for each in ("0-4:2", "0,3", "3")]
        for job in jobs:
            self.expect(job, 2, "gaps.jsonl")
        self.assertIn("LONGHAUL_SHARES", self.read("gaps.jsonl.log"))
        self.assertEqual([each for each in os.listdir(self.hosts.folder) if each.startswith("gaps.jsonl.") and each != "gaps.jsonl.log"], [])
        folder = self.path("a folder")
        os.mkdir(folder)
        shutil.copy(self.path("two.yaml"), folder)
        job = self.lines("part.jsonl", "--nodes=2", "--array=2,4", env={"LONGHAUL_SHARES": "6"}, cwd=folder)
        self.expect(job, 0, "a folder/part.jsonl")
        for task in (2, 4):
            self.assertEqual(self.texts_of("a folder/part.jsonl.%d" % task), {key: self.texts[key] for key in ("l%d" % task, "l%d" % (task + 6))})

    def test_a_job_that_is_cancelled_leaves_what_was_finished_and_no_process(self):
        job = self.lines("cancelled.jsonl", "--nodes=2")
        before = self.begun("cancelled.jsonl", 1)
        self.slurm.cancel(job)
        self.assertEqual(self.slurm.wait(job, SECONDS)[0], "CANCELLED")
        self.assertTrue(self.read("cancelled.jsonl").startswith(before))

    # ---- a coordinator for commands ----

    def test_a_command_asks_a_coordinator_of_its_own_on_all_nodes(self):
        ask = ("longhaul status ${LONGHAUL_CLIENT%% --token*} && exit 1; longhaul status $LONGHAUL_CLIENT --json >status.$0; "
               "longhaul generate $LONGHAUL_CLIENT --json --raw --prompt 'the other light' --max-tokens 9 >answer.$0 && exit 7")
        jobs = {name: self.serve(name, "sh", "-c", ask, name, options=["--nodes=2"], env={"LONGHAUL_COORDINATOR": "--launcher " + name})
                for name in ("mpirun", "srun")}  # side by side
        for name, job in jobs.items():
            self.expect(job, 7, name)
            self.assertIn("token", self.read(name + ".log"), "who shows none is told so")
            self.assertEqual(os.stat(self.path("answer." + name)).st_mode & 0o777, 0o644, "the command has the user's umask")
            group, = json.loads(self.read("status." + name))["groups"]
            self.assertEqual({rank["host"] for rank in group["ranks"]}, {self.hosts.name(i) for i in (1, 2)})
        answers = [json.loads(self.read("answer." + name)) for name in jobs]
        self.assertEqual(len(answers[0]["token_ids"]), 9)
        self.assertEqual(answers[0]["token_ids"], answers[1]["token_ids"])
        groups = [json.loads(self.read("status." + name))["groups"][0]["group_id"] for name in jobs]
        self.assertNotEqual(*groups)

    def test_without_a_command_it_serves_other_hosts_until_it_is_told_to_end(self):
        # As Debian installs a host: its own name is an address of its own.
        self.hosts.run(1, ["sh", "-ec", "sed 's/^198.* %s$/127.0.1.1 %s/' /etc/hosts >own; mount --bind own /etc/hosts" %
                           (self.hosts.name(1), self.hosts.name(1))], timeout=20, check=True)
        self.addCleanup(self.hosts.run, 1, ["umount", "/etc/hosts"], timeout=20, check=True)
        job = self.serve("serving", options=["--nodelist=" + self.hosts.name(1)])
        folder = self.path("longhaul-" + job)
        self.slurm.wait_until(lambda: self.read(os.path.join(folder, "address")), SECONDS, "it listens")
        self.assertEqual([os.stat(os.path.join(folder, each)).st_mode & 0o77 for each in (".", "token", "secret", "access")], [0] * 4)
        client = ["--server", self.read(os.path.join(folder, "address")).split()[0], "--timeout", "30"]
        refused = self.slurm.run(["longhaul", "generate", *client, "--raw", "--prompt", "a"])
        self.assertEqual(refused.returncode, 77, refused.stderr)
        answered = self.slurm.run(["longhaul", "generate", *client, "--token-file", os.path.join(folder, "token"), "--raw", "--prompt", "a",
                                   "--max-tokens", "5"])
        self.assertEqual(answered.returncode, 0, answered.stderr)
        self.slurm.run(["scancel", "--batch", "--signal=USR1", job])
        self.expect(job, 0, "serving")

    def test_a_command_that_does_not_end_keeps_no_token(self):
        job = self.serve("stubborn", "sh", "-c", "trap '' TERM; touch deaf; while :; do sleep 1; done")
        self.slurm.wait_until(lambda: os.path.exists(self.path("deaf")), SECONDS, "the command runs\n" + self.read("stubborn.log"))
        self.slurm.cancel(job)
        self.assertEqual(self.slurm.wait(job, SECONDS)[0], "CANCELLED")

    def test_a_folder_with_blanks_is_refused(self):
        folder = self.path("another folder")
        os.mkdir(folder)
        self.expect(self.serve("blank", "true", cwd=folder), 2, "another folder/blank")
        self.assertIn("blank", self.read("another folder/blank.log"))

    def test_a_coordinator_that_cannot_start_is_the_jobs_code(self):
        job = self.serve("failed", "true", env={"LONGHAUL_COORDINATOR": "--workers 0"})
        self.expect(job, 2, "failed")


if __name__ == "__main__":
    emulated.run_tests("mpirun", *PROGRAMS)
