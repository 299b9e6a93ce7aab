"""The emulated hosts themselves (hosts.py): that they are hosts to each other, that links do what is asked of them, and that
nothing of them is left. Argument: the build's folder of test programs."""
import os
import signal
import subprocess
import sys
import time
import unittest

import hosts as emulated
from hosts import PYTHON, Hosts

TESTS = sys.argv[1]
HERE = os.path.dirname(os.path.abspath(__file__))
OTHERS = 3
RATE = 80_000_000  # bits a second
BURST_BYTES = 64 << 10  # of hosts.shape
SENT_BYTES = 4 << 20
PAYLOAD_SHARE = 1448 / 1514  # of a full frame, under TCP with time stamps
DELAY_US = 2000

SINK = """import socket
s = socket.create_server(("", 9)); print("ready", flush=True)
while True:
    c, _ = s.accept()
    while c.recv(1 << 20): pass
    c.close()"""
# Ends when the other end has read all and closed.
SOURCE = """import socket, sys, time
s = socket.create_connection((sys.argv[1], 9), 5); s.settimeout(60); begin = time.perf_counter()
s.sendall(bytes(int(sys.argv[2]))); s.shutdown(socket.SHUT_WR); s.recv(1); print(time.perf_counter() - begin)"""
REACH = """import socket, sys
s = socket.create_connection((sys.argv[1], 9), 1); s.close()"""


class HostsOnThisOne(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hosts = cls.enterClassContext(Hosts(OTHERS, "hostst", tests=TESTS))

    def sink_on(self, i):
        sink = self.hosts.start(i, [PYTHON, "-SEc", SINK], stdout=subprocess.PIPE)
        self.addCleanup(sink.wait)
        self.addCleanup(sink.kill)
        sink.stdout.readline()

    def said(self, i, *argv):
        result = self.hosts.run(i, argv, timeout=30)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result.stdout.split()

    def reaches(self, i, j):
        return self.hosts.run(i, [PYTHON, "-SEc", REACH, self.hosts.name(j)], timeout=30).returncode == 0

    def test_each_has_its_own_name_and_memory_and_temporary_files_and_all_share_a_folder(self):
        for i in range(OTHERS + 1):
            self.assertEqual(self.said(i, "hostname"), [self.hosts.name(i)])
            self.said(i, "touch", "/dev/shm/own", "/tmp/own", os.path.join(self.hosts.folder, "shared.%d" % i))
            if i == 0:
                continue
            self.said(0, "test", "-e", os.path.join(self.hosts.folder, "shared.%d" % i))
        self.said(1, "rm", "/dev/shm/own", "/tmp/own")
        self.said(2, "test", "-e", "/dev/shm/own", "-a", "-e", "/tmp/own")
        self.assertFalse(os.path.exists("/dev/shm/own") or os.path.exists("/tmp/own"))
        self.assertNotEqual(os.uname().nodename, self.hosts.name(0))

    def test_mpirun_starts_ranks_on_the_others_by_their_names(self):
        names = ",".join(self.hosts.name(i) for i in range(1, OTHERS + 1))
        ranks = self.said(0, "mpirun", "--allow-run-as-root", "--mca", "plm_rsh_agent", self.hosts.agent, "--host", names,
                          "--bind-to", "none", "hostname")
        self.assertEqual(sorted(ranks), [self.hosts.name(i) for i in range(1, OTHERS + 1)])

    def test_a_cut_link_carries_nothing_and_a_healed_one_all(self):
        self.sink_on(2)
        self.assertTrue(self.reaches(1, 2))
        self.hosts.cut(2)
        self.assertFalse(self.reaches(1, 2))
        self.assertTrue(self.hosts.processes(2))
        self.hosts.heal(2)
        self.assertTrue(self.reaches(1, 2))

    def test_a_shaped_link_has_the_rate_asked_for(self):
        """Never more; and the best of three comes to nine tenths of it, which a busy machine leaves."""
        self.sink_on(2)
        self.hosts.shape(1, "%dbit" % RATE)
        self.addCleanup(self.hosts.shape, 1, None)
        rates = []
        for _ in range(3):
            seconds = float(self.said(1, PYTHON, "-SEc", SOURCE, self.hosts.address(2), str(SENT_BYTES))[0])
            self.assertLessEqual(SENT_BYTES, PAYLOAD_SHARE * (RATE / 8 * seconds + BURST_BYTES))
            rates.append(SENT_BYTES * 8 / seconds / PAYLOAD_SHARE)
        print("hosts: a link of %.0f Mbit/s carries %s Mbit/s" % (RATE / 1e6, ", ".join("%.1f" % (each / 1e6) for each in rates)))
        self.assertGreaterEqual(max(rates), 0.9 * RATE)

    def test_a_delayed_link_has_the_delay_asked_for_and_the_switch_says_its_own(self):
        own_us = self.hosts.delay(DELAY_US)
        self.addCleanup(self.hosts.delay, None)
        seconds = self.hosts.round_trip(1, 3)
        self.assertGreaterEqual(seconds, 2 * DELAY_US / 1e6)
        self.assertLess(abs(own_us), DELAY_US / 2, "the switch adds more than a part of what it stands for")
        self.sink_on(2)
        self.hosts.cut(2)  # also through the switch
        self.assertFalse(self.reaches(1, 2))
        self.hosts.heal(2)
        self.assertTrue(self.reaches(1, 2))

    def test_a_stopped_host_stands_still_and_a_killed_one_is_empty(self):
        counting = "i=0; while true; do i=$((i + 1)); echo $i >count.$$.new; mv count.$$.new count; sleep 0.01; done"
        self.hosts.start(3, ["sh", "-c", counting])
        path = os.path.join(self.hosts.folder, "count")

        def counts(seconds=5.0):
            before, deadline = self.count(path), time.monotonic() + seconds
            while self.count(path) == before and time.monotonic() < deadline:
                time.sleep(0.02)
            return self.count(path) != before
        self.assertTrue(counts())
        self.hosts.stop(3)
        self.assertFalse(counts(0.3))
        self.hosts.resume(3)
        self.assertTrue(counts())
        self.hosts.stop(3)
        self.hosts.kill(3)
        self.assertEqual(self.hosts.processes(3), {})
        self.assertEqual(self.said(3, "hostname"), [self.hosts.name(3)], "the host is there again")

    @staticmethod
    def count(path):
        try:
            with open(path, encoding="ascii") as file:
                return file.read()
        except FileNotFoundError:
            return ""


class NothingIsLeft(unittest.TestCase):
    """A host with a process that ignores signals is made and left in every way that a test may end."""
    LEAVE = """import os, signal, sys
sys.path.insert(0, sys.argv[1]); import hosts
with hosts.Hosts(1, "hostsl", tests=sys.argv[2]) as made:
    made.start(1, ["sh", "-c", "trap '' TERM HUP INT; sleep 1000 & sleep 1000; sleep 1000"])
    made.shape(1, "100mbit"); made.delay(10)
    print("made", flush=True)
    sys.argv[3] == "raise" and 1 / 0
    signal.pause()"""

    def leave(self, how, *signals):
        process = subprocess.Popen([sys.executable, "-B", "-c", self.LEAVE, HERE, TESTS, how], stdin=subprocess.DEVNULL,
                                   stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        while True:
            line = process.stdout.readline()
            self.assertTrue(line, "it ended before it had made its hosts")
            if line == "made\n":
                break
        if how != "raise":
            self.assertIn("process", " ".join(emulated.left("hostsl")), "what is looked for is there")
        for pid in signals:
            os.kill(pid() if callable(pid) else process.pid, signal.SIGKILL)
        self.assertNotEqual(process.wait(30), 0)  # not to the end of what it said: what it started may still hold the pipe
        process.stdout.close()

    def expect_nothing_left(self, seconds):
        deadline = time.monotonic() + seconds
        while emulated.left("hostsl") and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertEqual(emulated.left("hostsl"), [])

    def guard(self):
        found = [each for each in emulated.left("hostsl") if "--guard" in each]
        return int(found[0].split()[1].rstrip(":"))

    def test_after_an_exception(self):
        self.leave("raise")
        self.expect_nothing_left(0)

    def test_after_the_test_was_killed(self):
        self.leave("pause", None)
        self.expect_nothing_left(20)

    def test_after_a_later_run_where_the_guard_was_killed_too(self):
        self.leave("pause", self.guard, None)
        self.assertNotEqual(emulated.left("hostsl"), [], "nobody is there to remove it")
        with Hosts(1, "hostsl") as later:
            self.assertEqual(later.processes(1), {})
        self.expect_nothing_left(0)


if __name__ == "__main__":
    emulated.run_tests("mpirun")
