"""unequal_workers BIN MODEL [--tokens N] [--prompts N] [--share X]: two workers on this host, the second one stopped for
a part of every 20 ms so that it is X times as fast, reading prompts in even shards and in shards weighed by its measured
speed. Prints for each prompt the seconds, each worker's tokens and slowness, and at the end the ratio of the medians. Fails where the weighed shards
are not those of the speeds, or no prompt names the slow worker in even shards. For a quiet machine with two cores."""
import argparse
import json
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time

PERIOD = 0.02
START_SECONDS = 60
TEACHING = 4  # prompts until weights follow speeds: WORKER_SPEEDS_PROMPTS


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bin")
    parser.add_argument("model")
    parser.add_argument("--tokens", type=int, default=4096)
    parser.add_argument("--prompts", type=int, default=5, help="of each kind, after four that teach the coordinator")
    parser.add_argument("--share", type=float, default=0.5)
    return parser.parse_args()


class Slowed:
    """A process that runs for a share of every period only."""
    def __init__(self, pid, share):
        self.pid, self.share = pid, share
        self.over = threading.Event()
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            while not self.over.is_set():
                os.kill(self.pid, signal.SIGSTOP)
                time.sleep(PERIOD * (1 - self.share))
                os.kill(self.pid, signal.SIGCONT)
                time.sleep(PERIOD * self.share)
        except ProcessLookupError:
            pass

    def end(self):
        self.over.set()
        self.thread.join()
        try:
            os.kill(self.pid, signal.SIGCONT)
        except ProcessLookupError:
            pass


def ranks(model):
    """The workers of this model: process by rank."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read().decode(errors="replace").split("\0")
            with open(f"/proc/{pid}/environ", "rb") as file:
                environment = dict(entry.split("=", 1) for entry in file.read().decode(errors="replace").split("\0") if "=" in entry)
        except OSError:
            continue
        if os.path.basename(line[0]) == "longhaul-worker" and any(model in part for part in line):
            found[int(environment.get("OMPI_COMM_WORLD_RANK", -1))] = int(pid)
    return found


def document(options, number):
    """About so many tokens, and no beginning that another one has."""
    return f"Report {number}. " + " ".join(f"Line {n} of it says {n * 7919 % 1009}." for n in range(options.tokens // 12))


def read(options, address, path):
    result = subprocess.run([os.path.join(options.bin, "longhaul"), "generate", "--server", address, "--raw", "--prompt-file", path,
                             "--max-tokens", "1", "--temperature", "0", "--json"], capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def campaign(options, folder, weights):
    model = os.path.join(folder, f"{weights}.gguf")
    os.symlink(os.path.abspath(options.model), model)
    ready = os.path.join(folder, f"{weights}.ready")
    with open(os.path.join(folder, f"{weights}.log"), "wb") as log:
        coordinator = subprocess.Popen([os.path.join(options.bin, "longhaul-coordinator"), "--model", model, "--listen", "127.0.0.1:0", "--ready-file", ready,
                                        "--launch", "--workers", "2", "--transport", "mpi", "--threads", "1", "--weights", weights],
                                       stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={**os.environ, "XDG_RUNTIME_DIR": folder})
    slowed = None
    seconds, named, last = [], False, None
    try:
        begun = time.monotonic()
        while not os.path.exists(ready) or len(ranks(model)) < 2:
            if coordinator.poll() is not None or time.monotonic() - begun > START_SECONDS:
                with open(os.path.join(folder, f"{weights}.log"), encoding="utf-8", errors="replace") as log:
                    raise AssertionError("no two workers: " + log.read())
            time.sleep(0.1)
        with open(ready, encoding="ascii") as file:
            address = file.readline().strip()
        slowed = Slowed(ranks(model)[1], options.share)
        for number in range(options.prompts + TEACHING):
            path = os.path.join(folder, f"{weights}.{number}.txt")
            with open(path, "w", encoding="utf-8") as file:
                file.write(document(options, number))
            last = read(options, address, path)
            slow = [rank["slowness"] for rank in last["ranks"]]
            named |= slow[1] >= 1.3
            print(json.dumps({"weights": weights, "prompt": number, "tokens": last["usage"]["prompt_tokens"], "prefill_seconds": last["seconds"]["prefill"],
                              "compute_seconds": [rank["compute_seconds"] for rank in last["ranks"]], "slowness": slow}), flush=True)
            if number >= TEACHING:
                seconds.append(last["seconds"]["prefill"])
    finally:
        if slowed:
            slowed.end()
        coordinator.terminate()
        coordinator.wait(timeout=60)
    return seconds, named, last


def main():
    options = arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # what runs is ended all the same
    with tempfile.TemporaryDirectory(prefix="longhaul-unequal-") as folder:
        even, named, _ = campaign(options, folder, "even")
        weighed, _, last = campaign(options, folder, "auto")
    slow = last["ranks"][1]["slowness"]
    print(json.dumps({"even_seconds": statistics.median(even), "weighed_seconds": statistics.median(weighed),
                      "even_over_weighed": statistics.median(even) / statistics.median(weighed), "ideal": (1 + options.share) / 2 / options.share,
                      "named_in_even": named, "slowness_in_weighed": slow}))
    return 0 if named and slow < 1.3 else 1


if __name__ == "__main__":
    sys.exit(main())
