"""Kills a coordinator at random moments, with -9, while batches are submitted, run, cancelled and read, and restarts it on
the same store: every batch that was acknowledged is there, every line has one result, and results never change.

The campaign of 1,000 kills: kill_coordinator.py BIN TESTS MODEL_PROGRAM --kills 1000"""
import argparse
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
import json

parser = argparse.ArgumentParser()
parser.add_argument("bin")
parser.add_argument("tests")
parser.add_argument("tiny_model_file")
parser.add_argument("--kills", type=int, default=8)
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--clients", type=int, default=4)
parser.add_argument("--recovery-seconds", type=float, default=2, help="the most that the p99 until it serves again may be [2]")
options = parser.parse_args()

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import echo_oracle as oracle  # noqa: E402

LINES, TOKENS = 12, 10


class Coordinator:
    """One address and one store, over all its lives."""

    def __init__(self, folder, model):
        self.folder, self.model = folder, model
        self.ready = os.path.join(folder, "ready")
        self.port, self.worker_port, self.process = 0, 0, None
        self.recoveries = []

    def start(self):
        if os.path.exists(self.ready):
            os.remove(self.ready)
        begin = time.monotonic()
        log = open(os.path.join(self.folder, "coordinator.log"), "ab")
        self.process = subprocess.Popen(
            [os.path.join(options.bin, "longhaul-coordinator"), "--model", self.model, "--listen", "127.0.0.1:%d" % self.port,
             "--worker-listen", "127.0.0.1:%d" % self.worker_port, "--ready-file", self.ready, "--store",
             os.path.join(self.folder, "store"), "--log-level=warn", "--join-secret", os.path.join(self.folder, "secret")],
            stderr=log, stdin=subprocess.DEVNULL)
        log.close()
        while not os.path.exists(self.ready):
            if self.process.poll() is not None:
                raise SystemExit("the coordinator does not come back: see its log")
            time.sleep(0.005)
        self.recoveries.append(time.monotonic() - begin)
        with open(self.ready, encoding="utf-8") as file:
            addresses = file.read().split()
        self.port, self.worker_port = (int(address.rsplit(":", 1)[1]) for address in addresses)
        self.address = addresses[0]

    def kill(self):
        self.process.kill()
        self.process.wait(10)


class Client(threading.Thread):
    """Submits batches and reads them until it is told to end; each step is repeated by the command itself."""

    def __init__(self, number, coordinator, folder):
        super().__init__()
        self.number, self.coordinator, self.folder = number, coordinator, folder
        self.over, self.batches, self.wrong = threading.Event(), {}, []

    def command(self, *words):
        for _ in range(100):
            done = subprocess.run([os.path.join(options.bin, "longhaul"), "batch", words[0], "--server",
                                   self.coordinator.address, *words[1:]], capture_output=True, text=True, timeout=120)
            if done.returncode != 69:  # nobody is there for a moment
                return done
        raise SystemExit("no coordinator for too long")

    def run(self):
        count = 0
        while not self.over.is_set():
            count += 1
            key = "%d-%d" % (self.number, count)
            path = os.path.join(self.folder, key + ".jsonl")
            prompts = {"%s-%d" % (key, n): "CLIENT %s PROMPT %d" % (key.replace("-", " "), n) for n in range(LINES)}
            with open(path, "w", encoding="utf-8") as file:
                for custom_id, prompt in prompts.items():
                    file.write(json.dumps({"custom_id": custom_id, "method": "POST", "url": "/v1/completions",
                                           "body": {"prompt": prompt, "max_tokens": TOKENS}}) + "\n")
            done = self.command("submit", path, "--request-id", key)
            if done.returncode != 0:
                self.wrong.append("submit %s: %s" % (key, done.stderr))
                return
            self.batches[done.stdout.strip()] = (key, prompts)

    def check(self):
        """Every acknowledged batch has each line's right result, once, however often it is read."""
        for name, (key, prompts) in self.batches.items():
            output = os.path.join(self.folder, key + ".out")
            done = self.command("results", name, "-o", output)
            again = self.command("results", name, "-o", output)
            if done.returncode != 0 or again.returncode != 0:
                self.wrong.append("%s: results: %s%s" % (key, done.stderr, again.stderr))
                continue
            with open(output, encoding="utf-8") as file:
                told = [json.loads(line) for line in file]
            ids = [each["custom_id"] for each in told]
            if sorted(ids) != sorted(prompts):
                self.wrong.append("%s: %d results, %d different, of %d lines" % (key, len(ids), len(set(ids)), len(prompts)))
            for each in told:
                text = each["response"]["body"]["choices"][0]["text"]
                if text != oracle.answer_text(oracle.raw_ids(prompts[each["custom_id"]]), TOKENS):
                    self.wrong.append("%s: %s differs" % (key, each["custom_id"]))
        one_name_a_key = len(set(key for key, _ in self.batches.values())) == len(self.batches)
        if not one_name_a_key:
            self.wrong.append("client %d: a request id made two batches" % self.number)


def main():
    chance = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="longhaul-kills-") as folder:
        model = os.path.join(folder, "tiny.gguf")
        subprocess.run([options.tiny_model_file, model], check=True, timeout=60)
        secret = os.path.join(folder, "secret")
        with open(secret, "w", encoding="utf-8") as file:
            file.write("%064x\n" % chance.getrandbits(256))
        os.chmod(secret, 0o600)
        coordinator = Coordinator(folder, model)
        coordinator.start()
        echo = subprocess.Popen([os.path.join(options.tests, "echo-worker"), "--coordinator", "127.0.0.1:%d" %
                                 coordinator.worker_port, "--model", model, "--places", "8", "--step-us", "500", "--again",
                                 "--join-secret", secret], stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
        clients = [Client(number, coordinator, folder) for number in range(options.clients)]
        try:
            for client in clients:
                client.start()
            for _ in range(options.kills):
                time.sleep(chance.uniform(0.05, 0.8))
                coordinator.kill()
                coordinator.start()
            for client in clients:
                client.over.set()
            for client in clients:
                client.join(120)
            for client in clients:
                client.check()
        finally:
            echo.kill()
            coordinator.kill()
        wrong = [sentence for client in clients for sentence in client.wrong]
        batches = sum(len(client.batches) for client in clients)
        recoveries = sorted(coordinator.recoveries)
        for sentence in wrong[:20]:
            print(sentence, file=sys.stderr)
        if wrong:
            with open(os.path.join(folder, "coordinator.log"), encoding="utf-8", errors="replace") as file:
                print(file.read()[-4000:], file=sys.stderr)
        recovery = recoveries[int(0.99 * (len(recoveries) - 1))]
        passed = not wrong and batches > 0 and recovery <= options.recovery_seconds
        print("F6 kills=%d batches=%d lines=%d wrong=%d gate=0 recovery_p99_s=%.2f gate=%g %s seed=%d" % (
            options.kills, batches, batches * LINES, len(wrong), recovery, options.recovery_seconds,
            "PASS" if passed else "FAIL", options.seed))
        return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
