"""longhaul eval and tune with real workers and a small model: every task in its short form, what the files say, a run broken off and
repeated, a running coordinator, refusals, two results compared. The model knows nothing: scores are of no interest here."""
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest
import xml.etree.ElementTree

BIN, TINY_MODEL_FILE = sys.argv[1:3]
LONGHAUL = os.path.join(BIN, "longhaul")
SECONDS = 100
GENERATED = ["passkey", "niah_1", "niah_4", "niah_8", "niah_single_1", "niah_multikey_2", "niah_multikey_3", "vt", "fwe", "graph", "kv", "number"]
SAME = ["cases.jsonl", "lines.jsonl", "results.jsonl", "losses.jsonl", "summary.jsonl", "evaluation.json"]


def sentences(count):
    return "".join("And number %d came to pass, as it was said of old.\n" % n for n in range(count))


class Eval(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.home = tempfile.TemporaryDirectory(prefix="longhaul-eval-")
        cls.model = os.path.join(cls.home.name, "tiny.gguf")
        cls.text = os.path.join(cls.home.name, "text.txt")
        subprocess.run([TINY_MODEL_FILE, cls.model], check=True, timeout=60)
        with open(cls.text, "w", encoding="utf-8") as file:
            file.write(sentences(400))

    @classmethod
    def tearDownClass(cls):
        cls.home.cleanup()

    def setUp(self):
        self.folder = tempfile.mkdtemp(dir=self.home.name)
        self.out = os.path.join(self.folder, "out")

    def words(self, tasks, *flags, out=None):
        return [LONGHAUL, "eval", tasks, "--model", self.model, "--out", out or self.out, *flags]

    def eval(self, tasks, *flags, out=None):
        return subprocess.run(self.words(tasks, *flags, out=out), capture_output=True, text=True, timeout=SECONDS,
                              env={**os.environ, "TMPDIR": self.folder})

    def lines(self, name, out=None):
        with open(os.path.join(out or self.out, name), encoding="utf-8") as file:
            return [json.loads(line) for line in file]

    def files(self, out):
        told = {}
        for name in os.listdir(out):
            if name in SAME or name.endswith(".svg"):
                with open(os.path.join(out, name), "rb") as file:
                    told[name] = file.read()
        return told

    def test_every_task_in_its_short_form(self):
        done = self.eval("passkey,niah,graph,kv,number,niah_single_1,niah_multikey_2,niah_multikey_3,vt,fwe,perplexity", "--text", self.text,
                         "--lengths", "2816", "--samples", "1", "--depths", "50", "--answer-tokens", "4", "--method", "rope,string", "--chart")
        self.assertEqual(done.returncode, 0, done.stderr)
        results = self.lines("results.jsonl")
        self.assertEqual([(row["task"], row["method"]) for row in results],
                         [(task, method) for method in ("rope", "string") for task in sorted(GENERATED, key=self.order(results))])
        self.assertEqual({row["task"] for row in results}, set(GENERATED))
        for row in results:
            self.assertLessEqual(row["prompt_tokens"] + 4, 2816)
            self.assertGreater(row["prompt_tokens"], 2816 - 400)  # a unit of any task is shorter
            self.assertTrue(0 <= row["score"] <= 1)
        for task in GENERATED:
            self.assertIn(task, done.stdout)
            xml.etree.ElementTree.parse(os.path.join(self.out, "score-%s.svg" % task))
        losses = self.lines("losses.jsonl")
        self.assertEqual([row["method"] for row in losses], ["rope", "string"])
        for row in losses:
            self.assertTrue(2700 < row["tokens"] <= 2816)
            self.assertEqual(len(row["losses"]), (row["tokens"] - 1) // row["bin"])
        xml.etree.ElementTree.parse(os.path.join(self.out, "loss-2816.svg"))
        with open(os.path.join(self.out, "manifest.json"), encoding="utf-8") as file:
            self.assertEqual(json.load(file)["program"], "longhaul eval")

    @staticmethod
    def order(results):
        tasks = [row["task"] for row in results]
        return tasks.index

    def test_cwe_draws_from_a_list_of_words(self):
        words = os.path.join(self.folder, "words")
        with open(words, "w", encoding="utf-8") as file:
            file.writelines("w%s%s\n" % (a, b) for a in "abcdefghijklmnopqrst" for b in "abcdefghijklmnopqrst")
        done = self.eval("cwe", "--words", words, "--lengths", "9216", "--samples", "1", "--answer-tokens", "4", "--json")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertTrue(all(word[0] == "w" and len(word) == 3 for word in self.lines("cases.jsonl")[0]["expected"]))

    def test_broken_off_at_any_moment_it_ends_with_the_same_bytes(self):
        flags = ("--lengths", "512,1024", "--samples", "4", "--depths", "0,100", "--method", "rope,lm_infinite:window=256,sinks=4", "--text", self.text)
        whole = os.path.join(self.folder, "whole")
        done = self.eval("passkey,kv,perplexity", *flags, out=whole)
        self.assertEqual(done.returncode, 0, done.stderr)
        for delay, kill in ((0.2, signal.SIGKILL), (0.8, signal.SIGKILL), (0.7, signal.SIGINT), (1.2, signal.SIGKILL), (1.6, signal.SIGTERM)):
            process = subprocess.Popen(self.words("passkey,kv,perplexity", *flags), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                                       env={**os.environ, "TMPDIR": self.folder})
            time.sleep(delay)
            process.send_signal(kill)
            self.assertIn(process.wait(60), (-9, 75, 0))
        done = self.eval("passkey,kv,perplexity", *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual(self.files(self.out), self.files(whole))
        self.assertIn("depth-kv.svg", self.files(whole))

    def test_a_file_of_questions(self):
        path = os.path.join(self.folder, "questions.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps({"input": "Who?", "context": sentences(60), "answers": ["me"], "dataset": "who"}) + "\n\n")
            file.write(json.dumps({"input": "List:", "outputs": ["a", "b"], "index": 1}) + "\n")
        flags = ("--file", path, "--lengths", "512", "--metric", "words_f1", "--answer-tokens", "4")
        done = self.eval("file", *flags)
        self.assertEqual(done.returncode, 0, done.stderr)
        who, other = self.lines("cases.jsonl")
        self.assertEqual((who["task"], other["task"], other["expected"]), ("who", "file", ["a", "b"]))
        self.assertTrue(480 < who["prompt_tokens"] <= 508)
        with open(path, "a", encoding="utf-8") as file:
            file.write("{}\n")
        done = self.eval("file", *flags, out=os.path.join(self.folder, "wrong"))
        self.assertNotEqual(done.returncode, 0)
        self.assertIn('questions.jsonl: line 4: it has no "answers"', done.stderr)

    def coordinator(self, *flags):
        ready = os.path.join(self.folder, "ready")
        process = subprocess.Popen([os.path.join(BIN, "longhaul-coordinator"), "--model", self.model, "--listen", "127.0.0.1:0", "--launch",
                                    "--ready-file", ready, "--context", "2048", *flags], stderr=subprocess.DEVNULL)
        self.addCleanup(lambda: (process.terminate(), process.wait(60)))
        deadline = time.monotonic() + 30
        while not os.path.exists(ready) and time.monotonic() < deadline:
            time.sleep(0.05)
        with open(ready, encoding="ascii") as file:
            return file.readline().strip()

    def test_a_running_coordinator_answers_the_same(self):
        flags = ("--lengths", "512", "--samples", "2", "--depths", "50", "--text", self.text)
        server = self.coordinator("--store", os.path.join(self.folder, "store"))
        asked = self.eval("passkey,perplexity", *flags, "--server", server)
        self.assertEqual(asked.returncode, 0, asked.stderr)
        own = os.path.join(self.folder, "own")
        self.assertEqual(self.eval("passkey,perplexity", *flags, out=own).returncode, 0)
        self.assertEqual(self.files(self.out), self.files(own))

    def test_a_coordinator_without_a_store_is_refused(self):
        done = self.eval("passkey", "--lengths", "512", "--samples", "1", "--depths", "50", "--server", self.coordinator())
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("--store", done.stderr)

    def test_what_cannot_be_is_refused_by_name_with_the_range(self):
        for flags, said in (
                (("passkee", "--lengths", "512"), "did you mean passkey?"),
                (("passkey", "--lengths", "100"), "--lengths: 100 is outside 128 to 16777216"),
                (("passkey", "--lengths", "512", "--depths", "50,101"), "--depths: 101 is outside 0 to 100"),
                (("passkey", "--lengths", "512", "--samples", "0"), "--samples"),
                (("passkey",), "--lengths N,N is missing"),
                (("perplexity", "--lengths", "512"), "perplexity needs --text FILE"),
                (("passkey", "--lengths", "512", "--method", "string:shift=16,local=32"), "local"),
                (("niah_8", "--lengths", "256"), "--lengths 256 is less"),
                (("perplexity", "--lengths", "8192", "--samples", "50", "--text", self.text), "give fewer --samples"),
                (("perplexity", "--lengths", "128", "--stride", "1000000", "--samples", "2", "--text", self.text), "tokens: 1 at most; give fewer --samples"),
                (("file,passkey", "--lengths", "512", "--samples", "1", "--depths", "50", "--file", self.passkeys()), '"dataset" is "passkey", which is also a task')):
            done = self.eval(*flags, out=os.path.join(self.folder, "refused-%d" % len(os.listdir(self.folder))))
            self.assertNotEqual(done.returncode, 0, flags)
            self.assertIn(said, done.stderr)

    def passkeys(self):
        path = os.path.join(self.folder, "passkeys.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            file.write(json.dumps({"input": "Which?", "answers": ["1"], "dataset": "passkey"}) + "\n")
        return path

    def test_lines_that_failed_are_told_and_in_no_mean(self):
        done = self.eval("passkey", "--lengths", "512,1024", "--samples", "1", "--depths", "50", "--context", "640")
        self.assertEqual(done.returncode, 1)
        self.assertIn("1 failed and are in no mean; the first: ", done.stderr)
        self.assertIn("1 failed", done.stdout)
        self.assertEqual([row["samples"] for row in self.lines("summary.jsonl")], [1, 0])

    def test_a_folder_holds_one_evaluation(self):
        flags = ("--samples", "1", "--depths", "50", "--chat")
        named = ("--lengths", "512", "--chat-template", "chatml")
        self.assertEqual(self.eval("passkey", *named, *flags).returncode, 0)
        for others, said in ((("--lengths", "640", "--chat-template", "chatml"), 'another "lengths" ([512])'),
                             (("--lengths", "512", "--chat-template", "llama-3"), 'another "chat_template"'),
                             (("--lengths", "512"), 'another "chat_template"'),
                             ((*named, "--cache", "int8"), 'another "cache" (absent)')):
            other = self.eval("passkey", *others, *flags)
            self.assertNotEqual(other.returncode, 0)
            self.assertIn(said, other.stderr)
        self.assertEqual(self.eval("passkey", *named, *flags).returncode, 0)

    def tune(self, *flags):
        return subprocess.run([LONGHAUL, "tune", "--model", self.model, "--text", self.text, "--length", "512", "--out", self.out, *flags],
                              capture_output=True, text=True, timeout=SECONDS, env={**os.environ, "TMPDIR": self.folder})

    def test_tune_writes_a_spelling_that_other_commands_take(self):
        for method, wanted in (("string", "string:shift="), ("lm_infinite", "lm_infinite:window=")):
            self.out = os.path.join(self.folder, method)
            done = self.tune("--method", method, "--seconds", "20", "--json")
            self.assertEqual(done.returncode, 0, done.stderr)
            told = json.loads(done.stdout)
            rounds = {each["method"]: each["samples"] for each in told["candidates"]}
            self.assertTrue(told["found"].startswith(wanted))
            self.assertEqual(rounds[told["found"]], max(rounds.values()))
            xml.etree.ElementTree.parse(os.path.join(self.out, "tune.svg"))
            config = os.path.join(self.out, "method.yaml")
            asked = subprocess.run([LONGHAUL, "score", "--config", config, "--model", self.model, "--file", self.text, "--json",
                                    "--context", "32768"], capture_output=True, text=True, timeout=SECONDS)
            self.assertEqual(asked.returncode, 0, asked.stderr)
            self.assertIn(told["found"].split(":")[0], asked.stdout)

    def test_tune_refuses_what_it_cannot_search(self):
        for flags, said in ((("--method", "rope"), "give string or lm_infinite"),
                            (("--method", "string", "--length", "100"), "--length"),
                            (("--method", "string", "--seconds", "0"), "--seconds")):
            done = self.tune(*flags)
            self.assertNotEqual(done.returncode, 0)
            self.assertIn(said, done.stderr)

    def write_results(self, name, method, scores, hex_digit="0", length=512, task="passkey"):
        folder = os.path.join(self.folder, name)
        os.makedirs(folder, exist_ok=True)
        with open(os.path.join(folder, "results.jsonl"), "a", encoding="utf-8") as file:
            for sample, score in enumerate(scores):
                file.write(json.dumps({"task": task, "method": method, "length": length, "depth": 50, "sample": sample, "prompt_tokens": 500,
                                       "prompt_xxh3": hex_digit * 32, "answer": "", "expected": [], "score": score}) + "\n")
        return folder

    def compare(self, *folders):
        return subprocess.run([LONGHAUL, "eval", "compare", "--json", *folders], capture_output=True, text=True, timeout=SECONDS)

    def test_two_results_are_compared_sample_by_sample(self):
        before = self.write_results("before", "rope", [1] * 8 + [0] * 2)
        after = self.write_results("after", "string", [0] * 8 + [0, 1])
        done = self.compare(before, after)
        told = json.loads(done.stdout)
        self.assertEqual([told[key] for key in ("pairs", "first", "second", "better", "worse")], [10, 0.8, 0.1, 1, 8])
        self.assertAlmostEqual(told["chance"], 2 * (1 + 9) / 2 ** 9)
        self.assertEqual(done.returncode, 0)  # 1 chance in 25
        done = self.compare(before, self.write_results("none", "rope", [0] * 10))
        self.assertEqual((json.loads(done.stdout)["worse"], done.returncode), (8, 1))
        other = self.compare(before, self.write_results("other", "rope", [1], "1"))
        self.assertIn("the two have other prompts", other.stderr)
        self.assertNotEqual(other.returncode, 0)

    def test_one_row_of_many_has_to_be_less_likely(self):
        for length, after in ((512, [0] * 8), (640, [1] * 8)):  # 1 chance in 128, in one of two rows
            self.write_results("before", "rope", [1] * 8, length=length)
            self.write_results("after", "rope", after, length=length)
        done = self.compare(os.path.join(self.folder, "before"), os.path.join(self.folder, "after"))
        self.assertEqual([json.loads(line)["worse"] for line in done.stdout.splitlines()], [8, 0])
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_a_files_records_are_not_held_against_losses_of_the_same_name(self):
        both = self.write_results("both", "rope", [1], task="perplexity")
        with open(os.path.join(both, "results.jsonl"), encoding="utf-8") as file:
            loss = {**json.loads(file.readline()), "window": 0, "new_loss": 2.5, "prompt_xxh3": "1" * 32}
        with open(os.path.join(both, "losses.jsonl"), "w", encoding="utf-8") as file:
            file.write(json.dumps(loss) + "\n")
        done = self.compare(both, both)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertEqual([json.loads(line)["first"] for line in done.stdout.splitlines()], [1, 2.5])


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:])
