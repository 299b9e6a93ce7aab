"""A coordinator and worker groups on emulated hosts (hosts.py), started as a user starts them: the coordinator on the head, each
group by deploy/run-group on the first of its hosts, over TCP. The tests and campaigns that stand on it say what goes wrong."""
import json
import os
import subprocess
import time

from hosts import SOURCE

SERVE_SECONDS = 30
RUN_GROUP = os.path.join(SOURCE, "deploy", "run-group")


class ClusterOnHosts:
    def __init__(self, hosts, programs, tests, *flags):
        """programs, tests: the build's folders. flags: the coordinator's."""
        self.hosts, self.programs = hosts, os.path.abspath(programs)
        self.folder = os.path.join(hosts.folder, "cluster")
        os.makedirs(self.folder, exist_ok=True)
        self.model, self.secret = self.path("tiny.gguf"), self.path("secret")
        subprocess.run([os.path.join(tests, "tiny_model_file"), self.model], check=True, timeout=60)
        self.flags, self.groups = flags, 0
        self.start_coordinator()

    def path(self, name):
        return os.path.join(self.folder, name)

    def program(self, name):
        return os.path.join(self.programs, name)

    def start_coordinator(self):
        ready = self.path("ready")
        if os.path.exists(ready):
            os.remove(ready)
        with open(self.path("coordinator.log"), "ab") as log:
            self.coordinator = self.hosts.start(
                0, [self.program("longhaul-coordinator"), "--model", self.model, "--listen", self.hosts.name(0) + ":0",
                    "--worker-listen", self.hosts.name(0) + ":0", "--insecure-bind", "--join-secret", self.secret, "--ready-file", ready,
                    *self.flags], stdout=log, stderr=log)
        self.wait_until(lambda: os.path.exists(ready) or self.coordinator.poll() is not None, SERVE_SECONDS, "the coordinator listens")
        if self.coordinator.poll() is not None:
            raise AssertionError("the coordinator ended\n" + self.said())
        with open(ready, encoding="ascii") as file:
            self.address, self.worker_address = file.read().split()[:2]

    def start_group(self, on, *flags, lives=1):
        """Starts a group with a rank on each host of the list, by mpirun on the first; does not wait for it. lives: how many
        groups may follow one another."""
        self.groups += 1
        with open(self.path("group.%d.log" % self.groups), "wb") as log:
            return self.hosts.start(
                on[0], [RUN_GROUP, "--mca", "plm_rsh_agent", self.hosts.agent, "--mca", "oob_tcp_if_include", "eth0", "--mca",
                        "btl_tcp_if_include", "eth0", "--host", ",".join(self.hosts.name(i) for i in on),
                        self.program("longhaul-worker"), "--threads", "1", "--coordinator", self.worker_address, "--join-secret", self.secret,
                        "--model", self.model, *flags],
                env={**os.environ, "RUN_GROUP_LIVES": str(lives)}, stdout=log, stderr=log)

    def longhaul(self, *words, timeout=60):
        return self.hosts.run(0, [self.program("longhaul"), *words[:1 + (words[0] == "batch")], "--server", self.address,
                                  *words[1 + (words[0] == "batch"):]], timeout=timeout)

    def start_request(self, *words):
        """A Generate whose tokens are written as they come; ended by who asks."""
        return self.hosts.start(0, [self.program("longhaul"), "generate", "--server", self.address, "--raw", *words],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, bufsize=0)

    def answer(self, *words):
        result = self.longhaul("generate", "--raw", "--json", *words)
        if result.returncode:
            raise AssertionError("generate: exit code %d: %s\n%s" % (result.returncode, result.stderr, self.said()))
        return json.loads(result.stdout)

    def status(self):
        result = self.longhaul("status", "--json", timeout=20)
        return json.loads(result.stdout) if result.returncode == 0 else {"groups": [], "requests": []}

    def wait_serving(self, groups=1):
        self.wait_until(lambda: sum(each["state"] in ("ready", "running") for each in self.status()["groups"]) == groups, SERVE_SECONDS,
                        "%d groups serve" % groups)

    def wait_until(self, condition, seconds, what):
        begin = time.monotonic()
        while not condition():
            if time.monotonic() - begin > seconds:
                raise AssertionError("not in %s s: %s\n%s" % (seconds, what, self.said()))
            time.sleep(0.02)
        return time.monotonic() - begin

    def said(self):
        """The ends of all logs."""
        text = ""
        for each in sorted(os.listdir(self.folder)):
            if each.endswith(".log"):
                with open(self.path(each), encoding="utf-8", errors="replace") as file:
                    text += "---- %s ----\n%s" % (each, "".join(file.readlines()[-25:]))
        return text

    def left_on(self, on):
        """What runs on the hosts of the list: nothing, once a group has ended."""
        return {(i, pid): line for i in on for pid, line in self.hosts.processes(i).items()}

    def end_group(self, group, on):
        """Ends a group as a person would, and waits until nothing of it is left. Returns its exit code."""
        group.terminate()
        code = group.wait(20)
        self.wait_until(lambda: not self.left_on(on), 20, "the group has left its hosts")
        return code
