"""`longhaul train` and `longhaul recipe` around training: what is made, what is not repeated, how the trainer is started,
asked to end and started again. The trainer is a stand-in that lies beside a copy of longhaul. Arguments: the folder of
the programs and the program that writes a small model."""
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN = sys.argv[1]
TINY_MODEL_FILE = sys.argv[2]

# Notes how it was called; takes its exit code from the file `codes`, a line a start; writes what a trainer writes.
STAND_IN = """#!/usr/bin/python3
import json, os, re, shutil, signal, sys, time
with open("calls", "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
options = dict(word[2:].split("=", 1) if "=" in word else (word[2:], True) for word in sys.argv[1:])
text = open(options["config"]).read()
folder = re.search(r"folder: (\\S+)", text)[1] + "/" + options["stage"]
if os.path.exists("wait"):
    step_seconds = float(open("wait").read() or 0.3)
    def end(*_):
        time.sleep(step_seconds)
        open("told", "w").close()
        sys.exit(130)
    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGUSR1, end)
    open("waiting", "w").close()
    time.sleep(60)
codes = open("codes").read().split() if os.path.exists("codes") else []
if codes:
    open("codes", "w").write("\\n".join(codes[1:]))
    if codes[0] == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if codes[0] != "0":
        sys.exit(int(codes[0]))
with open(folder + "/losses.jsonl", "w") as file:
    for step in range(1, 6):
        line = json.dumps({"step": step, "loss": 5 / step, "grad_norm": 1, "learning_rate": 1, "tokens": 9, "seconds": 1})
        file.write(line + "\\n")
        if "json" in options:
            print(line, flush=True)
shutil.copytree(re.search(r"path: (\\S+)", text)[1], folder + "/model", dirs_exist_ok=True)
"""

CONFIG = """model:
  path: {folder}/tiny
data:
  files: {folder}/a.txt {folder}/b.jsonl
  sample_tokens: 32
  seed: {seed}
  replay:
    files: {folder}/r.jsonl
    sample_tokens: 16
positions:
  setting: recipe
  target: 100
training:
  retries: 2
mesh:
  data: {data}
output:
  folder: {folder}/out
"""


class Recipe(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.programs = tempfile.TemporaryDirectory()
        shutil.copy(os.path.join(BIN, "longhaul"), cls.programs.name)
        trainer = os.path.join(cls.programs.name, "longhaul-trainer")
        with open(trainer, "w") as file:
            file.write(STAND_IN)
        os.chmod(trainer, 0o755)

    @classmethod
    def tearDownClass(cls):
        cls.programs.cleanup()

    def setUp(self):
        temporary = tempfile.TemporaryDirectory()
        self.addCleanup(temporary.cleanup)
        self.folder = temporary.name
        subprocess.run([TINY_MODEL_FILE, self.path("tiny"), "directory"], check=True, timeout=60)
        self.write("a.txt", "".join(f"The number {n} is known. Nobody asked why! Was it so?\n" for n in range(40)))
        self.write("b.jsonl", "".join(json.dumps({"text": f"A line of text, {n}."}) + "\n" for n in range(20)))
        self.write("r.jsonl", "".join(json.dumps({"prompt": f"{n}?", "response": f"It is {n}."}) + "\n" for n in range(20)))
        self.configure()

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        with open(self.path(name), "w") as file:
            file.write(text)

    def read(self, name):
        with open(self.path(name), "rb") as file:
            return file.read()

    def configure(self, seed=1, data=1):
        self.write("run.yaml", CONFIG.format(folder=self.folder, seed=seed, data=data))

    def command(self, *words):
        return [os.path.join(self.programs.name, "longhaul"), *words]

    def longhaul(self, *words, code=0):
        result = subprocess.run(self.command(*words), cwd=self.folder, capture_output=True, text=True, timeout=60,
                                stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, code, result.stderr)
        return result

    def calls(self):
        """How the stand-in was called since the last question."""
        if not os.path.exists(self.path("calls")):
            return []
        lines = self.read("calls").decode().splitlines()
        os.remove(self.path("calls"))
        return [json.loads(line) for line in lines]

    def test_all_stages_run_once_and_what_is_unchanged_is_not_repeated(self):
        said = self.longhaul("recipe", "run", "--config", "run.yaml").stderr
        self.assertIn("of 32 tokens each, of 21 documents", said)
        self.assertIn("merge: 0.5 x", said)
        self.assertEqual([call[1] for call in self.calls()], ["--config=run.yaml", "--config=run.yaml"])
        for name in ("extend/samples", "replay/samples", "extend/loss.svg", "replay/loss.svg", "merge/model/config.json"):
            self.assertTrue(os.path.exists(self.path("out/" + name)), name)
        self.longhaul("inspect", self.path("out/merge/model"))
        said = self.longhaul("recipe", "run", "--config", "run.yaml").stderr
        self.assertEqual(said.count("not repeated"), 5, said)
        self.assertEqual(self.calls(), [])
        self.write("run.yaml", self.read("run.yaml").decode().replace("retries: 2", "retries: 2\n  replay: {learning_rate: 1e-5}"))
        self.longhaul("recipe", "run", "--config", "run.yaml")
        self.assertEqual([call[2] for call in self.calls()], ["--stage=replay"], "extending has nothing of it")

    def test_a_stage_is_repeated_where_what_it_read_or_wrote_has_changed(self):
        train = ("train", "--config", "run.yaml")
        self.longhaul(*train)
        self.assertEqual(len(self.calls()), 1)
        samples = self.read("out/extend/samples")
        changes = {
            "an input": (lambda: self.write("a.txt", "Another text. " * 200), True),
            "a setting": (lambda: self.configure(seed=2), True),
            "an output": (lambda: os.remove(self.path("out/extend/model/config.json")), False),
        }
        for what, (change, other_samples) in changes.items():
            change()
            said = self.longhaul(*train).stderr
            self.assertEqual("samples: nothing has changed" in said, not other_samples, (what, said))
            self.assertEqual(len(self.calls()), 1, what)
            self.assertEqual(self.read("out/extend/samples") != samples, other_samples, what)
            samples = self.read("out/extend/samples")
            self.longhaul(*train)
            self.assertEqual(self.calls(), [], what)
        # Another number of ranks computes the same model.
        self.configure(seed=2, data=2)
        self.longhaul(*train)
        self.assertEqual(self.calls(), [])

    def test_positions_makes_what_a_trainer_by_itself_needs(self):
        self.longhaul("recipe", "positions", "--config", "run.yaml")
        self.assertTrue(self.read("out/extend/samples").startswith(b"LHSAMPLE"))
        self.assertTrue(self.read("out/replay/samples").startswith(b"LHSAMPLE"))
        self.assertEqual(self.calls(), [])

    def test_ranks_are_threads_or_processes_of_mpirun(self):
        self.configure(data=2)
        self.longhaul("recipe", "train", "--config", "run.yaml", "--steps", "3")
        (call,) = self.calls()
        for word in ("--stage=extend", "--steps=3", "--transport=loopback", "--ranks=2", "--threads=0"):
            self.assertIn(word, call)
        self.longhaul("recipe", "train", "--config", "run.yaml", "--transport", "mpi")
        calls = self.calls()
        self.assertEqual(len(calls), 2, "a run that was cut short by --steps is not done")
        self.assertIn("--transport=mpi", calls[0])
        self.assertFalse([word for word in calls[0] if "coordinator" in word or "secret" in word])

    def test_json_lines_and_nothing_else_are_on_standard_output(self):
        result = self.longhaul("train", "--config", "run.yaml", "--json")
        lines = [json.loads(line) for line in result.stdout.splitlines()]
        self.assertEqual([line["step"] for line in lines], [1, 2, 3, 4, 5])
        self.assertEqual(set(lines[0]), {"step", "loss", "grad_norm", "learning_rate", "tokens", "seconds"})

    def test_lost_ranks_are_started_again_so_many_times(self):
        self.write("codes", "75\nkill\n0\n")
        said = self.longhaul("train", "--config", "run.yaml").stderr
        self.assertEqual(len(self.calls()), 3)
        self.assertIn("goes on from the last checkpoint (2 of 2)", said)
        self.configure(seed=2)
        self.write("codes", "75\n75\n75\n0\n")
        self.longhaul("train", "--config", "run.yaml", code=69)
        self.assertEqual(len(self.calls()), 3)

    def test_what_another_start_does_not_help_is_told_at_once(self):
        self.write("codes", "65\n")
        said = self.longhaul("train", "--config", "run.yaml", code=65).stderr
        self.assertIn("exit code 65, as said above", said)
        self.assertEqual(len(self.calls()), 1)

    def wait_for(self, name):
        deadline = time.monotonic() + 30
        while not os.path.exists(self.path(name)):
            self.assertLess(time.monotonic(), deadline, name)
            time.sleep(0.01)

    def test_a_trainer_does_not_outlive_a_command_that_is_killed(self):
        self.write("wait", "")
        process = subprocess.Popen(self.command("train", "--config", "run.yaml"), cwd=self.folder,
                                   stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        self.wait_for("waiting")
        process.kill()
        process.wait(timeout=30)
        os.remove(self.path("wait"))
        said = self.longhaul("train", "--config", "run.yaml").stderr
        self.assertIn("waiting for what else works in", said)
        self.assertTrue(os.path.exists(self.path("told")), "the next one begins once the first has ended")

    def test_an_interrupt_is_handed_on_and_the_same_command_goes_on(self):
        self.write("wait", "")
        process = subprocess.Popen(self.command("train", "--config", "run.yaml"), cwd=self.folder, text=True,
                                   stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)
        self.wait_for("waiting")
        process.send_signal(signal.SIGTERM)
        _, said = process.communicate(timeout=30)
        self.assertEqual(process.returncode, 143, said)
        self.assertIn("goes on from the last checkpoint", said)
        os.remove(self.path("wait"))
        self.longhaul("train", "--config", "run.yaml")
        self.assertEqual(len(self.calls()), 2)

    def test_mpirun_leaves_ranks_the_time_that_a_step_takes(self):
        self.write("wait", "3")
        process = subprocess.Popen(self.command("train", "--config", "run.yaml", "--transport", "mpi"), cwd=self.folder,
                                   stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        self.wait_for("waiting")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=30), 130)
        self.assertTrue(os.path.exists(self.path("told")), "the rank was killed before its step had ended")

    def test_wrong_files_and_command_lines_are_told(self):
        self.assertIn("--config FILE is missing", self.longhaul("train", code=2).stderr)
        self.assertIn("open none.yaml", self.longhaul("train", "--config", "none.yaml", code=66).stderr)
        self.write("run.yaml", "modell:\n  path: x\n")
        self.assertIn('run.yaml:1: there is no section "modell"',
                      self.longhaul("recipe", "run", "--config", "run.yaml", code=65).stderr)
        self.configure()
        self.assertIn("model.path with model.tuned", self.longhaul("recipe", "analyze", "-c", "run.yaml", code=65).stderr)
        self.assertIn("train first", self.longhaul("recipe", "merge", "--config", "run.yaml", code=78).stderr)
        self.assertIn("training.learning_rate", self.longhaul("recipe", "keys").stdout)


SHAPE = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 64,
         "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "vocab_size": 264,
         "max_position_embeddings": 64, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True,
         "hidden_act": "silu"}

SCRATCH = """model: {shape: shape.json, initialise: 3}
data: {files: a.jsonl, sample_tokens: 64}
training: {steps: 6, batch: 4, learning_rate: 1e-2, checkpoint_steps: 2}
mesh: {sequence: 2}
output: {folder: first, dtype: float32}
"""

WHOLE = """model: {path: first/extend/model, tuned: first/extend/model, rope_base: auto}
data: {files: a.jsonl, selection: impact, impact_share: 0.001, samples: 8, analysis_samples: 4, replay: {files: r.jsonl}}
positions: {setting: recipe, target: 200}
training: {batch: 4, learning_rate: 1e-3, replay: {steps: 1}}
mesh: {data: 2}
output: {folder: second, format: both, dtype: float32}
"""


class WithTheTrainer(unittest.TestCase):
    """The same with longhaul-trainer itself, on a model of 30 thousand parameters."""

    def longhaul(self, folder, *words):
        result = subprocess.run([os.path.join(BIN, "longhaul"), *words], cwd=folder, capture_output=True, text=True,
                                timeout=100, stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, 0, result.stderr)
        return result

    def test_a_model_is_trained_from_scratch_and_extended_by_all_stages(self):
        with tempfile.TemporaryDirectory() as folder:
            texts = {"shape.json": json.dumps(SHAPE), "first.yaml": SCRATCH, "second.yaml": WHOLE,
                     "a.jsonl": "".join(json.dumps({"text": f"The number {n} is known. Is it so?"}) + "\n" for n in range(99)),
                     "r.jsonl": "".join(json.dumps({"prompt": f"{n}?", "response": f"It is {n}."}) + "\n" for n in range(60))}
            for name, text in texts.items():
                with open(os.path.join(folder, name), "w") as file:
                    file.write(text)
            lines = [json.loads(line) for line in
                     self.longhaul(folder, "train", "--config", "first.yaml", "--json").stdout.splitlines()]
            self.assertEqual([line["step"] for line in lines], [1, 2, 3, 4, 5, 6])
            self.assertEqual({line["tokens"] for line in lines}, {4 * 64})
            self.assertLess(lines[-1]["loss"], lines[0]["loss"] - 0.5)
            said = self.longhaul(folder, "recipe", "run", "--config", "second.yaml").stderr
            self.assertIn("impact: ", said)
            facts = self.longhaul(folder, "inspect", "second/merge/model.gguf").stdout
            self.assertIn("200 tokens", facts)
            said = self.longhaul(folder, "recipe", "run", "--config", "second.yaml").stderr
            self.assertEqual(said.count("not repeated"), 7, said)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
