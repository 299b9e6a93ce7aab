"""longhaul calibrate with real workers and a small model: a file of rates that plan, run and doctor go by, its refusals, and
that no process is left. Arguments: the folder of the programs and the program that writes a small model file."""
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import unittest

BIN = sys.argv[1]
TINY_MODEL_FILE = sys.argv[2]
LONGHAUL = os.path.join(BIN, "longhaul")
SECONDS = 150


class Calibrate(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        folder = tempfile.TemporaryDirectory()
        cls.addClassCleanup(folder.cleanup)
        cls.folder = folder.name
        cls.state = os.path.join(cls.folder, "state")
        # The path is this test's own, so it marks this test's processes.
        cls.model = os.path.join(cls.folder, "tiny.gguf")
        subprocess.run([TINY_MODEL_FILE, cls.model], check=True, timeout=60)
        cls.said = cls.longhaul("calibrate", "--workers", "1,2", "-t", "128,256", "-r", "1")
        cls.file = os.path.join(cls.state, "longhaul", "costs.yaml")

    @classmethod
    def longhaul(cls, command, *arguments, code=0, state=None):
        result = subprocess.run([LONGHAUL, command, "--model", cls.model, *arguments], capture_output=True, text=True,
                                stdin=subprocess.DEVNULL, timeout=SECONDS,
                                env={**os.environ, "XDG_STATE_HOME": state or cls.state})
        if result.returncode != code:
            raise AssertionError(f"{command} {arguments}: exit code {result.returncode}\n{result.stderr}")
        return result

    def plan(self, *arguments, **options):
        return json.loads(self.longhaul("plan", "-t", "200", "-n", "8", "--json", *arguments, **options).stdout)

    def write(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def read(self):
        with open(self.file, encoding="utf-8") as file:
            return file.read()

    def test_it_tells_what_it_measured_and_where_it_is_kept(self):
        for words in (r"^1 worker of \d+ threads?, \w+$", r"^2 workers of 1 thread, \w+$", r"^  products .* GFLOP/s",
                      r"^  between workers of one host .* MB/s", r"^  predicted against measured .* at worst",
                      "^kept in " + re.escape(self.file) + "$"):
            self.assertRegex(self.said.stdout, re.compile(words, re.M))
        self.assertEqual(self.said.stderr, "", "quiet when piped")

    def test_nothing_is_left_running(self):
        deadline = time.monotonic() + 10
        while True:
            left = []
            for pid in filter(str.isdigit, os.listdir("/proc")):
                try:
                    with open(f"/proc/{pid}/cmdline", "rb") as file:
                        if self.model.encode() in file.read():
                            left.append(pid)
                except OSError:
                    continue
            if not left or time.monotonic() > deadline:
                break
            time.sleep(0.1)
        self.assertEqual(left, [])

    def test_plans_go_by_the_file_that_lies_where_xdg_says(self):
        kept = self.plan()
        self.assertRegex(kept["reasons"][-1], "by rates that were measured")
        self.assertAlmostEqual(sum(kept["plan"]["parts"].values()), kept["plan"]["seconds"], delta=1e-9)
        self.assertGreater(kept["plan"]["load_seconds"], 0)
        self.assertGreater(kept["plan"]["token_seconds"], 0)
        without = self.plan(state=self.folder)
        self.assertRegex(without["reasons"][-1], "by estimates")
        self.assertNotEqual(kept["plan"]["seconds"], without["plan"]["seconds"])

    def test_a_file_that_is_named_counts_and_slower_rates_make_longer_plans(self):
        text = self.read()
        rate = float(re.search(r"linear_flops: (\S+)", text).group(1))
        slower = self.write("slow.yaml", re.sub(r"linear_flops: \S+", f"linear_flops: {rate / 1000}", text))
        before = self.plan()["plan"]
        after = self.plan("--costs", slower, state=self.folder)["plan"]
        self.assertGreater(after["parts"]["products"], 100 * before["parts"]["products"])

    def test_a_run_goes_by_it_too(self):
        text = self.read()
        slower = self.write("run.yaml", re.sub(r"stage_s: \S+", "stage_s: 1000", text))
        told = json.loads(self.longhaul("run", "--raw", "--prompt", "hello", "-n", "2", "--costs", slower, "--json").stdout)
        self.assertGreater(told["plan"]["seconds"], 1000)

    def test_a_file_that_is_no_good_is_refused_with_its_place(self):
        wrong = self.write("wrong.yaml", self.read().replace("edge_keys:", "edge_key:", 1))
        result = self.longhaul("plan", "-t", "200", "--costs", wrong, code=65)
        self.assertRegex(result.stderr, r"wrong\.yaml:\d+:\d+: edge_key: a file of rates has no such key")
        result = self.longhaul("plan", "-t", "200", "--costs", os.path.join(self.folder, "none.yaml"), code=66)
        self.assertRegex(result.stderr, r"none\.yaml: No such file")

    def test_one_where_xdg_says_that_is_no_good_or_of_another_machine_is_left_alone(self):
        for text, doctor in ((self.read().replace("version: 1", "version: 9", 1), None),
                             (re.sub(r'cpu: ".*"', 'cpu: "another"', self.read()), "measured on another")):
            state = tempfile.mkdtemp(dir=self.folder)
            os.mkdir(os.path.join(state, "longhaul"))
            with open(os.path.join(state, "longhaul", "costs.yaml"), "w", encoding="utf-8") as file:
                file.write(text)
            self.assertRegex(self.plan(state=state)["reasons"][-1], "by estimates")
            if doctor:
                self.assertRegex(self.longhaul("doctor", "--listen", "127.0.0.1:0", state=state).stdout, doctor)

    def test_doctor_tells_whether_there_is_one(self):
        def line(**options):
            told = self.longhaul("doctor", "--listen", "127.0.0.1:0", **options).stdout
            return next(line for line in told.splitlines() if re.match(r"\w+ +costs ", line))
        self.assertRegex(line(), r"^ok .*costs\.yaml, measured 20\d\d-")
        self.assertRegex(line(state=self.folder), r"^ok .*none measured; .*longhaul calibrate")

    def test_one_length_and_wrong_lists_are_refused(self):
        self.assertRegex(self.longhaul("calibrate", "-t", "128", code=2).stderr, "at least two lengths")
        self.assertRegex(self.longhaul("calibrate", "--workers", "0", code=2).stderr, "workers")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
