"""longhaul scale over numbers of hosts: each row's ranks are where its nodes say, and their cores are counted by host.
Arguments: the folder of the programs, and the program that writes a small model."""
import json
import os
import re
import subprocess
import sys
import time
import unittest

import hosts as emulated
from hosts import Hosts

BIN, TINY_MODEL_FILE = sys.argv[1:3]
LONGHAUL = os.path.join(BIN, "longhaul")
SECONDS = 100


class ScaleOverHosts(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.hosts = cls.enterClassContext(Hosts(2, "scale"))
        cls.model = os.path.join(cls.hosts.folder, "tiny.gguf")
        subprocess.run([TINY_MODEL_FILE, cls.model], check=True, timeout=60)
        with open(os.path.join(cls.hosts.folder, "hostfile"), "w", encoding="utf-8") as file:
            file.write("%s slots=8\n%s slots=8\n" % (cls.hosts.name(1), cls.hosts.name(2)))

    def setUp(self):
        self.addCleanup(self.expect_nothing_left)

    def expect_nothing_left(self):
        def left():
            return [words for i in range(3) for words in self.hosts.processes(i).values()
                    if re.search(r"longhaul-(worker|coordinator)|orted|mpirun", " ".join(words))]
        deadline = time.monotonic() + 15
        while left() and time.monotonic() < deadline:
            time.sleep(0.2)
        self.assertEqual(left(), [])

    def scale(self, out, *words):
        return self.hosts.run(1, [LONGHAUL, "scale", "--model", self.model, "--mode", "strong", "--prompt-tokens", "300",
                                  "--method", "rope", "-r", "1", "--threads", "1", "--kernels", "reference", "--out",
                                  os.path.join(self.hosts.folder, out), *words], SECONDS,
                              env={**emulated.PLAIN, "OMPI_MCA_plm_rsh_agent": self.hosts.agent,
                                   "TMPDIR": self.hosts.folder})

    def rows(self, out):
        with open(os.path.join(self.hosts.folder, out, "scale.jsonl"), encoding="utf-8") as file:
            return [json.loads(line) for line in file][1:]

    def test_rows_run_on_the_hosts_that_they_name(self):
        result = self.scale("out", "--workers", "1,2", "--nodes", "1,2", "--hostfile", "hostfile")
        self.assertEqual(result.returncode, 0, result.stderr)
        rows = self.rows("out")
        # One worker cannot be on two hosts.
        self.assertEqual([(row["nodes"], row["workers"]) for row in rows], [(1, 1), (1, 2), (2, 2)])
        names = [self.hosts.name(1), self.hosts.name(2)]
        self.assertEqual([[rank["host"] for rank in row["ranks"]] for row in rows], [names[:1], names[:1] * 2, names])
        for row in rows:
            self.assertEqual(row["sent_bytes"], row["predicted_sent_bytes"])
            self.assertEqual(row["sent_bytes"] > 0, row["workers"] > 1)
        # Two ranks of one host are at most its cores; of two hosts each has its own.
        self.assertEqual([row["cores"] for row in rows], [1, min(2, os.cpu_count()), 2])
        rates = [row["flops"] / row["seconds"] / row["cores"] for row in rows]
        for row, rate in zip(rows, rates):
            self.assertAlmostEqual(row["efficiency"], rate / rates[0], places=9)

    def test_without_hosts_nodes_are_refused_and_nothing_is_left_behind(self):
        for words, code, reason in ((["--nodes", "2"], 78, "nobody names any"),
                                    (["--nodes", "4", "--hosts", self.hosts.name(1)], 65, "there are 1 hosts"),
                                    (["--nodes", "1", "--hosts", "nowhere"], 66, "nowhere")):
            result = self.scale("refused", "--workers", "4", *words)
            self.assertEqual(result.returncode, code, result.stderr)
            self.assertIn(reason, result.stderr)
            self.assertFalse(os.path.exists(os.path.join(self.hosts.folder, "refused", "runs.jsonl")))


if __name__ == "__main__":
    emulated.run_tests("mpirun")
