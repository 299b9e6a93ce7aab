"""longhaul-trainer as a person or a script meets it: what ranks on the axes of a mesh agree on, going on from a checkpoint, ending
when told, what it refuses. Arguments: the folders of the programs and of the test programs."""
import json
import os
import signal
import subprocess
import sys
import time
import unittest

from training import Training

PROGRAMS, TESTS = sys.argv[1:3]
FIELDS = ["step", "loss", "grad_norm", "learning_rate", "tokens", "seconds"]


class Trainer(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.training = cls.enterClassContext(Training(PROGRAMS, TESTS))

    def run_well(self, config, *options, ranks=0):
        result = self.training.run(config, *options, ranks=ranks)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def refused(self, config, code, words, *options):
        result = self.training.run(config, *options)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertIn(words, result.stderr)
        self.assertNotIn("step 1 of", result.stdout)

    def test_the_loss_after_fifty_steps_is_that_of_one_worker_on_either_axis(self):
        final = {}
        for data, sequence in ((1, 1), (2, 1), (1, 2), (4, 1), (1, 4)):
            name = "mesh%d%d" % (data, sequence)
            self.training.write(name + ".yaml", name, steps=50, batch=4, data=data, sequence=sequence, between=0)
            self.run_well(name + ".yaml", "--ranks", str(data * sequence))
            losses = self.training.losses(name)
            self.assertEqual([each["step"] for each in losses], list(range(1, 51)))
            final[data, sequence] = losses
        one = final.pop((1, 1))
        self.assertLess(one[-1]["loss"], one[0]["loss"] - 0.2, "it learns")
        for mesh, losses in final.items():
            self.assertAlmostEqual(losses[-1]["loss"], one[-1]["loss"], delta=1e-4, msg=mesh)
            self.assertAlmostEqual(losses[0]["grad_norm"] / one[0]["grad_norm"], 1, delta=1e-5, msg=mesh)

    def test_a_run_in_pieces_has_the_bits_of_one_that_was_not_interrupted(self):
        self.training.write("whole.yaml", "whole", data=2)
        self.run_well("whole.yaml", "--ranks", "2")
        self.training.write("pieces.yaml", "pieces", data=2)
        for last in ("4", "7"):
            self.run_well("pieces.yaml", "--ranks", "2", "--steps", last)
        self.run_well("pieces.yaml", "--ranks", "2")
        self.assertEqual(self.training.digest("pieces"), self.training.digest("whole"))
        self.assertEqual(self.training.checkpoints("pieces"), ["step-000000010", "step-000000012"])
        named = [{key: each[key] for key in FIELDS[:-1]} for each in self.training.losses("pieces")]
        self.assertEqual(named, [{key: each[key] for key in FIELDS[:-1]} for each in self.training.losses("whole")])
        # All is done: once more changes nothing.
        self.run_well("pieces.yaml", "--ranks", "2")
        self.assertEqual(self.training.digest("pieces"), self.training.digest("whole"))

    def test_a_run_goes_on_over_processes_and_on_another_layout(self):
        self.training.write("moved.yaml", "moved")
        self.run_well("moved.yaml", "--steps", "6")
        self.training.write("moved.yaml", "moved", sequence=2)
        self.run_well("moved.yaml", ranks=2)
        self.training.write("stayed.yaml", "stayed")
        self.run_well("stayed.yaml")
        moved, stayed = self.training.losses("moved"), self.training.losses("stayed")
        self.assertEqual(len(moved), 12)
        self.assertEqual([each["loss"] for each in moved[:6]], [each["loss"] for each in stayed[:6]])
        self.assertAlmostEqual(moved[-1]["loss"], stayed[-1]["loss"], delta=1e-4)
        # Threads and processes are the same layout: the same bits.
        self.training.write("threads.yaml", "threads")
        self.run_well("threads.yaml", "--steps", "6")
        self.training.write("threads.yaml", "threads", sequence=2)
        self.run_well("threads.yaml", "--ranks", "2")
        self.assertEqual(self.training.digest("threads"), self.training.digest("moved"))

    def test_told_to_end_it_saves_the_step_and_goes_on_later(self):
        self.training.write("told.yaml", "told", steps=100000, between=0)
        for number in (signal.SIGUSR1, signal.SIGTERM):
            before = len(self.training.losses("told"))
            with self.training.start("told.yaml", stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
                deadline = time.monotonic() + 60
                while len(self.training.losses("told")) < before + 3 and time.monotonic() < deadline:
                    time.sleep(0.02)
                process.send_signal(number)
                said = process.communicate(timeout=60)[1]
            self.assertEqual(process.returncode, 75, said)
            step = int(self.training.checkpoints("told")[-1].split("-")[1])
            self.assertIn("step %d of 100000 is saved" % step, said)
            self.assertEqual([each["step"] for each in self.training.losses("told")], list(range(1, step + 1)))

    def score(self, model, out, *options):
        result = subprocess.run([self.training.program(), "--score", self.training.path("samples"), "--model", model, "--out",
                                 self.training.path(out), *options], capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, 0, result.stderr)
        with open(self.training.path(out), encoding="ascii") as file:
            return list(map(json.loads, file))

    def test_scores_are_the_loss_token_by_token(self):
        self.training.write("scored.yaml", "scored", steps=20, rate=1e-2)
        self.run_well("scored.yaml")
        model = self.training.model("scored")
        one = self.score(model, "one.jsonl", "--threads", "1")
        three = self.score(model, "three.jsonl", "--ranks", "3", "--threads", "1")
        self.assertEqual([each["sample"] for each in one], list(range(self.training.samples)))
        self.assertEqual(one, three, "whoever scores a sample")
        # A step over all samples that changes nothing tells their mean.
        self.training.write("loss.yaml", "loss", steps=1, rate=0, batch=self.training.samples, model="path: " + model)
        self.run_well("loss.yaml")
        logprobs = [value for each in one for value in each["logprob"]]
        self.assertAlmostEqual(self.training.losses("loss")[0]["loss"], -sum(logprobs) / len(logprobs), delta=1e-5)
        hits = [value for each in one for value in each["argmax"]]
        self.assertEqual(len(hits), len(logprobs))
        self.assertTrue(0 < sum(hits) < len(hits))
        self.assertTrue(all(hit for value, hit in zip(logprobs, hits) if value > -0.69), "more than a half is the likeliest")

    def test_an_analysis_compares_two_models_over_any_mesh(self):
        for name, steps in (("short", 4), ("long", 12)):
            self.training.write(name + ".yaml", name, steps=steps, rate=1e-2)
            self.run_well(name + ".yaml")
        models = "path: %s, tuned: %s" % (self.training.model("short"), self.training.model("long"))
        for name, mesh in (("alone", {}), ("meshed", {"data": 2, "sequence": 2})):
            self.training.write(name + ".yaml", name, part="analyze", model=models, **mesh)
            self.run_well(name + ".yaml", "--analyze", "--ranks", str(mesh.get("data", 1) * mesh.get("sequence", 1)))
        alone, meshed = self.training.scores("alone"), self.training.scores("meshed")
        self.assertEqual(len(alone), self.training.samples)
        for one, other in zip(alone, meshed):
            for plane, others in zip(one, other):
                self.assertEqual(plane[0], 0)
                for a, b in zip(plane, others):
                    self.assertAlmostEqual(a, b, delta=1e-4 * max(1, abs(a)))
        self.assertTrue(any(before != after for before, after in zip(*alone[0][:2])))
        # Of a model and itself nothing differs: each of 257 ids is as likely.
        model = self.training.model("long")
        self.training.write("same.yaml", "same", part="analyze", model="path: %s, tuned: %s" % (model, model))
        self.run_well("same.yaml", "--analyze")
        for before, after, probability in self.training.scores("same"):
            self.assertEqual(before, after)
            self.assertTrue(all(abs(p - 1 / 257) < 1e-8 for p in probability[1:]))

    def test_json_lines_have_their_fields_and_the_plan_comes_first(self):
        self.training.write("json.yaml", "json", steps=3)
        result = self.run_well("json.yaml", "--json")
        lines = [json.loads(each) for each in result.stdout.splitlines()]
        self.assertEqual([list(each) for each in lines], [FIELDS] * 3)
        self.assertEqual(lines, self.training.losses("json"))
        self.assertEqual(result.stderr.count("plan: "), 3)
        self.assertIn("a rank takes", result.stderr)

    def test_what_cannot_work_is_refused_before_the_first_step(self):
        write = self.training.write
        write("refused.yaml", "refused", data=2)
        self.refused("refused.yaml", 65, "2 x 1 x 1 = 2 ranks")
        write("refused.yaml", "refused", batch=1, data=2)
        self.refused("refused.yaml", 65, "training.batch 2 at least", "--ranks", "2")
        write("refused.yaml", "refused", method="ropes")
        self.refused("refused.yaml", 65, "ropes")
        write("refused.yaml", "refused")
        self.refused("refused.yaml", 65, "there are no kernels", "--kernels", "none")
        self.refused("refused.yaml", 65, "there is no stage", "--stage", "begin")
        self.training.make_samples("refused/extend/samples", 300)
        self.refused("refused.yaml", 65, "a vocabulary of 300")
        os.unlink(self.training.path("refused", "extend", "samples"))
        self.refused("refused.yaml", 66, "samples")
        for words in ((), ("--score", "x"), ("--config", "x", "--out", "y"), ("--config", "x", "--transport", "nccl")):
            result = subprocess.run([self.training.program(), *words], capture_output=True, text=True, timeout=20)
            self.assertEqual((result.returncode, result.stdout), (2, ""), words)

    def test_fewer_steps_than_were_taken_are_refused(self):
        self.training.write("fewer.yaml", "fewer", steps=6)
        self.run_well("fewer.yaml")
        self.training.write("fewer.yaml", "fewer", steps=5)
        self.refused("fewer.yaml", 78, "holds step 6, and training.steps is 5")

    def test_checkpoints_of_another_run_are_refused(self):
        self.training.write("other.yaml", "other", steps=2)
        self.run_well("other.yaml")
        self.training.write("other.yaml", "other", steps=2, rate=2e-3)
        self.refused("other.yaml", 78, "another run")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
