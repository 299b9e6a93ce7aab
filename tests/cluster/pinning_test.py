"""Cores: that two groups on one machine use different ones, that what is short is shared and said, and that ranks which share cores
unknown to each other's hosts do not spin against each other. Arguments: the folder of the programs, the program that writes a
small model file."""
import ctypes
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

from hosts import Hosts, forbidden

BIN = sys.argv[1]
TINY_MODEL_FILE = sys.argv[2]
LONGHAUL, COORDINATOR, WORKER = (os.path.join(BIN, each) for each in ("longhaul", "longhaul-coordinator", "longhaul-worker"))
SECONDS = 60
CLONE_NEWTIME = 0x80
HOSTS = 4
TOKENS = 200
SPIN_RATIO = 8
LINES = 5000
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def is_alone():
    """Gives what this test starts a register of held cores of its own; False where the kernel forbids it."""
    return ctypes.CDLL(None).unshare(CLONE_NEWTIME) == 0


def workers_under(pid):
    """The workers among a process's children and theirs."""
    words = subprocess.run(["ps", "-o", "pid=,comm=", "--ppid", str(pid)], capture_output=True, text=True, check=False).stdout.split()
    found = []
    for child, name in zip(words[::2], words[1::2]):
        found += [int(child)] if name.startswith("longhaul-worker") else workers_under(int(child))
    return found


def pinned_cores(pid):
    """CPUs that threads of the process are bound to, one each."""
    found = set()
    for task in os.listdir("/proc/%d/task" % pid):
        with open("/proc/%d/task/%s/status" % (pid, task), encoding="ascii", errors="replace") as file:
            cpus = re.search(r"Cpus_allowed_list:\s*(\S+)", file.read())[1]
        if cpus.isdigit():
            found.add(int(cpus))
    return found


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
        words = file.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


class Pinning(unittest.TestCase):
    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.model = os.path.join(self.folder, "tiny.gguf")
        subprocess.run([TINY_MODEL_FILE, self.model], check=True, timeout=SECONDS)
        self.lines = os.path.join(self.folder, "lines.jsonl")
        self.runs = 0
        with open(self.lines, "w", encoding="utf-8") as file:
            for number in range(LINES):
                body = {"model": "tiny", "prompt": "the other", "max_tokens": 100}
                line = {"custom_id": str(number), "method": "POST", "url": "/v1/completions", "body": body}
                file.write(json.dumps(line) + "\n")

    def start_run(self, *arguments):
        """A run of more lines than a test waits for; returns once the first is answered."""
        self.runs += 1
        answers = os.path.join(self.folder, "answers.%d" % self.runs)
        process = subprocess.Popen([LONGHAUL, "run", "--model", self.model, "-i", self.lines, "-o", answers, "--quiet", *arguments],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.addCleanup(self.end_run, process)
        deadline = time.monotonic() + SECONDS
        while not os.path.exists(answers) or os.path.getsize(answers) == 0:
            self.assertIsNone(process.poll())
            self.assertLess(time.monotonic(), deadline, "no answer")
            time.sleep(0.02)
        return process

    def end_run(self, process):
        if process.returncode is None:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=SECONDS)

    def cores_of(self, process):
        return set().union(*(pinned_cores(pid) for pid in workers_under(process.pid)))

    @unittest.skipIf(len(os.sched_getaffinity(0)) < 2, "one core alone")
    def test_two_runs_of_one_thread_use_different_cores(self):
        first = self.start_run("--threads", "1")
        second = self.start_run("--threads", "1")
        cores = [self.cores_of(first), self.cores_of(second)]
        self.assertEqual([len(each) for each in cores], [1, 1])
        self.assertFalse(cores[0] & cores[1])
        self.end_run(first)
        third = self.start_run("--threads", "1")
        self.assertEqual(self.cores_of(third), cores[0], "an ended run holds nothing")

    def test_a_run_that_finds_all_cores_held_shares_them_with_the_same_answer(self):
        alone = subprocess.run([LONGHAUL, "run", "--model", self.model, "--raw", "--prompt", "the other", "--max-tokens", "20", "--json"],
                               capture_output=True, text=True, timeout=SECONDS, check=True)
        first = self.start_run()
        held = subprocess.run([LONGHAUL, "run", "--model", self.model, "--raw", "--prompt", "the other", "--max-tokens", "20", "--json"],
                              capture_output=True, text=True, timeout=SECONDS, check=True)
        self.assertEqual(json.loads(held.stdout)["token_ids"], json.loads(alone.stdout)["token_ids"])
        second = self.start_run()
        self.assertEqual(self.cores_of(first), set(os.sched_getaffinity(0)))
        self.assertEqual(len(workers_under(second.pid)), 1)
        self.assertEqual(self.cores_of(second), set())

    def test_a_verbose_run_tells_first_what_each_worker_got(self):
        result = subprocess.run([LONGHAUL, "run", "--model", self.model, "--raw", "--prompt", "a", "--max-tokens", "3", "--verbose",
                                 "--threads", "1"], capture_output=True, text=True, timeout=SECONDS, check=True)
        head, row = (re.split(r"  +", line.strip()) for line in result.stderr.splitlines()[:2])
        told = dict(zip(head, row))
        first = str(min(os.sched_getaffinity(0)))
        self.assertEqual(told, {"host": os.uname().nodename, "rank": "0", "threads": "1", "cpus": first, "cores": "own",
                                "node": told["node"], "address": "127.0.0.1 lo", "gpu": "-", "link": "-"})
        self.assertTrue(told["node"].isdigit())


class FourHosts(unittest.TestCase):
    """Ranks of four hosts on fewer cores: each host believes that it has them all."""

    def setUp(self):
        self.folder = self.enterContext(tempfile.TemporaryDirectory())
        self.model = os.path.join(self.folder, "tiny.gguf")
        subprocess.run([TINY_MODEL_FILE, self.model], check=True, timeout=SECONDS)
        self.hosts = self.enterContext(Hosts(HOSTS, "pinning", shared=[self.folder]))
        self.secret = os.path.join(self.folder, "secret")

    def start(self, name, i, words):
        with open(os.path.join(self.folder, name), "w", encoding="utf-8") as log:
            return self.hosts.start(i, words, env=ENVIRONMENT, stdout=log, stderr=subprocess.STDOUT)

    def log(self, name):
        with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as file:
            return file.read()

    def generate(self, tokens):
        return self.hosts.run(0, [LONGHAUL, "generate", "--server", "127.0.0.1:7711", "--prompt", "the other", "--raw", "--max-tokens",
                                  str(tokens), "--json"], timeout=SECONDS, env=ENVIRONMENT)

    def measure(self, where):
        """CPU seconds that the ranks take for an answer, and its ids."""
        ready = os.path.join(self.folder, "ready")
        coordinator = self.start("coordinator.log", 0, [
            COORDINATOR, "--model", self.model, "--insecure-bind", "--listen", "127.0.0.1:7711", "--worker-listen",
            self.hosts.address(0) + ":7712", "--join-secret", self.secret, "--ready-file", ready])
        mpirun = self.start("ranks.log", 0, [
            "mpirun", "--mca", "plm_rsh_agent", self.hosts.agent, "--host", where, "--bind-to", "none", "--mca", "oob_tcp_if_include",
            "eth0", "--mca", "btl_tcp_if_include", "eth0", "--oversubscribe", WORKER, "--coordinator", self.hosts.address(0) + ":7712",
            "--model", self.model, "--join-secret", self.secret, "--threads", "1"])
        deadline = time.monotonic() + SECONDS
        while "group ready" not in self.log("coordinator.log"):
            self.assertLess(time.monotonic(), deadline, self.log("ranks.log"))
            time.sleep(0.05)
        ranks = [pid for i in range(HOSTS + 1) for pid, words in self.hosts.processes(i).items() if words[0] == WORKER]
        self.assertEqual(len(ranks), HOSTS)
        self.assertEqual(self.generate(2).returncode, 0)
        before = sum(map(cpu_seconds, ranks))
        result = self.generate(TOKENS)
        taken = sum(map(cpu_seconds, ranks)) - before
        status = json.loads(self.hosts.run(0, [LONGHAUL, "status", "--server", "127.0.0.1:7711", "--json"], timeout=SECONDS).stdout)
        self.assertEqual(result.returncode, 0, result.stderr)
        for process in (coordinator, mpirun):
            process.terminate()
            process.wait(SECONDS)
        os.remove(ready)
        return taken, json.loads(result.stdout)["token_ids"], status["groups"][0]["ranks"]

    def test_they_do_not_spin_against_each_other(self):
        apart, ids, ranks = self.measure(",".join(self.hosts.name(i) for i in range(1, HOSTS + 1)))
        short = self.log("ranks.log").count("cores are short")
        together, same_ids, _ = self.measure("%s:%d" % (self.hosts.name(1), HOSTS))
        print("pinning: %d tokens on %d hosts take %.2f CPU seconds, on one host %.2f" % (TOKENS, HOSTS, apart, together), flush=True)
        self.assertEqual(ids, same_ids)
        self.assertEqual([(each["host"], each["address"], each["interface"]) for each in ranks],
                         [(self.hosts.name(i), self.hosts.address(i), "eth0") for i in range(1, HOSTS + 1)])
        self.assertTrue(all(each["link_bytes_per_second"] > 0 for each in ranks))
        self.assertEqual(short, HOSTS if len(os.sched_getaffinity(0)) < HOSTS else 0)
        self.assertLess(apart, SPIN_RATIO * together)


if __name__ == "__main__":
    if not is_alone():
        print("skipped: the kernel gives no time namespace, so that other groups on this machine cannot be told apart")
        sys.exit(77)
    if forbidden():
        print("four hosts are left out:", forbidden())
        del FourHosts
    unittest.main(argv=sys.argv[:1]+sys.argv[3:], verbosity=2)
