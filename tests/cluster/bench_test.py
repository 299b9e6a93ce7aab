"""longhaul bench with real workers and a small model: rows, samples, arithmetic, refusals, and that no process is left.
Arguments: the folder of the programs and the program that writes a small model file."""
import json
import math
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

BIN = sys.argv[1]
TINY_MODEL_FILE = sys.argv[2]
LONGHAUL = os.path.join(BIN, "longhaul")
SECONDS = 100
CORES = len(os.sched_getaffinity(0))


class Bench(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = folder.name
        # The path is this test's own, so it marks this test's processes.
        self.model = os.path.join(self.folder, "tiny.gguf")
        subprocess.run([TINY_MODEL_FILE, self.model], check=True, timeout=60)

    def processes(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    if self.model.encode() in file.read():
                        found.append(int(pid))
            except OSError:
                continue
        return found

    def expect_nothing_left(self):
        deadline = time.monotonic() + 10
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual(self.processes(), [])

    def bench(self, *arguments, code=0):
        result = subprocess.run([LONGHAUL, "bench", "--model", self.model, *arguments], capture_output=True, text=True,
                                stdin=subprocess.DEVNULL, timeout=SECONDS)
        self.assertEqual(result.returncode, code, result.stderr)
        self.expect_nothing_left()
        return result

    def lines(self, *arguments):
        result = self.bench("--json", *arguments)
        self.assertEqual(result.stderr, "", "quiet when piped")
        manifest, *rows = map(json.loads, result.stdout.splitlines())
        return manifest["manifest"], rows

    def check_samples(self, told, count):
        """What is told of samples follows from them."""
        raw = told["samples"]
        self.assertEqual((told["count"], len(raw)), (count, count))
        for name, value in (("mean", statistics.fmean(raw)), ("median", statistics.median(raw)), ("least", min(raw)),
                            ("most", max(raw)), ("deviation", statistics.stdev(raw) if count > 1 else 0)):
            self.assertTrue(math.isclose(told[name], value, rel_tol=1e-12, abs_tol=1e-15), (name, told, value))

    def check_rate(self, rate, seconds, tokens, count):
        self.check_samples(rate, count)
        self.check_samples(seconds, count)
        for each, second in zip(rate["samples"], seconds["samples"]):
            self.assertTrue(math.isclose(each, tokens / second, rel_tol=1e-12))

    def test_rows_are_the_lengths_by_the_methods_with_their_samples(self):
        manifest, rows = self.lines("-p", "64,200", "-n", "8", "-d", "0,100", "-r", "3", "--method",
                                    "rope,lm_infinite:window=64,sinks=4")
        self.assertEqual([row["test"] for row in rows], ["pp64", "pp200", "tg8", "tg8 @ d100"] * 2)
        self.assertEqual([row["method"] for row in rows], ["rope"] * 4 + ["lm_infinite:window=64,sinks=4,ceiling=64"] * 4)
        for row in rows:
            decodes = row["n_gen"] > 0
            self.check_rate(row["tokens_per_second"], row["seconds"], 8 if decodes else row["n_prompt"], 3)
            self.assertEqual("first_token_seconds" in row, not decodes)
            if not decodes:
                self.check_samples(row["first_token_seconds"], 3)
                for client, worker in zip(row["first_token_seconds"]["samples"], row["seconds"]["samples"]):
                    self.assertGreater(client, worker, "the client waits for the workers, and a little longer")
            self.assertEqual((row["workers"], row["sent_bytes"], row["shared_cores"]), (1, 0, False))
            self.assertIn("busy", row["machine"])
        self.assertEqual([row["prompt_tokens"] for row in rows[:4]], [64, 200, 1, 100])
        self.assertEqual(manifest["command"], ["bench", "--model", self.model, "--json", "-p", "64,200", "-n", "8", "-d", "0,100",
                                               "-r", "3", "--method", "rope,lm_infinite:window=64,sinks=4"])
        self.assertEqual(manifest["model"]["bytes"], os.path.getsize(self.model))
        self.assertEqual(manifest["host"]["usable_cores"], CORES)
        self.assertEqual(manifest["kernels"], rows[0]["kernels"])
        self.assertEqual(manifest["settings"], {"model.path": self.model})

    def test_several_workers_send_what_was_predicted_and_shared_cores_are_told(self):
        for threads, shared in ((CORES, True), (1, CORES < 2)):
            _, (row,) = self.lines("-p", "300", "-r", "1", "--workers", "2", "--threads", str(threads))
            self.assertEqual((row["workers"], row["threads"], row["shared_cores"]), (2, 2 * threads, shared))
            self.assertGreater(row["sent_bytes"], 0)
            self.assertEqual(row["sent_bytes"], row["predicted_sent_bytes"])

    def test_the_frontier_has_a_row_for_each_length_with_the_bytes_of_its_keys(self):
        out = os.path.join(self.folder, "out")
        _, rows = self.lines("--frontier", "128,256,512", "-n", "4", "-r", "2", "--out", out)
        self.assertEqual([row["n_prompt"] for row in rows], [128, 256, 512])
        for row in rows:
            self.check_rate(row["prefill_tokens_per_second"], row["prefill_seconds"], row["n_prompt"], 2)
            self.check_rate(row["decode_tokens_per_second"], row["decode_seconds"], 4, 2)
            # In bf16, K and V of 2 layers with 2 KV heads of 32 for whole panels of 64 tokens.
            panels = -(-(row["n_prompt"] + 5) // 64)
            self.assertEqual((row["cache_bytes"], row["cache_bytes_worker"]), (panels * 64 * 512,) * 2)
        with open(os.path.join(out, "bench.jsonl"), encoding="utf-8") as file:
            self.assertEqual([json.loads(line) for line in file][1:], rows)
        with open(os.path.join(out, "runs.jsonl"), encoding="utf-8") as file:
            _, *runs = map(json.loads, file)
        self.assertEqual([(run["test"], run["repetition"]) for run in runs],
                         [(row["test"], repetition) for repetition in (1, 2) for row in rows], "cases alternate")
        for run, row in zip(runs, rows * 2):
            for name in ("prefill_seconds", "decode_seconds", "first_token_seconds"):
                self.assertEqual(run[name], row[name]["samples"][run["repetition"] - 1])
        for name in ("frontier-prefill.svg", "frontier-decode.svg"):
            circles = xml.etree.ElementTree.parse(os.path.join(out, name)).iter("{http://www.w3.org/2000/svg}circle")
            self.assertEqual(len(list(circles)), 3 + 1, "a mark a length, and the legend's")
        result = self.bench("-p", "64", "--out", out, code=69)
        self.assertIn("bench.jsonl is there already", result.stderr)

    def test_a_table_and_a_chart_for_people(self):
        table = self.bench("-p", "64,128", "-r", "1", "--chart").stdout
        self.assertRegex(table, r"tiny.gguf: 1 worker with \d+ threads?, kernels \w+; mean and deviation of 1 after a warm-up")
        self.assertRegex(table, r"pp64 +rope +[\d.]+ ± 0.0 +\d+\.\d{3}\n")
        self.assertIn("Prefill by length", table)
        self.assertNotIn("\033", table)
        self.assertRegex(table, r"load before: [\d.]+ on \d+ cores")
        self.assertNotIn("Prefill by length", self.bench("-p", "64", "-r", "1", "--chart").stdout, "one point is no line")

    def test_what_makes_no_sense_is_refused_before_anything_starts(self):
        for arguments, sentence, code in (
                (["-d", "5"], "add -n", 2), (["--frontier", "64", "-p", "64"], "-p and -d do not go with it", 2),
                (["--frontier", "64", "-n", "1,2"], "one -n", 2), (["-p", "0"], "outside 1", 2), (["-p", "a"], "whole number", 2),
                (["-r", "0"], "outside 1", 2), (["--method", "ropes"], "--method", 65),
                (["--method", "rope,string:shift=x"], "--method", 65), (["--out", "/nowhere/at/all"], "/nowhere/at/all", 74)):
            with self.subTest(arguments=arguments):
                self.assertIn(sentence, self.bench(*arguments, code=code).stderr)
        self.assertIn("--model FILE is missing", subprocess.run([LONGHAUL, "bench"], capture_output=True, text=True,
                                                                timeout=SECONDS).stderr)

    def test_a_prompt_beyond_the_context_is_an_error_and_leaves_nothing(self):
        result = self.bench("-p", "200", "--context", "100", code=65)
        self.assertIn("context", result.stderr)

    def test_an_interrupt_ends_it_in_order(self):
        out = os.path.join(self.folder, "out")
        runs = os.path.join(out, "runs.jsonl")
        process = subprocess.Popen([LONGHAUL, "bench", "--model", self.model, "-p", "1500", "-r", "1000", "--out", out],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + SECONDS
        while not os.path.exists(runs) or os.path.getsize(runs) < 3000:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        said, error = process.communicate(timeout=30)
        self.assertEqual((process.returncode, said), (130, b""), error)
        self.assertIn(b"interrupted", error)
        self.expect_nothing_left()
        with open(runs, encoding="utf-8") as file:
            manifest, *kept = map(json.loads, file)
        self.assertEqual([run["repetition"] for run in kept], list(range(1, len(kept) + 1)))
        self.assertGreater(len(kept), 3)
        self.assertEqual(manifest["manifest"]["program"], "longhaul bench")
        self.assertIn("runs.jsonl is there already", self.bench("-p", "64", "--out", out, code=69).stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
