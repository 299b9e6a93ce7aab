"""longhaul with --mesh: workers that share out the weights beside the prompt say what one says, count what was planned, and
end together. Arguments: the folder of the programs and the program that writes a small model file."""
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN = sys.argv[1]
TINY_MODEL_FILE = sys.argv[2]
LONGHAUL = os.path.join(BIN, "longhaul")
SECONDS = 100
# Open MPI leaks where a worker is refused, and what a sanitizer says of it hides the refusal.
ENVIRONMENT = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")


class Mesh(unittest.TestCase):
    def setUp(self):
        folder = self.enterContext(tempfile.TemporaryDirectory())
        # The path is this test's own, so it marks this test's processes.
        self.model = os.path.join(folder, "tiny.gguf")
        subprocess.run([TINY_MODEL_FILE, self.model], check=True, timeout=60)

    def workers(self):
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/cmdline", "rb") as file:
                    arguments = file.read().decode(errors="replace").split("\0")
            except OSError:
                continue
            if os.path.basename(arguments[0]) == "longhaul-worker" and any(self.model in a for a in arguments):
                found.append(int(pid))
        return found

    def expect_nothing_left(self):
        deadline = time.monotonic() + 10
        while self.workers() and time.monotonic() < deadline:
            time.sleep(0.1)
        self.assertEqual(self.workers(), [])

    def longhaul(self, command, *arguments):
        result = subprocess.run([LONGHAUL, command, "--model", self.model, *arguments], capture_output=True, text=True,
                                stdin=subprocess.DEVNULL, timeout=SECONDS, env=ENVIRONMENT)
        self.expect_nothing_left()
        return result

    def answer(self, *arguments):
        result = self.longhaul("run", "--json", "--raw", "--prompt", "the quick brown fox " * 20, "--max-tokens", "8",
                               "--kernels", "reference", *arguments)
        self.assertEqual(result.returncode, 0, result.stderr)
        return json.loads(result.stdout)

    def test_every_mesh_says_what_one_worker_says_and_counts_what_was_planned(self):
        one = self.answer()
        for mesh, ranks, workers in (("tensor=2", 2, 1), ("tensor=2,sequence=2", 4, 2), ("sequence=2", 2, 2)):
            told = self.answer("--mesh", mesh)
            self.assertEqual(told["token_ids"], one["token_ids"], mesh)
            self.assertEqual((len(told["ranks"]), told["plan"]["workers"]), (ranks, workers), mesh)
            for rank in told["ranks"]:
                self.assertEqual(rank["sent_bytes"], rank["predicted_sent_bytes"], mesh)
                self.assertGreater(rank["sent_bytes"], 0, mesh)
                self.assertLessEqual(rank["peak_resident_bytes"], rank["memory_bytes"] + rank["base_bytes"], mesh)
        threads = self.answer("--mesh", "tensor=2", "--transport", "loopback")
        self.assertEqual(threads["token_ids"], one["token_ids"])
        planned = sum(rank["memory_bytes"] for rank in threads["ranks"])
        for rank in threads["ranks"]:  # they are threads of one process
            self.assertLessEqual(rank["peak_resident_bytes"], planned + rank["base_bytes"])

    def test_scores_are_the_same_within_rounding(self):
        text = self.model + ".txt"
        with open(text, "w", encoding="ascii") as file:
            file.write("In the end there is the other light. " * 5)
        scores = []
        for mesh in ("tensor=1", "tensor=2,sequence=2"):
            result = self.longhaul("score", "--file", text, "--json", "--kernels", "reference", "--mesh", mesh)
            self.assertEqual(result.returncode, 0, result.stderr)
            scores.append(json.loads(result.stdout)["logprobs"])
        self.assertEqual(len(scores[0]), len(scores[1]))
        for one, other in zip(*scores):
            self.assertAlmostEqual(one, other, delta=1e-4)

    def test_a_model_that_a_worker_cannot_hold_is_shared_out(self):
        """Where the whole model with a context fits no worker, and half of it does."""
        plan = self.longhaul("plan", "--prompt-tokens", "100", "--workers", "2", "--json", "--mesh", "sequence=2")
        self.assertEqual(plan.returncode, 0, plan.stderr)
        whole = json.loads(plan.stdout)
        half = json.loads(self.longhaul("plan", "--prompt-tokens", "100", "--json", "--mesh", "tensor=2").stdout)
        weights = [plan["ranks"][0]["memory"]["weights"] for plan in (whole, half)]
        self.assertLess(weights[1], weights[0])
        told = self.longhaul("plan", "--prompt-tokens", "100", "--workers", "2", "--memory-mib", "1")
        self.assertIn("weights are shared out over 2 ranks because a rank would need", told.stdout)
        asked = self.longhaul("plan", "--prompt-tokens", "100", "--workers", "2", "--mesh", "tensor=2")
        self.assertIn("because that was asked for", asked.stdout)

    def test_weights_lie_in_a_hosts_memory_once(self):
        for mesh, sharers in (("sequence=2", 2), ("tensor=2", 1), ("tensor=2,sequence=2", 2)):
            result = self.longhaul("run", "--raw", "--prompt", "a", "--max-tokens", "2", "--mesh", mesh, "--log-level", "info")
            self.assertEqual(result.returncode, 0, result.stderr)
            found = re.findall(r"weight_sharers=(\d+)", result.stderr)
            self.assertEqual(set(found), {str(sharers)}, result.stderr)

    def test_axes_that_are_not_the_workers_are_refused(self):
        for arguments, code, words in ((("--mesh", "tensor=2", "--workers", "3"), None, "cannot be laid out over 3 workers"),
                                       (("--mesh", "tensor"), 2, "places of the axes"),
                                       (("--mesh", "tensor=0"), 2, "places of the axes"),
                                       (("--mesh", "tensor=2,tensor=2"), 2, "places of the axes"),
                                       (("--mesh", "tensor=2", "--device", "cuda"), None, "on GPUs do not share out")):
            result = self.longhaul("run", "--prompt", "a", *arguments)
            self.assertIn(words, result.stderr)
            self.assertNotEqual(result.returncode, 0)
            if code:
                self.assertEqual(result.returncode, code, result.stderr)

    def test_a_mesh_that_the_model_does_not_fit_is_refused_before_anything_starts(self):
        for command in (("run", "--prompt", "a"), ("plan", "--prompt-tokens", "100")):
            result = self.longhaul(*command, "--mesh", "tensor=20")
            self.assertEqual(result.returncode, 65, result.stderr)
            self.assertEqual(result.stderr.count("\n"), 1, result.stderr)
            self.assertIn("the model has 4 query heads and 96 feed-forward columns", result.stderr)
            self.assertIn("over 20 workers tensor=4,sequence=5 is the longest that fits", result.stderr)

    def test_a_rank_that_dies_takes_its_group_with_it(self):
        process = subprocess.Popen(
            [LONGHAUL, "run", "--model", self.model, "--raw", "--prompt", "a", "--temperature", "2", "--max-tokens",
             "1000000", "--ignore-eos", "--mesh", "tensor=2,sequence=2"], stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        self.assertTrue(process.stdout.read(1), "no answer")
        os.kill(max(self.workers()), signal.SIGKILL)
        begin = time.monotonic()
        process.communicate(timeout=60)
        self.assertLess(time.monotonic() - begin, 20)
        self.assertNotEqual(process.returncode, 0)
        self.expect_nothing_left()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
