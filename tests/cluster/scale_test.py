"""longhaul scale and compare with real workers and a small model: rows and what follows from them, what a manifest
makes again, what differs, and that no process is ever left. Arguments: the folder of the programs and the program that
writes a small model file."""
import copy
import json
import os
import signal
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
METHODS = ["rope", "lm_infinite:window=128,sinks=4"]


def read_lines(path):
    with open(path, encoding="utf-8") as file:
        return [json.loads(line) for line in file]


class Scale(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        # The path is this test's own, so it marks this test's processes.
        self.model = self.path("tiny.gguf")
        subprocess.run([TINY_MODEL_FILE, self.model], check=True, timeout=60)

    def path(self, *names):
        return os.path.join(self.folder.name, *names)

    def processes(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    arguments = file.read().decode(errors="replace").split("\0")
            except OSError:
                continue
            if any(self.folder.name in argument for argument in arguments):
                found.append(int(pid))
        return found

    def expect_nothing_left(self):
        deadline = time.monotonic() + 10
        while self.processes() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual(self.processes(), [])

    def run_command(self, *arguments, code=0):
        result = subprocess.run([LONGHAUL, *arguments], capture_output=True, text=True, stdin=subprocess.DEVNULL,
                                timeout=SECONDS, env={**os.environ, "XDG_STATE_HOME": self.folder.name})
        self.assertEqual(result.returncode, code, result.stderr)
        self.expect_nothing_left()
        return result

    def scale(self, out, *arguments, code=0, mode="strong", tokens=300):
        return self.run_command("scale", "--model", self.model, "--workers", "1,2", "--mode", mode, "--prompt-tokens",
                                str(tokens), "--method", ",".join(METHODS), "--out", self.path(out), *arguments,
                                code=code)

    def check_row(self, row, first):
        self.assertEqual(row["sent_bytes"], row["predicted_sent_bytes"])
        self.assertEqual(row["sent_bytes"] > 0, row["workers"] > 1)
        if not row["runs_differ"]:  # the ranks' are means of all runs, the row's the last run's
            self.assertEqual(row["sent_bytes"], sum(rank["sent_bytes"] for rank in row["ranks"]))
        self.assertEqual(row["cores"], min(os.cpu_count(), sum(rank["threads"] for rank in row["ranks"])))
        self.assertAlmostEqual(row["tokens_per_second"] * row["seconds"], row["prompt_tokens"], places=6)
        rates = [one["flops"] / one["seconds"] / one["cores"] for one in (row, first)]
        self.assertAlmostEqual(row["efficiency"], rates[0] / rates[1], places=9)
        self.assertGreater(row["predicted_seconds"], 0)
        self.assertTrue(row["cores_shared"] or row["threads"] <= row["cores"])
        for rank in row["ranks"]:
            self.assertGreater(rank["cpu_seconds"], 0)

    def test_rows_follow_from_interleaved_runs(self):
        result = self.scale("out", "-r", "2", "--json")
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual(lines, read_lines(self.path("out", "scale.jsonl")))
        self.assertEqual(lines[0], read_lines(self.path("out", "manifest.json"))[0])
        rows = lines[1:]
        self.assertEqual([(row["method"], row["workers"]) for row in rows],
                         [(method, workers) for method in METHODS for workers in (1, 2)])
        for row in rows:
            self.check_row(row, next(one for one in rows if one["method"] == row["method"]))
        runs = read_lines(self.path("out", "runs.jsonl"))[1:]
        forward = [(workers, method) for workers in (1, 2) for method in METHODS]
        self.assertEqual([(run["workers"], run["method"]) for run in runs], forward + forward[::-1])
        for row in rows:
            own = [run["seconds"] for run in runs if (run["workers"], run["method"]) == (row["workers"], row["method"])]
            self.assertEqual(row["seconds_samples"]["samples"], own)
        for name in ("rate", "efficiency", "seconds", "bytes"):
            root = xml.etree.ElementTree.parse(self.path("out", name + ".svg")).getroot()
            self.assertTrue(root.tag.endswith("svg"), root.tag)

    def test_a_manifest_measures_the_same_again(self):
        # The configuration comes from a file that is gone afterwards.
        with open(self.path("config.yaml"), "w", encoding="ascii") as file:
            file.write("engine:\n  kernels: reference\n")
        # Left to itself, a worker takes the cores that other groups leave it, which may be others the next time.
        self.scale("out", "-r", "1", "--config", self.path("config.yaml"), "--threads", "1")
        os.unlink(self.path("config.yaml"))
        # Of a machine whose rates had been measured, which here they are not.
        manifest = read_lines(self.path("out", "manifest.json"))[0]
        self.assertEqual(manifest["manifest"]["settings"]["rates_measured"], "")
        manifest["manifest"]["settings"]["rates_measured"] = "2020-01-01T00:00:00Z"
        with open(self.path("edited.json"), "w", encoding="utf-8") as file:
            json.dump(manifest, file)
        result = self.run_command("scale", "--manifest", self.path("edited.json"), "--out", self.path("again"), "--chart")
        for word in (*METHODS, "involuntary", "Prefill", "Efficiency"):
            self.assertIn(word, result.stdout)
        self.assertIn("other measured rates (none) than the manifest's (2020", result.stderr)
        first, again = (read_lines(self.path(out, "scale.jsonl")) for out in ("out", "again"))
        self.assertEqual(first[0]["manifest"]["settings"], again[0]["manifest"]["settings"])
        self.assertEqual(again[0]["manifest"]["kernels"], "reference")
        # Bytes follow the plan, and that follows the links as each group has measured them.
        for key in ("method", "mode", "nodes", "workers", "prompt_tokens", "cores", "threads", "flops"):
            self.assertEqual([row[key] for row in first[1:]], [row[key] for row in again[1:]], key)
        for row in again[1:]:
            self.assertEqual(row["sent_bytes"], row["predicted_sent_bytes"])
        # Nothing is written over, and another model is no repetition.
        self.run_command("scale", "--manifest", self.path("out", "scale.jsonl"), "--out", self.path("again"), code=69)
        other = self.path("other.gguf")
        subprocess.run([TINY_MODEL_FILE, other, "f32"], check=True, timeout=60)
        result = self.run_command("scale", "--manifest", self.path("out", "manifest.json"), "--model", other, "--out",
                                  self.path("third"), code=78)
        self.assertIn("is not the model", result.stderr)

    def test_weak_scaling_gives_every_worker_as_many_tokens(self):
        self.scale("out", "-r", "1", mode="weak")
        rows = read_lines(self.path("out", "scale.jsonl"))[1:]
        self.assertEqual([row["prompt_tokens"] for row in rows], [300, 600, 300, 600])
        for row in rows:
            self.check_row(row, next(one for one in rows if one["method"] == row["method"]))

    def test_what_is_broken_off_keeps_its_runs(self):
        process = subprocess.Popen([LONGHAUL, "scale", "--model", self.model, "--workers", "2", "--mode", "strong",
                                    "--prompt-tokens", "300", "--method", "rope", "-r", "1000", "--out",
                                    self.path("out")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        self.addCleanup(process.kill)
        runs = self.path("out", "runs.jsonl")
        deadline = time.monotonic() + SECONDS
        while time.monotonic() < deadline and not (os.path.exists(runs) and len(read_lines(runs)) > 1):
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=30)[1]
        self.assertEqual(process.returncode, 130, error)
        self.assertIn("runs.jsonl", error)
        self.assertGreater(len(read_lines(runs)), 1)
        self.expect_nothing_left()

    def test_what_cannot_be_measured_is_refused_before_anything_starts(self):
        for change, code, reason in ((("--mode", "string"), 2, "strong"), (("--workers", "1,0"), 2, "workers"),
                                     (("--method", "rope,unknown"), 65, "unknown"), (("--nodes", "3"), 2, "multiple")):
            result = self.scale("out", *change, code=code)
            self.assertIn(reason, result.stderr)
            self.assertFalse(os.path.exists(self.path("out")))
        self.run_command("scale", "--model", self.model, "--out", self.path("out"), code=2)
        self.run_command("scale", "--manifest", self.model, "--out", self.path("out"), code=65)
        self.run_command("scale", "--manifest", self.path("nothing"), "--out", self.path("out"), code=66)
        self.run_command("scale", "--model", self.model, code=2)
        self.run_command("scale", "--manifest", "x", "--workers", "2", "--out", self.path("out"), code=2)


class Compare(unittest.TestCase):
    """Of files that are made up: what was measured has nothing to do with it."""

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.addCleanup(self.folder.cleanup)
        self.lines = [{"manifest": {"program": "longhaul scale", "model": {"file": "a", "xxh3_128": "1"}, "kernels": "avx2"}}]
        for workers in (1, 2):
            samples = {"count": 5, "mean": 10, "median": 10, "deviation": 0.2, "least": 9, "most": 11, "samples": []}
            self.lines.append({"mode": "strong", "method": "rope", "nodes": 0, "workers": workers,
                               "prompt_tokens": 300, "seconds_samples": samples, "efficiency_samples": dict(samples)})

    def compare(self, change, *arguments):
        paths = []
        other = copy.deepcopy(self.lines)
        change(other)
        for name, lines in (("before.jsonl", self.lines), ("after.jsonl", other)):
            paths.append(os.path.join(self.folder.name, name))
            with open(paths[-1], "w", encoding="ascii") as file:
                file.writelines(json.dumps(line) + "\n" for line in lines)
        return subprocess.run([LONGHAUL, "compare", *paths, *arguments], capture_output=True, text=True, timeout=30)

    def expect(self, code, change, said):
        result = self.compare(change)
        self.assertEqual(result.returncode, code, result.stdout + result.stderr)
        self.assertIn(said, result.stdout + result.stderr)

    def set_mean(self, key, mean, row=1):
        return lambda lines: lines[row][key].update(mean=mean)

    def test_what_is_beyond_the_noise_decides(self):
        # Welch: 0.2 * sqrt(2 / 5) * 3.355 = 0.424 of 10.
        self.expect(0, lambda lines: None, "4 within the noise")
        self.expect(0, self.set_mean("seconds_samples", 10.42), "4 within the noise")
        self.expect(1, self.set_mean("seconds_samples", 10.43), "1 worse, 0 better")
        self.expect(0, self.set_mean("seconds_samples", 9.57), "0 worse, 1 better")
        self.expect(1, self.set_mean("efficiency_samples", 9.57), "1 worse, 0 better")
        self.expect(1, self.set_mean("seconds_samples", 12, row=2), "1 worse, 0 better")

    def test_one_sample_says_nothing(self):
        def change(lines):
            lines[1]["seconds_samples"].update(count=1, mean=100, deviation=0)
        self.expect(0, change, "nothing follows")

    def test_of_single_samples_alone_there_is_no_verdict(self):
        for line in self.lines[1:]:
            for key in ("seconds_samples", "efficiency_samples"):
                line[key].update(count=1, deviation=0)
        self.expect(2, self.set_mean("seconds_samples", 100), "nothing could be judged")

    def test_files_that_do_not_match_are_two(self):
        self.expect(2, lambda lines: lines.pop(), "has no row")
        self.expect(2, lambda lines: lines.append(dict(lines[2], workers=4)), "has no row")
        self.expect(2, lambda lines: lines[0]["manifest"]["model"].update(xxh3_128="2"), "different models")
        self.expect(2, lambda lines: lines[0]["manifest"].update(program="longhaul bench"), "can be compared")
        self.expect(2, lambda lines: lines[0]["manifest"].update(kernels="avx512"), "kernels avx2 and")
        self.expect(2, lambda lines: [lines[2].pop(key) for key in ("seconds_samples", "efficiency_samples")],
                    "no samples")

    def test_files_that_are_none_are_refused(self):
        def no_manifest(lines):
            del lines[0]
        self.expect(65, no_manifest, "no manifest")
        self.expect(65, lambda lines: lines.insert(1, lines[0]), "a second manifest")
        self.expect(65, lambda lines: lines.clear(), "no results")

    def test_each_figure_is_a_line_of_json(self):
        result = self.compare(self.set_mean("seconds_samples", 11), "--json")
        figures = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual([figure["verdict"] for figure in figures], ["worse", "same", "same", "same"])
        self.assertAlmostEqual(figures[0]["change"], 0.1)
        self.assertAlmostEqual(figures[0]["band"], 0.2 * (2 / 5) ** 0.5 * 3.355 / 10)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=2)
