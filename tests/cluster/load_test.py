"""longhaul load with real workers and a small model: loads, times, goals, refusals, and that no process is left.
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
MASK = 2**64 - 1


def draws(state):
    """SplitMix64, as it is published."""
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        yield z ^ (z >> 31)


def poisson_times(seed, number, rate, count):
    """The beginnings of load `number` of a run: its own seed is the first draw of seed + number * 0x100000001b3 + 2."""
    numbers = draws(next(draws((seed + number * 0x100000001B3 + 2) & MASK)))
    times = [0.0]
    while len(times) < count:
        times.append(times[-1] - math.log1p(-(next(numbers) >> 11) * 2.0**-53) / rate)
    return times


def close(a, b, tolerance=1e-9):
    return math.isclose(a, b, rel_tol=tolerance, abs_tol=tolerance)


class Load(unittest.TestCase):
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

    def load(self, *arguments, code=0, where=None):
        result = subprocess.run([LONGHAUL, "load", *(where or ["--model", self.model]), *arguments], capture_output=True, text=True,
                                stdin=subprocess.DEVNULL, timeout=SECONDS)
        self.assertEqual(result.returncode, code, result.stderr)
        if not where:
            self.expect_nothing_left()
        return result

    def lines(self, *arguments, where=None):
        result = self.load("--json", *arguments, where=where)
        self.assertEqual(result.stderr, "", "quiet when piped")
        manifest, *rows = map(json.loads, result.stdout.splitlines())
        return manifest["manifest"], rows

    def check_figures(self, row, count):
        """What is told of a load follows from what is told of its requests."""
        self.assertEqual((row["completed"], row["failed"], row["num_prompts"]), (count, 0, count))
        for name in ("input_lens", "output_lens", "ttfts", "itls", "latencies", "start_times", "queue_times", "errors"):
            self.assertEqual(len(row[name]), count, name)
        self.assertEqual(set(row["errors"]), {""})
        self.assertEqual(row["total_output_tokens"], sum(row["output_lens"]))
        self.assertEqual(row["total_input_tokens"], sum(row["input_lens"]))
        self.assertTrue(close(row["mean_ttft_ms"], 1000 * statistics.fmean(row["ttfts"])))
        self.assertTrue(close(row["std_ttft_ms"], 1000 * statistics.pstdev(row["ttfts"])))
        self.assertTrue(close(row["median_e2el_ms"], 1000 * statistics.median(row["latencies"])))
        self.assertTrue(close(row["mean_itl_ms"], 1000 * statistics.fmean(sum(row["itls"], []))))
        tpots = [(latency - ttft) / (tokens - 1) for latency, ttft, tokens in
                 zip(row["latencies"], row["ttfts"], row["output_lens"]) if tokens > 1]
        self.assertTrue(close(row["mean_tpot_ms"], 1000 * statistics.fmean(tpots)))
        self.assertTrue(close(row["median_intvty"], 1 / statistics.median(tpots)))
        ends = [start + latency for start, latency in zip(row["start_times"], row["latencies"])]
        self.assertTrue(close(row["duration"], max(ends) - min(row["start_times"])))
        self.assertTrue(close(row["request_throughput"], count / row["duration"]))
        self.assertTrue(close(row["output_throughput"], row["total_output_tokens"] / row["duration"]))
        self.assertTrue(close(row["aiperf"]["time_to_first_token"]["avg"], row["mean_ttft_ms"]))
        for ttft, latency in zip(row["ttfts"], row["latencies"]):
            self.assertTrue(0 < ttft <= latency)

    def test_closed_loads_keep_so_many_requests_under_way(self):
        out = os.path.join(self.folder, "out")
        manifest, rows = self.lines("-c", "1,3", "-N", "12", "-p", "64,130", "-n", "4,9", "--out", out)
        self.assertEqual([(row["load"], row["max_concurrency"], row["request_rate"]) for row in rows],
                         [("closed", 1, "inf"), ("closed", 3, "inf")])
        for row in rows:
            self.check_figures(row, 12)
            self.assertEqual((set(row["input_lens"]), set(row["output_lens"])), ({64, 130}, {4, 9}), "lengths are drawn")
            self.assertEqual(set(row["queue_times"]), {0})
            self.assertLessEqual(row["max_concurrent_requests"], row["max_concurrency"])
            self.assertEqual((row["total_cached_tokens"], row["request_goodput"]), (0, None))
        self.assertGreater(rows[1]["max_concurrent_requests"], 1)
        self.assertEqual(manifest["program"], "longhaul load")
        with open(os.path.join(out, "load.jsonl"), encoding="utf-8") as file:
            self.assertEqual([json.loads(line) for line in file][1:], rows)
        circles = xml.etree.ElementTree.parse(os.path.join(out, "throughput.svg")).iter("{http://www.w3.org/2000/svg}circle")
        self.assertEqual(len(list(circles)), 2 + 1, "a mark a load, and the legend's")
        self.assertIn("load.jsonl is there already", self.load("--out", out, code=69).stderr)

    def test_open_loads_come_at_the_times_that_the_seed_draws_and_count_from_them(self):
        _, rows = self.lines("--rate", "100,2000", "-N", "30", "-p", "64", "-n", "4", "--seed", "7")
        for number, row in enumerate(rows, 1):
            self.check_figures(row, 30)
            rate = (100, 2000)[number - 1]
            self.assertEqual((row["load"], row["request_rate"], row["max_concurrency"]), ("open", rate, None))
            for told, drawn in zip(row["start_times"], poisson_times(7, number, rate, 30)):
                self.assertTrue(close(told, drawn, 1e-8), "to the nanosecond")
            for ttft, queued in zip(row["ttfts"], row["queue_times"]):
                self.assertTrue(0 <= queued < ttft, "what a request waited at the client is in its latency")

    def test_requests_that_cannot_be_sent_in_time_count_from_when_they_were_due(self):
        """400 requests at once, and 256 clients: the others wait for one of those, and it is seen in their latency."""
        _, (row,) = self.lines("--rate", "1000000", "-N", "400", "-p", "64", "-n", "2")
        for i in range(256, 400):
            self.assertGreater(row["queue_times"][i], 0)
            answered = row["ttfts"][i] > 0
            self.assertTrue(answered or row["errors"][i])
            self.assertTrue(not answered or row["ttfts"][i] > row["queue_times"][i])
        self.assertEqual(row["completed"] + row["failed"], 400)
        self.assertEqual(sum(1 for error in row["errors"] if error), row["failed"])

    def test_a_shared_beginning_is_read_once(self):
        _, (row,) = self.lines("-c", "2", "-N", "6", "-p", "512", "-n", "2", "--shared", "0.5")
        self.check_figures(row, 6)
        self.assertEqual(row["total_cached_tokens"], 6 * 256)

    def test_goodput_counts_requests_that_keep_to_the_goals(self):
        for goals, share in (("ttft:1000000,tpot:1000000,e2el:1000000", 1), ("e2el:0.000001", 0)):
            _, (row,) = self.lines("-c", "2", "-N", "4", "-p", "64", "-n", "4", "--goodput", goals)
            self.assertTrue(close(row["request_goodput"], share * row["request_throughput"]))
            self.assertEqual(row["aiperf"]["good_request_count"]["avg"], share * 4)
        self.assertRegex(self.load("-c", "1", "-N", "4", "-p", "64", "-n", "4", "--goodput", "ttft:1000000").stdout, r"good\n")

    def test_a_standing_coordinator_is_asked_and_left_running(self):
        ready = os.path.join(self.folder, "ready")
        with open(os.path.join(self.folder, "log"), "wb") as log:
            coordinator = subprocess.Popen([os.path.join(BIN, "longhaul-coordinator"), "--model", self.model, "--launch", "--listen",
                                            "127.0.0.1:0", "--ready-file", ready], stdout=log, stderr=log)
        self.addCleanup(coordinator.wait)
        self.addCleanup(coordinator.terminate)
        deadline = time.monotonic() + SECONDS
        while not os.path.exists(ready):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        with open(ready, encoding="utf-8") as file:
            address = file.readline().strip()
        where = ["--server", address, "--timeout", "60"]
        while True:  # until the workers have loaded
            asked = subprocess.run([LONGHAUL, "load", *where, "-c", "2", "-N", "6", "-p", "64", "-n", "4", "--json", "--method",
                                    "lm_infinite:window=64,sinks=4"], capture_output=True, text=True, timeout=SECONDS)
            if asked.returncode == 0:
                break
            self.assertLess(time.monotonic(), deadline, asked.stderr)
            time.sleep(0.2)
        row = json.loads(asked.stdout.splitlines()[1])
        self.check_figures(row, 6)
        self.assertIsNone(row["machine"]["other_cores"], "what the coordinator uses is not told from what others do")
        self.assertIsNone(coordinator.poll())
        answer = self.load("-c", "1", "-N", "2", "-p", "5000", "-n", "4", where=where, code=65)
        self.assertIn("context", answer.stderr)

    def test_what_makes_no_sense_is_refused_before_anything_starts(self):
        for arguments, sentence, code in (
                (["-c", "0"], "--concurrency", 2), (["-c", "1000"], "--concurrency", 2), (["--rate", "0"], "--rate", 2),
                (["--rate", "1,x"], "--rate", 2), (["--rate", "-1"], "--rate", 2), (["--rate", "1,"], "--rate", 2),
                (["--goodput", "ttft"], "--goodput", 2), (["--goodput", "itl:5"], "none of ttft", 2),
                (["--goodput", "ttft:-5"], "--goodput", 2), (["--shared", "2"], "--shared", 2), (["-p", "0"], "--prompt", 2),
                (["-N", "0"], "--requests", 2), (["--method", "ropes"], "ropes", 2), (["--token-file", "x"], "--server", 2)):
            with self.subTest(arguments=arguments):
                self.assertIn(sentence, self.load(*arguments, code=code).stderr)
        nothing = subprocess.run([LONGHAUL, "load"], capture_output=True, text=True, timeout=SECONDS)
        self.assertEqual(nothing.returncode, 2)
        self.assertIn("--model FILE, or --server", nothing.stderr)

    def test_an_interrupt_ends_it_in_order(self):
        process = subprocess.Popen([LONGHAUL, "load", "--model", self.model, "--rate", "1", "-N", "1000", "-p", "64"],
                                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + SECONDS
        while len(self.processes()) < 3:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=30)
        self.assertEqual((process.returncode, out), (130, b""), error)
        self.expect_nothing_left()

    def test_loads_that_have_ended_are_kept_when_a_later_one_is_broken_off(self):
        out = os.path.join(self.folder, "out")
        kept = os.path.join(out, "load.jsonl")

        def lines():
            if not os.path.exists(kept):
                return []
            with open(kept, encoding="utf-8") as file:
                return file.read().splitlines()

        # The second takes more than a minute.
        process = subprocess.Popen([LONGHAUL, "load", "--model", self.model, "--rate", "1000,0.1", "-N", "8", "-p", "64", "-n", "2",
                                    "--out", out], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.addCleanup(process.kill)
        deadline = time.monotonic() + SECONDS
        while len(lines()) < 2:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(30), 130)
        manifest, row = map(json.loads, lines())
        self.assertIn("manifest", manifest)
        self.assertEqual((row["request_rate"], row["completed"]), (1000, 8))
        self.expect_nothing_left()



if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
