"""fault_table PROGRAMS TESTS [--rows WORD] [--times N]: what may happen to a group on several hosts, and what must follow.

A rank, a host, the launcher (mpirun), a host's link or the coordinator's link; killed, stopped or cut; while a prompt is read
or an answer is written. In each row the request ends within 10 s, nothing of the group is left 15 s later, and the same
request, asked again, is answered by the next group as in a run without faults. The group need not notice that its launcher is
stopped: then the request is answered. Prints a line a row."""
import argparse
import os
import signal
import subprocess
import sys
import time
import unittest

from cluster_on_hosts import ClusterOnHosts
from hosts import Hosts

END_SECONDS, LEFT_SECONDS = 10, 15
GROUP = [1, 2]  # mpirun and rank 0 on the first, rank 1 on the second
REQUESTS = {
    "prefill": ("--prompt", "In the end " * 1000, "--max-tokens", "8"),
    # By the likeliest: a group may weigh its links anew and add in another sequence, which shows where tokens are drawn.
    "decode": ("--prompt", "In the end the other light", "--max-tokens", "1200"),
}
CONTEXT = 8200


def first(hosts, i, name):
    return next(pid for pid, line in hosts.processes(i).items() if os.path.basename(line[0]) == name)


class Fault:
    """What is done, and what undoes it (so that the hosts can be used again): both take the hosts."""

    def __init__(self, do, undo=lambda hosts: None, unreachable=(), harmless=False):
        self.do, self.undo = do, undo
        self.unreachable = unreachable  # hosts whose processes nobody can end before it is undone
        self.harmless = harmless  # the request need not notice


def send(i, name, number):
    return lambda hosts: os.kill(first(hosts, i, name), number)


FAULTS = {
    "rank killed": Fault(send(2, "longhaul-worker", signal.SIGKILL)),
    "rank stopped": Fault(send(2, "longhaul-worker", signal.SIGSTOP)),
    "host killed": Fault(lambda hosts: hosts.kill(2)),
    "host stopped": Fault(lambda hosts: hosts.stop(2), lambda hosts: hosts.resume(2), unreachable=(2,)),
    "launcher killed": Fault(send(1, "mpirun", signal.SIGKILL)),
    "launcher stopped": Fault(send(1, "mpirun", signal.SIGSTOP), send(1, "mpirun", signal.SIGKILL), unreachable=(1, 2), harmless=True),
    "link cut": Fault(lambda hosts: hosts.cut(2), lambda hosts: hosts.heal(2)),
    "coordinator's link cut": Fault(lambda hosts: hosts.cut(0), lambda hosts: hosts.heal(0)),
}
ROWS = [(fault, phase) for fault in FAULTS for phase in REQUESTS]


class Row:
    """One fault in one phase, and what was seen."""

    def __init__(self, cluster, fault, phase, answer):
        self.cluster, self.hosts, self.name, self.phase = cluster, cluster.hosts, "%s in %s" % (fault, phase), phase
        self.fault, self.answer = FAULTS[fault], answer
        self.end_seconds = self.left_seconds = self.finished = None
        self.already = b""  # of the answer, before the fault

    def run(self):
        self.cluster.start_group(GROUP)
        self.cluster.wait_serving()
        request = self.cluster.start_request(*REQUESTS[self.phase])
        self.wait_for_phase(request)
        begin = time.monotonic()
        self.fault.do(self.hosts)
        try:
            text = request.communicate(timeout=60 if self.fault.harmless else 2 * END_SECONDS)[0]
            self.end_seconds = time.monotonic() - begin
        except subprocess.TimeoutExpired:
            request.kill()
        self.answered = request.returncode == 0 and (self.already + text).decode().rstrip("\n") == self.answer["text"].rstrip("\n")
        # Those that nobody can reach are given their time once they can be.
        self.left_seconds = self.empty([i for i in GROUP if i not in self.fault.unreachable])
        self.fault.undo(self.hosts)
        if self.left_seconds is not None and self.fault.unreachable:
            self.left_seconds = self.empty(GROUP)
        self.left = self.cluster.left_on(GROUP)
        for i in GROUP:
            self.hosts.kill(i)
        self.cluster.start_group(GROUP)
        self.cluster.wait_serving()
        self.finished = self.cluster.answer(*REQUESTS[self.phase])["token_ids"] == self.answer["token_ids"]
        return self

    def wait_for_phase(self, request):
        if self.phase == "decode":
            self.already = request.stdout.read(1)
            return

        def reads():
            return request.poll() is not None or any(each["state"] == "running" for each in self.cluster.status()["requests"])
        self.cluster.wait_until(reads, 20, "the prompt is being read")
        time.sleep(0.2)
        assert request.poll() is None, request.stderr.read()

    def empty(self, on):
        """Seconds until the hosts are empty; None: not in time."""
        begin = time.monotonic()
        while self.cluster.left_on(on):
            if time.monotonic() > begin + LEFT_SECONDS:
                return None
            time.sleep(0.05)
        return time.monotonic() - begin

    def passed(self):
        ended = self.answered if self.fault.harmless else self.end_seconds is not None and self.end_seconds <= END_SECONDS and not self.answered
        return ended and self.left_seconds is not None and self.finished

    def __str__(self):
        seconds = [("%.1f s" % each) if each is not None else "never" for each in (self.end_seconds, self.left_seconds)]
        return "%-36s request ended after %s%s, nothing left %s later, %s: %s" % (
            self.name + ":", seconds[0], " (answered)" if self.answered else "", seconds[1],
            "finished by the next group" if self.finished else "NOT finished by the next group", "PASS" if self.passed() else "FAIL")


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("programs")
    parser.add_argument("tests")
    parser.add_argument("--rows", default="", help="a comma between them; those that have one of these texts in their name")
    # So slow that either phase takes seconds on any machine: the exchange of the prompt, and the answer's round trips.
    parser.add_argument("--rate", default="40mbit", help="of the group's links")
    parser.add_argument("--delay-us", type=int, default=1000)
    parser.add_argument("--times", type=int, default=1)
    return parser.parse_args()


def main():
    options = arguments()
    wanted = [each for each in ROWS if any(word in "%s in %s" % each for word in options.rows.split(","))]
    failed = 0
    with Hosts(max(GROUP), "faulttable", cores=1, tests=options.tests) as hosts:
        cluster = ClusterOnHosts(hosts, options.programs, options.tests, "--context", str(CONTEXT))
        hosts.delay(options.delay_us)
        for i in GROUP:
            hosts.shape(i, options.rate)
        group = cluster.start_group(GROUP)
        cluster.wait_serving()
        answers = {phase: cluster.answer(*request) for phase, request in REQUESTS.items()}
        cluster.end_group(group, GROUP)
        for fault, phase in wanted * options.times:
            row = Row(cluster, fault, phase, answers[phase]).run()
            print(row, flush=True)
            if not row.passed():
                failed += 1
                print(*row.left.items(), cluster.said(), sep="\n", file=sys.stderr)
            for i in GROUP:
                hosts.kill(i)
            cluster.wait_until(lambda: not cluster.status()["groups"], 20, "the coordinator has forgotten the group")
    print("fault_table: %d rows, %d failed: %s" % (len(wanted) * options.times, failed, "FAIL" if failed or not wanted else "PASS"))
    return 1 if failed or not wanted else 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except unittest.SkipTest as reason:
        print("skipped:", reason)
        sys.exit(77)
