#!/usr/bin/env python3
"""Models that longhaul has written, in engines that it did not write: transformers and llama.cpp load and score them the same.

    python3 -m venv venv && venv/bin/pip install torch==2.15.0 transformers==5.24.0 gguf==0.19.0 llama-cpp-python==0.3.36
    venv/bin/python tests/interop/saved_models.py --bin build/release/bin --tests build/release/tests \\
        --model SmolLM2-135M-Instruct.Q4_1.gguf --out tests/bench/results/NAME.jsonl

Tensors are compared bit for bit with the source's, dequantised by PyPI gguf; log-probabilities of a text's tokens against
those of the very weights in transformers, float32. Bounds: nothing for the same arithmetic; for llama.cpp with caches in
float32, and for longhaul's float32 kernels, the tolerance of this project's reference values in float32
(tests/support/golden_tolerance.c); where an engine computes with operands of 16 bits, the one there for that. Ids must be the
same everywhere.
The first line is a manifest, each further one a check; the exit code is 1 where one misses its bound."""
import argparse
import json
import pathlib
import platform
import resource
import subprocess
import sys
import tempfile

import gguf
import llama_cpp
import numpy
import safetensors
import safetensors.torch
import torch
import transformers

# golden_tolerance.c: a token; the mean, by one over the root of the tokens, and by a constant
EXACT, ROUNDED = (3e-4, 0, 3e-4), (0.40, 0.15, 0.005)
MEMORY_BYTES = 64 << 20  # of a program that writes a model of 538 MB; most of it a tokenizer's JSON
TREE = pathlib.Path(__file__).resolve().parents[2]
BYTE_SHAPE = {"architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 128, "intermediate_size": 256,
              "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320,
              "max_position_embeddings": 256, "rms_norm_eps": 1e-5, "rope_theta": 10000.0, "tie_word_embeddings": True}
BYTE_TEXT = "Hello, 123 \n\t it's \u00ad \u00e9\u20ac \U0001f600!"

lines = []


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--tests", required=True)
    parser.add_argument("--model", required=True, help="a GGUF file of a Llama")
    parser.add_argument("--tokens", type=int, default=256)
    parser.add_argument("--out", required=True)
    return parser.parse_args()


def tell(check, holds, **facts):
    lines.append({"check": check, "holds": bool(holds)} | facts)
    print(json.dumps(lines[-1]), flush=True)


def saved(arguments, *words):
    """With little memory of its own, whatever the size of the model: mapped files do not count."""
    subprocess.run([pathlib.Path(arguments.tests) / "saved_model", *map(str, words)], check=True, timeout=600,
                   preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, MEMORY_BYTES)))


def file_tensors(path):
    """Name in safetensors -> values, rows in the rotate-half order."""
    reader = gguf.GGUFReader(path)
    heads = {"attn_q": reader.fields["llama.attention.head_count"].contents(),
             "attn_k": reader.fields["llama.attention.head_count_kv"].contents()}
    parts = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
             "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
             "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
    named = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}
    tensors = {}
    for tensor in reader.tensors:
        values = gguf.quants.dequantize(tensor.data, tensor.tensor_type).astype(numpy.float32)
        name = named.get(tensor.name)
        if not name:
            _, layer, part, _ = tensor.name.split(".")
            name = f"model.layers.{layer}.{parts[part]}.weight"
            if part in heads:
                count = heads[part]
                values = values.reshape(count, values.shape[0] // count // 2, 2, -1).swapaxes(1, 2).reshape(values.shape)
        tensors[name] = torch.from_numpy(numpy.ascontiguousarray(values))
    return tensors


def folder_tensors(folder):
    with safetensors.safe_open(pathlib.Path(folder) / "model.safetensors", "pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}


def same(found, wanted):
    return found.keys() == wanted.keys() and all(torch.equal(found[name].float(), wanted[name].float()) for name in wanted)


def in_transformers(folder, ids, dtype=torch.float32):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager").float().eval()
    with torch.no_grad():
        scores = torch.log_softmax(model(torch.tensor([ids]), use_cache=False).logits[0].double(), dim=-1)
    return scores[range(len(ids) - 1), ids[1:]].numpy(), model.config


def in_llama_cpp(path, ids):
    model = llama_cpp.Llama(str(path), n_ctx=len(ids), n_batch=len(ids), n_ubatch=len(ids), logits_all=True, verbose=False,
                            type_k=llama_cpp.GGML_TYPE_F32, type_v=llama_cpp.GGML_TYPE_F32)
    model.eval(ids)
    scores = torch.log_softmax(torch.from_numpy(numpy.array(model.scores[:len(ids)])).double(), dim=-1)
    return scores[range(len(ids) - 1), ids[1:]].numpy(), model


def in_longhaul(arguments, path, text, kernels):
    with tempfile.NamedTemporaryFile("w", encoding="utf-8", suffix=".txt") as file:
        file.write(text)
        file.flush()
        command = [pathlib.Path(arguments.bin) / "longhaul", "score", "--model", str(path), "--file", file.name, "--json",
                   "--kernels", kernels]
        answer = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=900).stdout)
    return answer["token_ids"], numpy.array([value for value in answer["logprobs"] if value is not None])


def tell_scores(check, found, wanted, tolerance, holds=True, **facts):
    difference = numpy.abs(numpy.asarray(found) - wanted)
    mean = float(abs(numpy.mean(found) - numpy.mean(wanted)))
    token_allowed, mean_of_one, mean_beside = tolerance
    mean_allowed = mean_of_one / len(wanted) ** 0.5 + mean_beside
    tell(check, holds and difference.max() <= token_allowed and mean <= mean_allowed, worst=float(difference.max()),
         worst_allowed=token_allowed, mean_difference=mean, mean_allowed=mean_allowed, mean_logprob=float(numpy.mean(found)), **facts)


def check_formats(arguments, folder, text, ids):
    """Every number format of the unchanged model; the scores of its float32 form are what the others are held against."""
    source = file_tensors(arguments.model)
    saved(arguments, folder / "f32", "folder", "F32", 0, 0, arguments.model)
    tell("float32 folder: tensors are the source's", same(folder_tensors(folder / "f32"), source), tensors=len(source))
    truth, _ = in_transformers(folder / "f32", ids)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "f32")
    tell("folder of a GGUF file: transformers makes the ids", tokenizer(text).input_ids[:len(ids)] == ids, tokens=len(ids))
    for name, dtype in (("F32", torch.float32), ("BF16", torch.bfloat16), ("F16", torch.float16)):
        rounded = {key: value.to(dtype) for key, value in source.items()}
        saved(arguments, folder / f"{name}.gguf", "gguf", name, 0, 0, arguments.model)
        vectors = {key: value for key, value in source.items() if value.dim() == 1}  # F32 in GGUF files
        tell(f"{name} GGUF: tensors are the source's, rounded", same(file_tensors(folder / f"{name}.gguf"), rounded | vectors))
        expected = truth
        if name != "F32":
            saved(arguments, folder / name, "folder", name, 0, 0, folder / "f32")
            tell(f"{name} folder: tensors are the source's, rounded", same(folder_tensors(folder / name), rounded))
            expected, _ = in_transformers(folder / name, ids, dtype)
        scores, model = in_llama_cpp(folder / f"{name}.gguf", ids)
        tell_scores(f"{name} GGUF in llama.cpp against {name} folder in transformers", scores, expected,
                    EXACT if name == "F32" else ROUNDED)
        tell(f"{name} GGUF: llama.cpp makes the ids", model.tokenize(text.encode(), add_bos=False, special=True)[:len(ids)] == ids)
        del model
    return truth


def check_longhaul(arguments, folder, ids, truth):
    """The reference kernels compute in float32; others keep keys and values in bf16."""
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "f32")
    for path in ("f32", "F32.gguf"):
        for kernels, cut in (("reference", 96), ("auto", len(ids))):
            token_ids, scores = in_longhaul(arguments, folder / path, tokenizer.decode(ids[:cut]), kernels)
            tell_scores(f"{path} in longhaul, {kernels}, {cut} tokens, against transformers", scores[-(cut - 1):], truth[:cut - 1],
                        EXACT if kernels == "reference" else ROUNDED, token_ids == ids[:cut])


def check_merge(arguments, folder, ids):
    """The model and one that differs from it everywhere, as a trained one does; base and context are replaced."""
    torch.manual_seed(1)
    own = folder_tensors(folder / "f32")
    other = {name: value + 0.02 * value.std() * torch.randn_like(value) for name, value in own.items()}
    saved(arguments, folder / "tuned", "folder", "F32", 1e6, 16384, folder / "f32")
    safetensors.torch.save_file(other, folder / "tuned" / "model.safetensors", metadata={"format": "pt"})
    for weights in ((0.5, 0.5), (0.3, 0.7)):
        name = f"merged {weights[0]} {weights[1]}"
        # as the merge is defined: float64, rounded once
        wanted = {key: (weights[0] * own[key].double() + weights[1] * other[key].double()).float() for key in own}
        for form, out in (("folder", folder / "merged"), ("gguf", folder / "merged.gguf")):
            saved(arguments, out, form, "F32", 0, 0, arguments.model, folder / "tuned", *weights)
        tell(f"{name}: tensors of the folder", same(folder_tensors(folder / "merged"), wanted))
        tell(f"{name}: tensors of the GGUF file", same(file_tensors(folder / "merged.gguf"), wanted))
        if weights[0] == 0.5:
            tell(f"{name}: the mean of PyTorch in float32", same(wanted, {key: (own[key] + other[key]) / 2 for key in own}))
        truth, config = in_transformers(folder / "merged", ids)
        base = getattr(config, "rope_theta", None) or config.rope_parameters["rope_theta"]
        tell(f"{name}: base and context in transformers", base == 1e6 and config.max_position_embeddings == 16384, base=base,
             context=config.max_position_embeddings)
        scores, model = in_llama_cpp(folder / "merged.gguf", ids)
        base, context = float(model.metadata["llama.rope.freq_base"]), int(model.metadata["llama.context_length"])
        tell_scores(f"{name}: llama.cpp against transformers", scores, truth, EXACT, base == 1e6 and context == 16384, base=base,
                    context=context)
        del model


def check_bytes(arguments, folder):
    (folder / "shape.json").write_text(json.dumps(BYTE_SHAPE), encoding="utf-8")
    saved(arguments, folder / "bytes", "new", folder / "shape.json")
    saved(arguments, folder / "bytes.gguf", "gguf", "F32", 0, 0, folder / "bytes")
    ids = list(BYTE_TEXT.encode()) + [256]
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder / "bytes")
    found = tokenizer(BYTE_TEXT + "<|endoftext|>").input_ids
    tell("a shape with bytes: transformers makes one token a byte", found == ids and tokenizer.eos_token_id == 256)
    tell("a shape with bytes: transformers gives the text back", tokenizer.decode(ids[:-1]) == BYTE_TEXT)
    truth, _ = in_transformers(folder / "bytes", ids)
    scores, model = in_llama_cpp(folder / "bytes.gguf", ids)
    tell("a shape with bytes: llama.cpp makes one token a byte",
         model.tokenize((BYTE_TEXT + "<|endoftext|>").encode(), add_bos=False, special=True) == ids)
    tell_scores("a shape with bytes: llama.cpp against transformers", scores, truth, EXACT)
    del model


def main():
    arguments = parse()
    texts = json.loads((TREE / "tests/ranks/data/golden_logits.json").read_text(encoding="utf-8"))
    genesis = max(texts, key=lambda text: len(text["ids"]))
    lines.append({"command": "saved_models.py", "cpu": platform.processor() or platform.machine(),
                  "model": pathlib.Path(arguments.model).name, "tokens": arguments.tokens, "memory_bytes": MEMORY_BYTES, "torch": torch.__version__,
                  "transformers": transformers.__version__, "llama_cpp": llama_cpp.__version__})
    with tempfile.TemporaryDirectory(dir="/var/tmp") as name:
        folder = pathlib.Path(name)
        ids = genesis["ids"][:arguments.tokens]
        truth = check_formats(arguments, folder, genesis["text"], ids)
        check_longhaul(arguments, folder, ids, truth)
        check_merge(arguments, folder, ids)
        check_bytes(arguments, folder)
    with open(arguments.out, "w", encoding="utf-8") as file:
        file.writelines(json.dumps(line) + "\n" for line in lines)
    sys.exit(0 if all(line.get("holds", True) for line in lines) else 1)


if __name__ == "__main__":
    main()
