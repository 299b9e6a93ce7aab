#!/usr/bin/env python3
"""What `longhaul convert` has written, read by programs that this project did not write.

    python3 -m venv venv && venv/bin/pip install torch transformers==5.24.0 gguf==0.19.0 safetensors xxhash
    venv/bin/python tests/interop/converted_models.py --bin build/release/bin --model SmolLM2-135M-Instruct.Q4_1.gguf

MODEL is a GGUF file of a Llama. It becomes a folder in F32, from there GGUF files in every type that is written, split ones
and a folder of shards. PyPI gguf reads the files: quantised tensors must be its own rounding of the same numbers, byte for byte,
norms F32. PyPI transformers loads the folders: weights bit for bit, the tokenizer's ids, and one continuation from both folders.
A line a check; the exit code is 1 where one does not hold."""
import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import gguf
import numpy
import torch
import transformers
import xxhash

TYPES = ("F32", "F16", "BF16", "Q8_0", "Q5_0", "Q5_1", "Q4_0", "Q4_1")
TEXT = "The quick brown fox jumps over 13 lazy dogs.\n\tIt isn't \u00e9\u20ac \U0001f600!"
failed = []


def tell(check, holds, **facts):
    print(json.dumps({"check": check, "holds": bool(holds)} | facts), flush=True)
    if not holds:
        failed.append(check)


def convert(arguments, *words):
    command = [pathlib.Path(arguments.bin) / "longhaul", "convert", *map(str, words), "--json"]
    told = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, timeout=900).stdout)
    for file in told["files"]:
        if xxhash.xxh3_128(pathlib.Path(file["path"]).read_bytes()).hexdigest() != file["xxh128"]:
            tell(f"digest of {file['path']}", False)
    return [pathlib.Path(file["path"]) for file in told["files"]]


def tensors_of(paths):
    """Name -> type and rows, over all parts."""
    return {tensor.name: (tensor.tensor_type, tensor.data) for path in paths for tensor in gguf.GGUFReader(path).tensors}


def same_bytes(found, wanted):
    return found.keys() == wanted.keys() and all(found[name][0] == wanted[name][0] and numpy.array_equal(
        found[name][1].view(numpy.uint8), wanted[name][1].view(numpy.uint8)) for name in wanted)


def rounded(tensors, name):
    """What PyPI gguf makes of float32 tensors; vectors stay."""
    kind = gguf.GGMLQuantizationType[name]
    return {key: (type_, data) if data.ndim < 2 else (kind, gguf.quantize(data, kind)) for key, (type_, data) in tensors.items()}


def check_types(arguments, folder, plain, source):
    for name in TYPES:
        found = tensors_of(convert(arguments, plain, folder / f"{name}.gguf", "--type", name))
        tell(f"{name}: the bytes of PyPI gguf", same_bytes(found, rounded(source, name)), tensors=len(found))


def check_parts(arguments, folder, source):
    parts = convert(arguments, folder / "Q8_0.gguf", folder / "parts.gguf", "--shard-bytes", 30000000)
    tell("parts: the tensors of the whole", same_bytes(tensors_of(parts), tensors_of([folder / "Q8_0.gguf"])), parts=len(parts))
    fields = [gguf.GGUFReader(path).fields for path in parts]
    tell("parts: their numbers", [field["split.no"].contents() for field in fields] == list(range(len(parts))) and
         {field["split.tensors.count"].contents() for field in fields} == {len(source)})
    joined = convert(arguments, parts[0], folder / "joined.gguf")
    tell("parts: joined again", same_bytes(tensors_of(joined), tensors_of([folder / "Q8_0.gguf"])))
    own = convert(arguments, arguments.model, folder / "own.gguf")
    tell("own types: the bytes of the source", same_bytes(tensors_of(own), tensors_of([arguments.model])))


def check_folders(arguments, folder, plain, source):
    back = convert(arguments, plain, folder / "back.gguf")
    tell("float32 through a folder: the same bytes", same_bytes(tensors_of(back), source))
    shards = convert(arguments, plain, folder / "shards", "--shard-bytes", 100000000)
    one = transformers.AutoModelForCausalLM.from_pretrained(plain, dtype=torch.float32).eval()
    cut = transformers.AutoModelForCausalLM.from_pretrained(folder / "shards", dtype=torch.float32).eval()
    weights = cut.state_dict()
    tell("shards: the weights of one file", all(torch.equal(value, weights[name]) for name, value in one.state_dict().items()),
         shards=sum(path.suffix == ".safetensors" for path in shards))
    tokenizer = transformers.AutoTokenizer.from_pretrained(plain)
    ids = tokenizer(TEXT).input_ids
    answer = json.loads(subprocess.run([pathlib.Path(arguments.bin) / "longhaul", "tokenize", "--model", arguments.model, "--json"],
                                       input=TEXT, check=True, capture_output=True, text=True, timeout=60).stdout)
    tell("ids: transformers has ours", ids == answer["token_ids"], ids=len(ids))
    asked = torch.tensor([ids])
    with torch.no_grad():
        written = [model.generate(asked, attention_mask=torch.ones_like(asked), max_new_tokens=16, do_sample=False)[0].tolist()
                   for model in (one, cut)]
    tell("answers: of both folders", written[0] == written[1], tokens=len(written[0]) - len(ids))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--model", required=True, type=pathlib.Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        convert(arguments, arguments.model, folder / "float32.gguf", "--type", "F32")
        convert(arguments, folder / "float32.gguf", folder / "plain")
        source = tensors_of([folder / "float32.gguf"])
        check_types(arguments, folder, folder / "plain", source)
        check_parts(arguments, folder, source)
        check_folders(arguments, folder, folder / "plain", source)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
