"""A tiny training run in a folder of its own, for tests: a model of 24,000 parameters from scratch, on bytes.

    with Training(programs, tests) as training:
        training.write("a.yaml", output="a", batch=8)
        result = training.run("a.yaml", "--ranks", "2")
"""
import hashlib
import json
import os
import shutil
import struct
import subprocess
import tempfile

VOCABULARY = 257
SHAPE = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 32, "intermediate_size": 48,
         "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "vocab_size": VOCABULARY,
         "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "hidden_act": "silu",
         "tie_word_embeddings": True, "torch_dtype": "float32"}
RUN = """model: {%(model)s}
data: {files: none}
training: {batch: %(batch)d, steps: %(steps)d, learning_rate: %(rate)g, checkpoint_steps: %(between)d, warmup_steps: 3, decay: cosine, threads: 1,
           method: %(method)s}
mesh: {data: %(data)d, sequence: %(sequence)d}
output: {folder: %(output)s, dtype: float32}
"""
SETTINGS = {"batch": 2, "steps": 12, "rate": 1e-3, "between": 5, "method": "rope", "data": 1, "sequence": 1}


class Training:
    def __init__(self, programs, tests, samples=16, tokens=200, folder=None):
        """tokens: of the longest sample, more than three panels, so that four ranks have some each. folder: where the run's own is made."""
        self.parent, self.programs, self.tests, self.samples, self.tokens = folder, os.path.abspath(programs), os.path.abspath(tests), samples, tokens
        # Open MPI in a container: as root, and threads of its own on no core in particular.
        # Open MPI leaks at its end, and leaves nothing by which its leaks could be told from others.
        self.environment = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
                            "ASAN_OPTIONS": os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0"}

    def __enter__(self):
        self.folder = tempfile.mkdtemp(prefix="training-", dir=self.parent)
        with open(self.path("shape.json"), "w", encoding="ascii") as file:
            json.dump(SHAPE, file)
        self.make_samples("samples", VOCABULARY)
        return self

    def __exit__(self, *_):
        shutil.rmtree(self.folder)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def program(self, name="longhaul-trainer"):
        return os.path.join(self.programs, name)

    def make_samples(self, name, vocabulary):
        subprocess.run([os.path.join(self.tests, "tiny_samples_file"), self.path(name), str(vocabulary), str(self.samples), str(self.tokens),
                        "7"], check=True, timeout=60)

    def write(self, name, output, part="extend", **changes):
        """The configuration of a run that writes to `output`, and its samples. `model`: what its section says."""
        os.makedirs(self.path(output, part), exist_ok=True)
        shutil.copy(self.path("samples"), self.path(output, part, "samples"))
        with open(self.path(name), "w", encoding="ascii") as file:
            file.write(RUN % {"model": "shape: %s, initialise: 3" % self.path("shape.json"), **SETTINGS, **changes,
                              "output": self.path(output)})

    def words(self, config, *options, ranks=0):
        """The command line; with `ranks`, as so many processes of MPI."""
        launcher = ["mpirun", "--bind-to", "none", "--oversubscribe", "-np", str(ranks)] if ranks else []
        return [*launcher, self.program(), "--config", self.path(config), *options]

    def start(self, config, *options, ranks=0, **arguments):
        return subprocess.Popen(self.words(config, *options, ranks=ranks), env=self.environment, stdin=subprocess.DEVNULL, **arguments)

    def run(self, config, *options, ranks=0, timeout=100):
        return subprocess.run(self.words(config, *options, ranks=ranks), env=self.environment, stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, timeout=timeout)

    def losses(self, output):
        """The lines of losses.jsonl; what is only half there is left out."""
        try:
            with open(self.path(output, "extend", "losses.jsonl"), encoding="ascii") as file:
                return [json.loads(line) for line in file if line.endswith("\n")]
        except FileNotFoundError:
            return []

    def checkpoints(self, output):
        return sorted(each for each in os.listdir(self.path(output, "extend")) if each.startswith("step-") and "." not in each)

    def model(self, output):
        """What a run has trained."""
        return self.path(output, "extend", "model")

    def scores(self, output):
        """Of each sample of an analysis: its planes (proto/train/record_file.h)."""
        with open(self.path(output, "analyze", "scores"), "rb") as file:
            data = file.read()
        index, records = struct.unpack("<QQ", data[-48:-32])
        found = []
        for n in range(records):
            offset, count = struct.unpack("<QQ", data[index + 24 * n:index + 24 * n + 16])
            numbers = struct.unpack("<%df" % (3 * count), data[offset:offset + 12 * count])
            found.append([numbers[plane * count:(plane + 1) * count] for plane in range(3)])
        return found

    def digest(self, output):
        """Of the newest checkpoint's weights and moments, and which step it is of."""
        newest = self.checkpoints(output)[-1]
        digests = []
        for name in ("weights", "moments", "variances"):
            with open(self.path(output, "extend", newest, name), "rb") as file:
                digests.append(hashlib.sha256(file.read()).hexdigest())
        return newest, digests
