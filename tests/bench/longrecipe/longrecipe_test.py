"""The experiment's texts, and its short form from the first text to the report. Argument: the folder of the programs."""
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import unittest

import arms
import evaluate
import report
import texts

PROGRAMS = sys.argv[1]
HERE = os.path.dirname(os.path.abspath(__file__))


class Texts(unittest.TestCase):
    def test_documents_are_as_long_as_asked_and_follow_from_the_seed(self):
        for length in (63, 255, 1023):
            for make in texts.MAKERS.values():
                document = make(random.Random(length), length)
                self.assertEqual(len(document.encode()), length)
                self.assertEqual(document, make(random.Random(length), length))
                self.assertNotEqual(document, make(random.Random(length + 1), length))

    def test_questions_have_the_answers_that_were_given_before(self):
        questions = 0
        for seed in range(50):
            document = texts.keys_document(random.Random(seed), 255)
            values = dict(re.findall(r"@([A-Z])\n(\d{4})\.", document))
            for asked in re.finditer(r"\?([A-Z])\n(\d{4})\.", document):
                self.assertEqual(values[asked[1]], asked[2])
                self.assertLess(document.index("@" + asked[1]), asked.start())
                questions += 1
        self.assertGreater(questions, 100)

    def test_a_document_that_is_asked_ends_with_its_question_and_holds_the_answer_at_the_depth(self):
        for depth in evaluate.DEPTHS:
            for seed in range(20):
                for keys in (1, 4):
                    prompt, value = texts.asked_key(random.Random(seed), 1023, depth, keys)
                    self.assertEqual(len(prompt) + 1 + len(value), 1023)
                    place = prompt.index(f"@{prompt[-1]}\n{value}.") / len(prompt)
                    self.assertAlmostEqual(place, depth, delta=0.12)
                    self.assertEqual(len(re.findall(r"@[A-Z]\n\d{4}\.", prompt)), keys)
                prompt, copied = texts.asked_string(random.Random(seed), 1023, depth)
                self.assertEqual(len(prompt) + 1 + len(copied), 1023)
                self.assertEqual(prompt.count(f"*\n{copied}."), 1)
                self.assertTrue(prompt.endswith("*"))


class Evaluation(unittest.TestCase):
    def test_an_answer_is_found_where_each_of_its_tokens_is_the_likeliest(self):
        kinds = {"a": ("copying", 0.5, 2), "b": ("copying", 0.5, 2), "c": ("one key", 0.5, 1)}
        right, wrong = (-0.1, True), (-0.1, False)
        self.assertEqual(evaluate.found(kinds, ["b", "c", "a"], [[right, wrong], [right, wrong], [right, right, wrong]]),
                         {"copying": {0.5: 0.5}, "one key": {0.5: 1}})


class Short(unittest.TestCase):
    def test_every_arm_goes_from_texts_to_the_report_and_is_not_done_twice(self):
        with tempfile.TemporaryDirectory() as folder:
            command = [sys.executable, "-B", os.path.join(HERE, "longrecipe.py"), "--bin", PROGRAMS, "--folder", folder, "--short"]
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=200)
            self.assertEqual(done.returncode, 0, done.stderr)
            rows = {row["arm"]: row for row in report.rows_of(folder)}
            self.assertEqual(list(rows), [arm.name for arm in arms.ARMS])
            untouched, full = rows["untouched"], rows["full"]
            last = str(arms.SHORT.target)
            self.assertLess(max(full["perplexity"][last]), min(untouched["perplexity"][last]), "training teaches something")
            self.assertNotEqual(rows["base"]["perplexity"][last], untouched["perplexity"][last])
            tokens = {name: row["training"]["extend"]["tokens"] for name, row in rows.items() if row["training"]}
            self.assertEqual(tokens["full"], arms.SHORT.samples * arms.SHORT.target)
            self.assertEqual(tokens["pose"], arms.SHORT.samples * arms.SHORT.selected)
            self.assertIn("replay", rows["recipe"]["training"])
            self.assertEqual(rows["base"]["training"], {}, "the model before is no arm's cost")
            with open(os.path.join(folder, "seed-1", "log.txt"), encoding="utf-8") as file:
                log = file.read()
            again = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=60)
            self.assertEqual(again.stdout, done.stdout)
            with open(os.path.join(folder, "seed-1", "log.txt"), encoding="utf-8") as file:
                self.assertEqual(file.read(), log, "what is finished is not done again")
            out = os.path.join(folder, "rows.jsonl")
            told = subprocess.run([sys.executable, "-B", os.path.join(HERE, "report.py"), folder, "--out", out],
                                  stdout=subprocess.PIPE, text=True, timeout=60, check=True).stdout
            for task in evaluate.TASKS:
                self.assertIn(f"| {task}, % found | 64 tokens | 128 tokens | 256 tokens |", told)
            self.assertIn("| full | ", told.split("% of full length")[1])
            with open(out, encoding="utf-8") as file:
                manifest, *lines = map(json.loads, file)
            self.assertEqual(manifest["manifest"]["seeds"], [1])
            self.assertEqual([line["arm"] for line in lines], list(rows))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
