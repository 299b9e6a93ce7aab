"""`longhaul run -i IN.jsonl -o OUT.jsonl`: one command, workers of its own, broken off and repeated."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN, TINY_MODEL_FILE = sys.argv[1:3]
LINES = 60


def line(custom_id, prompt, tokens=40, **fields):
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": "/v1/completions",
                       "body": {"prompt": prompt, "max_tokens": tokens, **fields}}) + "\n"


class RunLines(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.TemporaryDirectory(prefix="longhaul-run-lines-")
        cls.model = os.path.join(cls.home.name, "tiny.gguf")
        subprocess.run([TINY_MODEL_FILE, cls.model], check=True, timeout=60)

    @classmethod
    def tearDownClass(cls):
        cls.home.cleanup()

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=self.home.name)
        self.input, self.output = (os.path.join(self.folder, name) for name in ("in.jsonl", "out.jsonl"))
        self.write([line("c%d" % n, "PROMPT %d" % n) for n in range(LINES)])

    def write(self, lines):
        with open(self.input, "w", encoding="utf-8") as file:
            file.writelines(lines)

    def words(self, *flags):
        return [os.path.join(BIN, "longhaul"), "run", "--model", self.model, "-i", self.input, "-o", self.output, *flags]

    def environment(self):
        return {**os.environ, "TMPDIR": self.folder}

    def run_all(self, *flags):
        return subprocess.run(self.words("--json", *flags), capture_output=True, text=True, timeout=100, env=self.environment())

    def results(self):
        """Whole lines of the output, by custom_id; none may come twice."""
        with open(self.output, "rb") as file:
            told = [json.loads(each) for each in file.read().split(b"\n")[:-1]]
        by_id = {each["custom_id"]: each for each in told}
        self.assertEqual(len(by_id), len(told), "a result comes twice")
        return by_id

    def test_every_line_has_a_result_and_the_end_says_so(self):
        done = self.run_all()
        self.assertEqual(done.returncode, 0, done.stderr)
        told = json.loads(done.stdout)
        self.assertEqual([told["counts"][key] for key in ("total", "completed", "failed")], [LINES, LINES, 0])
        usage = told["usage"]
        self.assertEqual(usage["prompt_tokens"], usage["cached_tokens"] + usage["prefilled_tokens"])
        self.assertGreater(usage["completion_tokens"], 0)
        self.assertEqual(len(self.results()), LINES)
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith("longhaul-run-")], [])
        again = self.run_all()
        self.assertEqual((again.returncode, json.loads(again.stdout)), (0, told))

    def test_seeds_of_64_bits_are_told(self):
        """Drawn by the coordinator: half of them are beyond the integers of a JSON library."""
        self.write([json.dumps({"custom_id": "c%d" % n, "method": "POST", "url": "/longhaul/v1/generate",
                                "body": {"text": "PROMPT", "raw": True, "max_tokens": 4}}) + "\n" for n in range(20)])
        done = self.run_all()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(max(each["response"]["body"]["seed"] for each in self.results().values()), 2 ** 63)

    def test_broken_off_at_any_moment_it_goes_on(self):
        for delay, kill in ((0.3, signal.SIGKILL), (0.6, signal.SIGTERM), (0.5, signal.SIGKILL), (0.4, signal.SIGINT)):
            process = subprocess.Popen(self.words(), stderr=subprocess.DEVNULL, env=self.environment())
            time.sleep(delay)
            process.send_signal(kill)
            self.assertIn(process.wait(60), (-9, 75, 0))
            if os.path.exists(self.output):
                self.results()
        done = self.run_all()
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(sorted(self.results()), sorted("c%d" % n for n in range(LINES)))
        self.assertEqual([name for name in os.listdir(self.folder) if name.startswith("longhaul-run-")], [])

    def test_errors_of_the_lines_own_stay_and_others_run_again(self):
        self.write([line("good", "GOOD"), line("wrong", "WRONG", temperature=-1), line("late", "LATE")])
        done = self.run_all()
        self.assertEqual((done.returncode, json.loads(done.stdout)["counts"]["failed"]), (1, 1))
        first = self.results()
        self.assertEqual(first["wrong"]["response"]["status_code"], 400)
        # A server's error, as a run with a failing worker leaves it, and a torn line.
        late = dict(first["late"], response={"status_code": 500, "request_id": "r", "body": {"error": {}}})
        with open(self.output, "w", encoding="utf-8") as file:
            for each in (late, first["good"], first["wrong"]):
                file.write(json.dumps(each) + "\n")
            file.write('{"id": "torn')
        self.assertEqual(self.run_all().returncode, 1)
        again = self.results()
        self.assertEqual(again["late"]["response"]["status_code"], 200)
        self.assertEqual(again["good"], first["good"])

    def test_results_in_the_order_of_the_input(self):
        self.assertEqual(self.run_all("--order=input").returncode, 0)
        self.assertEqual(list(self.results()), ["c%d" % n for n in range(LINES)])
        with open(self.output, encoding="utf-8") as file:
            whole = file.read()
        with open(self.output, "w", encoding="utf-8") as file:
            file.writelines(whole.splitlines(keepends=True)[:20])
        self.assertEqual(self.run_all("--order=input").returncode, 0)
        self.assertEqual(list(self.results()), ["c%d" % n for n in range(LINES)])

    def test_another_input_or_other_options_are_refused(self):
        self.assertEqual(self.run_all().returncode, 0)
        self.write([line("else", "ELSE")])
        for flags in ((), ("--method=string",)):
            refused = self.run_all(*flags)
            self.assertEqual(refused.returncode, 65)
            self.assertIn("--overwrite", refused.stderr)
        self.assertEqual(len(self.results()), LINES)
        self.assertEqual(self.run_all("--overwrite").returncode, 0)
        self.assertEqual(list(self.results()), ["else"])

    def test_a_duplicate_is_refused_with_both_lines(self):
        self.write([line("a", "A"), line("b", "B"), line("a", "C")])
        refused = self.run_all()
        self.assertEqual(refused.returncode, 65)
        self.assertRegex(refused.stderr, r"\b1\b.*\b3\b|\b3\b.*\b1\b")

    def test_two_workers_give_the_same_answers(self):
        self.assertEqual(self.run_all().returncode, 0)
        texts = {name: each["response"]["body"]["choices"][0]["text"] for name, each in self.results().items()}
        self.assertEqual(self.run_all("--overwrite", "--workers=2", "--threads=1").returncode, 0)
        again = {name: each["response"]["body"]["choices"][0]["text"] for name, each in self.results().items()}
        self.assertEqual(texts, again)

    def test_wrong_command_lines_say_what_to_do(self):
        run = lambda *flags: subprocess.run([os.path.join(BIN, "longhaul"), "run", "--model", self.model, *flags],
                                            capture_output=True, text=True, timeout=20)
        for flags, word in ((("-i", self.input), "-o"), (("-o", self.output), "-i"),
                            (("-i", self.input, "-o", self.output, "--prompt", "A"), "each line"),
                            (("-i", "-", "-o", self.output), "needs a file"),
                            (("-i", self.input, "-o", self.output, "--order", "odd"), "completion"),
                            (("--prompt", "A", "--overwrite"), "-i")):
            wrong = run(*flags)
            self.assertEqual(wrong.returncode, 2, wrong.stderr)
            self.assertIn(word, wrong.stderr)
        self.assertEqual(run("-i", "/nowhere", "-o", self.output).returncode, 66)
        self.assertEqual(run("-i", self.input, "-o", "/nowhere/out").returncode, 74)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
