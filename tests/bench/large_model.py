"""A model of the shape of an 8B Llama in 4 bits on two workers of this machine: with its weights once in memory, and with half
of them each. Prints what was planned, and what the processes hold (Pss counts a shared page once). Takes 12 GB of memory, 5 GB
of disk and minutes. Arguments: the folder of the programs, the program that writes small model files, a folder."""
import json
import os
import subprocess
import sys
import time

BIN, TINY_MODEL_FILE, FOLDER = sys.argv[1:4]
MODEL = os.path.join(FOLDER, "large.gguf")
PROMPT = "The sea is wide. " * 3


def workers():
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                arguments = file.read().decode(errors="replace").split("\0")
        except OSError:
            continue
        if os.path.basename(arguments[0]) == "longhaul-worker" and any(MODEL in a for a in arguments):
            yield pid


def held(pid):
    """Of a process, in bytes: anonymous memory, and shared memory by its part."""
    parts = {}
    try:
        with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                key, _, rest = line.partition(":")
                if key in ("Pss_Anon", "Pss_Shmem"):
                    parts[key] = int(rest.split()[0]) * 1024
    except OSError:
        return 0
    return sum(parts.values())


def run(mesh):
    begin = time.monotonic()
    process = subprocess.Popen([os.path.join(BIN, "longhaul"), "run", "--json", "--raw", "--model", MODEL, "--mesh", mesh, "--context",
                                "2048", "--join-deadline", "1200", "--prompt", PROMPT, "--max-tokens", "4"], stdout=subprocess.PIPE, stdin=subprocess.DEVNULL)
    most = 0
    while process.poll() is None:
        most = max(most, sum(held(pid) for pid in workers()))
        time.sleep(0.5)
    said = process.stdout.read()
    if process.returncode:
        sys.exit(f"{mesh}: longhaul run ended with {process.returncode}")
    told = json.loads(said)
    planned = [rank["memory_bytes"] / 1e9 for rank in told["ranks"]]
    exact = all(rank["sent_bytes"] == rank["predicted_sent_bytes"] for rank in told["ranks"])
    print(f"{mesh}: ids {told['token_ids']}, planned {', '.join(f'{gb:.2f}' for gb in planned)} GB, all processes held at most "
          f"{most / 1e9:.2f} GB, bytes as planned: {exact}, {time.monotonic() - begin:.0f} s", flush=True)


if not os.path.exists(MODEL):
    subprocess.run([TINY_MODEL_FILE, MODEL, "large"], check=True)
print(f"{os.path.getsize(MODEL) / 1e9:.2f} GB of model", flush=True)
for one in ("sequence=2", "tensor=2"):
    run(one)
