"""soak BIN TESTS [--seconds S] [--growth MIB] [--samples FILE]: row F25 of the contract. A coordinator answers batches, single requests, some that
are cancelled, and a document now and then, over and over. After a third of the time its descriptors and threads may not grow any
more, its memory by --growth at most (the contract: 1 MiB in an hour), and at the end no request holds anything.
The store may keep 1 MiB of its database's pages, which are all in use after a third of the time: at its standard, 64 MiB, it
would take in pages of request ids, which are kept for a day, until those 64 MiB were full, and this would measure that.
Prints a line for each figure: `name figure gate PASS|FAIL seed`."""
import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import time
import urllib.request

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("bin")
parser.add_argument("tests")
parser.add_argument("--seconds", type=float, default=3600)
parser.add_argument("--growth", type=float, default=1, help="MiB, after the first third")
parser.add_argument("--samples", help="a file for what was measured, a JSON array a round")
options = parser.parse_args()
LINES, SPARE = 40, 4  # descriptors and threads that come and go
STORE_CACHE_BYTES = 1 << 20


class Soak:
    def __init__(self, folder):
        self.folder, self.rounds, self.samples = folder, 0, []
        model, ready, secret = (os.path.join(folder, name) for name in ("tiny.gguf", "ready", "secret"))
        subprocess.run([os.path.join(options.tests, "tiny_model_file"), model], check=True, timeout=60)
        self.coordinator = self.spawn(
            os.path.join(options.bin, "longhaul-coordinator"), "--model", model, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0",
            "--ready-file", ready, "--store", os.path.join(folder, "store"), "--log-level", "warn", "--join-secret", secret,
            "--store-cache-bytes", str(STORE_CACHE_BYTES))
        while not os.path.exists(ready):
            assert self.coordinator.poll() is None, "the coordinator has ended"
            time.sleep(0.02)
        with open(ready, encoding="ascii") as file:
            self.address, workers, self.http = file.read().split()[:3]
        self.worker = self.spawn(os.path.join(options.tests, "echo-worker"), "--coordinator", workers, "--model", model, "--join-secret",
                                 secret, "--places", "8", "--step-us", "500", "--group", "soak")

    def spawn(self, *command):
        with open(os.path.join(self.folder, "log"), "ab") as log:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def longhaul(self, *words, codes=(0,)):
        result = subprocess.run([os.path.join(options.bin, "longhaul"), *words], stdin=subprocess.DEVNULL, capture_output=True,
                                text=True, timeout=120, check=False)
        assert result.returncode in codes, (words, result.stderr)
        return result.stdout.strip()

    def file(self, name, text):
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        return path

    def turn(self):
        self.rounds += 1
        server = ("--server", self.address)
        lines = "".join(json.dumps({"custom_id": "%d" % n, "method": "POST", "url": "/v1/completions", "body": {
            "prompt": "ROUND %d LINE %d " % (self.rounds, n) * 5, "max_tokens": 8}}) + "\n" for n in range(LINES))
        name = self.longhaul("batch", "submit", *server, "--retention", "20", self.file("lines", lines))
        cancelled = self.longhaul("batch", "submit", *server, "--retention", "20", self.file("lines", lines))
        self.longhaul("batch", "cancel", *server, cancelled, codes=(0, 69, 78))
        document = self.longhaul("document", "upload", *server, self.file("document", "DOCUMENT %d " % self.rounds * 500))
        self.longhaul("generate", *server, "--raw", "--prompt", "SINGLE %d" % self.rounds, "--max-tokens", "8")
        told = self.longhaul("batch", "results", *server, name)
        assert len(told.splitlines()) == LINES, told
        self.longhaul("document", "delete", *server, document)

    def sample(self, begin):
        process = "/proc/%d/" % self.coordinator.pid
        with open(process + "status", encoding="ascii") as file:
            rows = dict(line.split(":", 1) for line in file)
        resident, own = (int(rows[row].split()[0]) / 1024 for row in ("VmRSS", "RssAnon"))
        self.samples.append((time.monotonic() - begin, resident, len(os.listdir(process + "fd")), len(os.listdir(process + "task")),
                             own, self.metrics()["longhaul_store_memory_bytes"] / 2**20))

    def metrics(self):
        """Each family's samples, summed."""
        with urllib.request.urlopen("http://%s/metrics" % self.http, timeout=20) as answer:
            text = answer.read().decode()
        values = collections.Counter()
        for name, value in re.findall(r"^(\w+)(?:\{.*\})? (\S+)$", text, re.M):
            values[name] += float(value)
        return values

    def run(self):
        begin = time.monotonic()
        while time.monotonic() - begin < options.seconds:
            self.turn()
            self.sample(begin)
            if options.samples:
                with open(options.samples, "a", encoding="ascii") as file:
                    file.write(json.dumps(self.samples[-1]) + "\n")

    def held(self):
        """What requests hold once there are none."""
        values = self.metrics()
        return sum(values["longhaul_" + name]
                   for name in ("kv_cache_tokens", "kv_cache_usage_ratio", "requests_running", "requests_waiting"))

    def report(self):
        held = self.held()
        later = [sample for sample in self.samples if sample[0] > options.seconds / 3]
        growth = [max(sample[i] for sample in later) - later[0][i] for i in range(1, 6)]
        passed = held == 0 and growth[0] <= options.growth and max(growth[1:3]) <= SPARE
        print("F25 %.0f s, %d rounds: memory grew by %.2f MiB of %.0f (anonymous pages by %.2f, SQLite's part by %.2f), descriptors by "
              "%d, threads by %d, held at the end %g gate %g %d %d 0 %s seed 0"
              % (self.samples[-1][0], self.rounds, growth[0], later[0][1], growth[3], growth[4], growth[1], growth[2], held,
                 options.growth, SPARE, SPARE, "PASS" if passed else "FAIL"))
        return passed


def main():
    with tempfile.TemporaryDirectory(prefix="longhaul-soak-") as folder:
        soak = Soak(folder)
        try:
            soak.run()
            passed = soak.report()
        finally:
            for process in (soak.worker, soak.coordinator):
                process.kill()
                process.wait(20)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
