#!/usr/bin/env python3
"""Decode between emulated hosts of one core each, whose network delays every frame: whole or split products against the
planner's choice.

    python3 tests/bench/decode_delay.py --build build/release --model FILE [--delays 0 50 500] [--forms split auto]
        [--hosts 2] [--prompt-tokens 7900] [--tokens 64] [--rounds 3] [--method METHOD] [--out FILE]

Each round goes through the delays, and at each through the forms (--decode of the coordinator), in turn first; each run has a
worker group of its own, which measures its links when it loads and is planned for by that. `split` is what the planner
chose of a link between hosts while it counted 10 us for a message. What the switch that delays adds itself is
printed. The answers of all runs must be the same. Root, as the emulated hosts need."""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "cluster"))
from hosts import Hosts, forbidden  # noqa: E402

TEXT = os.path.join(HERE, "data", "golden_long.json")  # of 16,384 tokens
TEXT_TOKENS = 16384
WAIT = os.path.join(os.path.dirname(os.path.dirname(HERE)), "deploy", "wait-serving")
START_SECONDS = 120
ANSWER_SECONDS = 900
MPI = {"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


class Cluster:
    """A coordinator on the head, and a rank on each other host."""
    def __init__(self, hosts, arguments, form):
        self.hosts, self.arguments = hosts, arguments
        self.bin = os.path.join(os.path.abspath(arguments.build), "bin")
        self.ready = os.path.join(hosts.folder, "ready")
        secret = os.path.join(hosts.folder, "secret")
        for old in (self.ready, secret):
            if os.path.exists(old):
                os.unlink(old)
        environment = {**os.environ, **MPI}
        self.log = open(os.path.join(hosts.folder, "log"), "wb")
        self.coordinator = hosts.start(0, [os.path.join(self.bin, "longhaul-coordinator"), "--model", arguments.model, "--listen",
                                           hosts.address(0) + ":0", "--worker-listen", hosts.address(0) + ":0", "--insecure-bind",
                                           "--join-secret", secret, "--group-requests", "1", "--decode", form, "--ready-file",
                                           self.ready], env=environment, stdout=self.log, stderr=self.log)
        try:
            self.address, workers_address = self.wait_for(self.read_addresses)
            names = ",".join(hosts.name(i) for i in range(1, hosts.count + 1))
            self.workers = hosts.start(0, ["mpirun", "--mca", "plm", "rsh", "--mca", "plm_rsh_agent", hosts.agent, "--mca",
                                           "oob_tcp_if_include", "eth0", "--mca", "btl_tcp_if_include", "eth0", "--bind-to", "none",
                                           "--host", names, "-np", str(hosts.count), "--map-by", "node", "-x", "PATH",
                                           *(word for name in MPI for word in ("-x", name)),
                                           os.path.join(self.bin, "longhaul-worker"), "--threads", "1", "--coordinator",
                                           workers_address, "--join-secret", secret, "--model", arguments.model],
                                       env=environment, stdout=self.log, stderr=self.log)
        except BaseException:
            self.coordinator.kill()
            self.coordinator.wait()
            raise

    def read_addresses(self):
        """The clients', then the workers'."""
        try:
            with open(self.ready, encoding="ascii") as file:
                return file.read().split()
        except FileNotFoundError:
            return []

    def wait_for(self, what):
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.coordinator.poll() is None:
            found = what()
            if found:
                return found
            time.sleep(0.05)
        raise self.failure("the coordinator did not start\n")

    def failure(self, said):
        with open(self.log.name, encoding="utf-8", errors="replace") as log:
            return RuntimeError(said + log.read()[-4000:])

    def longhaul(self, command, *words):
        result = self.hosts.run(0, [os.path.join(self.bin, "longhaul"), command, "--server", self.address, *words],
                                timeout=ANSWER_SECONDS)
        if result.returncode:
            raise self.failure(result.stderr)
        return result.stdout

    def answer(self, path):
        options = ["--prompt-file", path, "--max-tokens", str(self.arguments.tokens), "--method", self.arguments.method]
        waited = self.hosts.run(0, [WAIT, self.address, str(START_SECONDS)], timeout=2 * START_SECONDS)
        if waited.returncode:
            raise self.failure(waited.stderr)
        return json.loads(self.longhaul("generate", "--json", *options))

    def reasons(self, prompt_tokens):
        """The planner's, of how an answer is computed."""
        plan = self.longhaul("plan", "--prompt-tokens", str(prompt_tokens), "--max-tokens", str(self.arguments.tokens), "--method",
                             self.arguments.method)
        return [line.strip() for line in plan.splitlines() if "answer" in line]

    def close(self):
        self.coordinator.terminate()
        self.coordinator.wait(60)
        try:
            self.workers.wait(60)
        except subprocess.TimeoutExpired:
            self.workers.kill()
            self.workers.wait()
        self.log.close()


def measure(hosts, arguments, path, form):
    cluster = Cluster(hosts, arguments, form)
    try:
        answer = cluster.answer(path)
        reasons = cluster.reasons(answer["usage"]["prompt_tokens"])
    finally:
        cluster.close()
    seconds, usage = answer["seconds"], answer["usage"]
    return {"prompt_tokens": usage["prompt_tokens"], "tokens": usage["completion_tokens"],
            "tokens_per_second": (usage["completion_tokens"] - 1) / seconds["decode"],
            "prefill_seconds": seconds["prefill"], "answer": answer["text"],
            "why": reasons}


def manifest(arguments, hosts):
    def output(*words):
        return subprocess.run(words, capture_output=True, text=True, check=False).stdout.strip()
    with open("/proc/cpuinfo", encoding="ascii") as file:
        cpu = next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    return {"command": "tests/bench/decode_delay.py", "commit": output("git", "-C", HERE, "rev-parse", "--short", "HEAD"),
            "cpu": cpu, "model": os.path.basename(arguments.model), "method": arguments.method,
            "cores_of_hosts": [hosts.cores(i) for i in range(1, hosts.count + 1)]}


def report(rows, delays, forms):
    def median(delay, form):
        return statistics.median(row["tokens_per_second"] for row in rows if (row["delay_us"], row["form"]) == (delay, form))
    print("%10s" % "delay us", *("%12s" % form for form in forms), *("%12s" % ("%s/%s" % (form, forms[0])) for form in forms[1:]),
          *("%16s" % (form + "/undelayed") for form in forms))
    for delay in delays:
        rates = [median(delay, form) for form in forms]
        print("%10d" % delay, *("%12.2f" % rate for rate in rates), *("%12.2f" % (rate / rates[0]) for rate in rates[1:]),
              *("%16.2f" % (rate / median(delays[0], form)) for rate, form in zip(rates, forms)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--build", required=True)
    parser.add_argument("--model", default=os.environ.get("LONGHAUL_TEST_MODEL"))
    parser.add_argument("--delays", nargs="+", type=int, default=[0, 50, 500])
    parser.add_argument("--forms", nargs="+", default=["split", "auto"])
    parser.add_argument("--hosts", type=int, default=2)
    parser.add_argument("--prompt-tokens", type=int, default=7900)
    parser.add_argument("--tokens", type=int, default=64)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--method", default="rope")
    parser.add_argument("--out")
    arguments = parser.parse_args()
    if not arguments.model or forbidden():
        print("SKIPPED:", forbidden() or "neither --model nor LONGHAUL_TEST_MODEL names a model file")
        sys.exit(77)
    arguments.model = os.path.abspath(arguments.model)
    with open(TEXT, encoding="utf-8") as file:
        text = json.load(file)["perplexity"]["text"]
    rows = []
    with Hosts(arguments.hosts, "decodedel", cores=1, tests=os.path.join(os.path.abspath(arguments.build), "tests")) as hosts:
        path = os.path.join(hosts.folder, "prompt")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text[:len(text) * arguments.prompt_tokens // TEXT_TOKENS])
        for turn in range(arguments.rounds):
            for delay in arguments.delays:
                own_us = hosts.delay(delay or None)
                for form in arguments.forms if turn % 2 == 0 else arguments.forms[::-1]:
                    row = {"round": turn, "delay_us": delay, "switch_us": round(own_us, 1), "form": form,
                           **measure(hosts, arguments, path, form)}
                    assert not rows or row["answer"] == rows[0]["answer"], (row["answer"], rows[0]["answer"])
                    rows.append(row)
                    print(json.dumps({**row, "answer": row["answer"][:40]}), flush=True)
        facts = manifest(arguments, hosts)
    report(rows, arguments.delays, arguments.forms)
    if arguments.out:
        with open(arguments.out, "w", encoding="utf-8") as out:
            for row in [{"manifest": facts}, *rows]:
                print(json.dumps(row), file=out)


if __name__ == "__main__":
    main()
