"""trace_test BIN TINY_MODEL_FILE: longhaul run --trace FILE, of two ranks: spans nest, none is shorter than nothing, waits and
exchanges add up to what the ranks report, and all stand on one clock."""
import collections
import json
import os
import subprocess
import sys
import tempfile
import unittest

BIN, TINY_MODEL_FILE = sys.argv[1:3]
WITHIN = {"run", "attend", "wait", "gather"}
OUTER = {"stage", "step"}
ROUNDING_US = 0.0005  # of one time in the file, which has nanoseconds


class Trace(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory()
        cls.model = os.path.join(cls.folder.name, "tiny.gguf")
        cls.prompt = os.path.join(cls.folder.name, "prompt")
        subprocess.run([TINY_MODEL_FILE, cls.model], check=True, timeout=60)
        with open(cls.prompt, "w", encoding="ascii") as file:
            file.write("THE DOCUMENT 0123456789 " * 60)  # 1440 tokens

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_command(self, *flags, code=0):
        result = subprocess.run([os.path.join(BIN, "longhaul"), "run", "--model", self.model, "--threads", "1", "--raw",
                                 "--prompt-file", self.prompt, "--max-tokens", "6", *flags], stdin=subprocess.DEVNULL,
                                capture_output=True, timeout=120, check=False)
        self.assertEqual(result.returncode, code, result.stderr.decode())
        return result

    def traced(self, *flags):
        """The trace's events by rank, and the answer's object."""
        path = os.path.join(self.folder.name, "trace.json")
        answer = json.loads(self.run_command("--workers", "2", "--trace", path, "--json", *flags).stdout)
        with open(path, encoding="utf-8") as file:
            trace = json.load(file)
        self.assertEqual(trace["otherData"]["events_dropped"], 0)
        by_rank = collections.defaultdict(list)
        for event in trace["traceEvents"]:
            by_rank[event["pid"]].append(event)
        self.assertEqual(sorted(by_rank), [0, 1])
        return by_rank, answer

    def check_spans(self, events):
        spans = [event for event in events if event["ph"] == "X"]
        outer = sorted((s["ts"], s["ts"] + s["dur"]) for s in spans if s["name"] in OUTER)
        inner = sorted((s["ts"], s["ts"] + s["dur"]) for s in spans if s["name"] in WITHIN)
        self.assertEqual(len(outer) + len(inner), len(spans))
        for span in spans:
            self.assertGreaterEqual(span["dur"], 0)
            self.assertGreaterEqual(span["ts"], 0, "the request was handed out before")
        for row in (outer, inner):
            for before, after in zip(row, row[1:]):
                self.assertLessEqual(before[1], after[0] + ROUNDING_US)
        for first, end in inner:
            self.assertTrue(any(begin <= first + ROUNDING_US and end <= last + ROUNDING_US for begin, last in outer))

    def check_sums(self, events, report):
        waits = [e for e in events if e["name"] == "wait"]
        begins = {e["id"]: e for e in events if e["ph"] == "b"}
        ends = {e["id"]: e for e in events if e["ph"] == "e"}
        self.assertEqual(begins.keys(), ends.keys())
        exchanges = [ends[n]["ts"] - begins[n]["ts"] for n in begins]
        self.assertTrue(all(length >= 0 for length in exchanges))
        self.assertAlmostEqual(sum(e["dur"] for e in waits) * 1e-6, report["exchange_wait_seconds"], delta=1e-9 * (1 + len(waits)))
        self.assertAlmostEqual(sum(exchanges) * 1e-6, report["exchange_seconds"], delta=1e-9 * (1 + len(exchanges)))
        received = sum(e["args"]["bytes"] for e in begins.values())
        self.assertLessEqual(received, report["received_bytes"])
        return begins.values()

    def check(self, *flags):
        by_rank, answer = self.traced("--draft", "none", *flags)
        exchanged = 0
        for rank, events in by_rank.items():
            self.check_spans(events)
            for exchange in self.check_sums(events, answer["ranks"][rank]):
                self.assertEqual(exchange["args"]["from_rank"], 1 - rank)
                exchanged += 1
            names = collections.Counter(e["name"] for e in events if e["ph"] == "X")
            self.assertEqual(names["step"], 5, "the first of six tokens is the prompt's, and none is guessed")
            self.assertGreaterEqual(names["attend"], 2 + 5 * 2, "each of two layers")
            tokens = sum(e["args"]["tokens"] for e in events if e["name"] == "stage")
            self.assertEqual(tokens, answer["usage"]["prompt_tokens"])
        self.assertGreater(exchanged, 0)
        # One clock: both ranks work on the first stage at the same time.
        stages = [next(e for e in by_rank[rank] if e["name"] == "stage") for rank in (0, 1)]
        self.assertLess(max(s["ts"] for s in stages), min(s["ts"] + s["dur"] for s in stages))

    def test_threads(self):
        self.check("--transport", "loopback")

    def test_processes(self):
        self.check("--transport", "mpi")

    def test_stages(self):
        self.check("--transport", "loopback", "--stage-tokens", "512")

    def test_the_answer_is_the_same_and_a_file_that_cannot_be_written_is_told_at_once(self):
        plain = self.run_command().stdout
        path = os.path.join(self.folder.name, "trace.json")
        self.assertEqual(self.run_command("--trace", path).stdout, plain)
        result = self.run_command("--trace", os.path.join(self.folder.name, "none", "trace.json"), code=74)
        self.assertIn(b"No such file", result.stderr)
        self.assertEqual(result.stdout, b"")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
