"""What the experiment trains: the model of the short window, and the arms that extend it. Each is a run of `longhaul train` or
`longhaul recipe` with a configuration of its own; sizes are those of the full form or of the short one."""
import dataclasses
import json
import os


@dataclasses.dataclass(frozen=True)
class Sizes:
    window: int = 256
    target: int = 1024
    base_samples: int = 78_125  # of `window` tokens: 20 M
    samples: int = 6_528        # of an arm: 2 M tokens of 307, 6.7 M of 1,024
    analysis_samples: int = 64
    replay_samples: int = 2_048
    base_batch: int = 16
    batch: int = 16
    asked: int = 40             # evaluated documents of each kind, length and depth
    hidden: int = 128
    layers: int = 4
    threads: int = 0

    @property
    def selected(self):
        return self.target * 3 // 10


SHORT = Sizes(window=64, target=256, base_samples=64, samples=64, analysis_samples=4, replay_samples=16, base_batch=16, batch=16, asked=2,
              hidden=32, layers=2)


@dataclasses.dataclass(frozen=True)
class Arm:
    name: str
    what: str
    setting: str = ""          # of positions; "": nothing is trained
    stretched: bool = True     # RoPE's base follows the target
    whole_samples: bool = False
    tokens_part: float = 1.0   # of the samples
    recipe: bool = False       # token selection, replay and merge too
    ends: str = "merge"        # of the recipe: the stage whose model is asked

    @property
    def folder(self):
        """Of what it trains: the recipe is trained once, and asked twice."""
        return "recipe" if self.recipe else self.name


ARMS = (
    Arm("untouched", "the model of the short window as it is", stretched=False),
    Arm("base", "RoPE's base for the target, nothing trained"),
    Arm("full", "samples of the target's length", "full", whole_samples=True),
    Arm("full_tokens", "the same, as many tokens as the short samples have", "full", whole_samples=True, tokens_part=0.3),
    Arm("rpes", "short samples, sorted random positions", "rpes"),
    Arm("pose", "short samples, two chunks with a gap", "pose"),
    Arm("positions", "short samples, gaps between sentences", "recipe"),
    Arm("recipe", "the same, of sentences with impactful tokens; replay, merge", "recipe", recipe=True),
    Arm("selected", "that recipe's model before replay and merge", "recipe", recipe=True, ends="extend"),
    Arm("unmerged", "that recipe's model before the merge", "recipe", recipe=True, ends="replay"),
)


def shape(sizes):
    """config.json of the model: a Llama of bytes, about a million parameters in the full form."""
    return {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": sizes.hidden,
            "intermediate_size": sizes.hidden * 11 // 4, "num_hidden_layers": sizes.layers, "num_attention_heads": sizes.hidden // 32,
            "num_key_value_heads": sizes.hidden // 32, "max_position_embeddings": sizes.window, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
            "vocab_size": 257, "tie_word_embeddings": True, "hidden_act": "silu", "torch_dtype": "float32"}


def text_of(sections):
    """YAML: JSON values are YAML values."""
    lines = []
    for section, keys in sections.items():
        lines.append(f"{section}:")
        for key, value in keys.items():
            if isinstance(value, dict):
                lines.append(f"  {key}:")
                lines += [f"    {inner}: {json.dumps(each)}" for inner, each in value.items()]
            else:
                lines.append(f"  {key}: {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def training(sizes, batch, rate, warmup, steps):
    return {"batch": batch, "learning_rate": rate, "warmup_steps": warmup, "decay": "cosine", "final_rate": 0.1, "steps": steps,
            "weight_decay": 0.1, "recompute": "none", "checkpoint_steps": 200, "threads": sizes.threads}


def base(sizes, folder, seed):
    """Of `longhaul train`: FOLDER/base, from scratch."""
    steps = sizes.base_samples // sizes.base_batch
    return text_of({
        "model": {"shape": os.path.join(folder, "shape.json"), "initialise": seed},
        "data": {"files": os.path.join(folder, "base.jsonl"), "sample_tokens": sizes.window, "seed": seed},
        "positions": {"setting": "plain"},
        "training": training(sizes, sizes.base_batch, 3e-3, max(1, steps // 20), steps),
        "output": {"folder": os.path.join(folder, "base"), "format": "safetensors", "dtype": "float32"},
    })


def arm(sizes, which, folder, seed, base_model, full_model):
    """Of `longhaul train`, or `longhaul recipe run` for the whole recipe: FOLDER/NAME, from the base model."""
    samples = int(sizes.samples * which.tokens_part)
    steps = samples // sizes.batch
    model = {"path": base_model, "window": sizes.window, "rope_base": "auto"}
    data = {"files": os.path.join(folder, "extend.jsonl"), "seed": seed, "samples": samples,
            "sample_tokens": sizes.target if which.whole_samples else sizes.selected}
    taught = training(sizes, sizes.batch, 1e-3, max(1, steps // 20), steps)
    if which.recipe:
        model["tuned"] = full_model
        data |= {"selection": "impact", "analysis_samples": sizes.analysis_samples,
                 "replay": {"files": os.path.join(folder, "replay.jsonl"), "loss": "all", "sample_tokens": sizes.window}}
        taught["replay"] = {"steps": max(1, sizes.replay_samples // sizes.batch), "learning_rate": 1e-4, "warmup_steps": 0}
    return text_of({"model": model, "data": data, "positions": {"setting": which.setting, "target": sizes.target},
                    "training": taught,
                    "output": {"folder": os.path.join(folder, which.folder), "format": "safetensors", "dtype": "float32"}})


def weights(sizes):
    """Those that a token is multiplied by, the tied embedding once."""
    hidden, inner = sizes.hidden, sizes.hidden * 11 // 4
    return sizes.layers * (4 * hidden * hidden + 3 * hidden * inner) + 257 * hidden
