#!/usr/bin/python3
"""Many ranks of a tiny model on this machine, most of them without a core: what a group costs by the number of its ranks, so that what
grows faster than it is seen.

    /usr/bin/python3 tests/bench/many_ranks.py --bin build/release/bin --tiny build/release/tests/tiny_model_file \\
        --ranks 2 16 64 128 --transport loopback mpi --out tests/bench/results/NAME.jsonl

The first line is a manifest; each further one a group. Of its ranks (loopback: threads of one process; mpi: processes of one mpirun
--oversubscribe): memory of their own (anon), shared with each other (shmem), highest ever (peak), threads and descriptors, all of the
group together; of the coordinator what these ranks add. Bytes between ranks for a prompt and --tokens tokens, as counted and as planned.
With --times also seconds: from the start to the last join, from there until the model is loaded, for the answer, and for
`longhaul plan`; worth something on a quiet machine alone. --tokens 0 leaves the answer out."""
import argparse
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
import time

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..")
SECONDS = 300
FIELDS = {"anon_bytes": "RssAnon", "shmem_bytes": "RssShmem", "peak_bytes": "VmHWM"}
PROMPT = "In the end there is the other light. " * 24


def parse():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--bin", required=True)
    parser.add_argument("--tiny", required=True, help="the program that writes a small model file")
    parser.add_argument("--ranks", nargs="+", type=int, default=[2, 16, 64, 128])
    parser.add_argument("--transport", nargs="+", choices=["loopback", "mpi"], default=["loopback", "mpi"])
    parser.add_argument("--tokens", type=int, default=8)
    parser.add_argument("--times", action="store_true")
    parser.add_argument("--out", required=True)
    return parser.parse_args()


def facts_of(pid):
    """Memory, threads and descriptors of a process."""
    with open("/proc/%d/status" % pid, encoding="ascii", errors="replace") as file:
        text = file.read()
    found = {name: int(re.search(r"%s:\s*(\d+)" % field, text)[1]) << 10 for name, field in FIELDS.items()}
    return {**found, "threads": int(re.search(r"Threads:\s*(\d+)", text)[1]), "descriptors": len(os.listdir("/proc/%d/fd" % pid))}


def together(pids):
    each = [facts_of(pid) for pid in pids]
    return {name: sum(one[name] for one in each) for name in each[0]}


def connections(pid):
    """Established TCP connections of a process."""
    inodes = set()
    for name in os.listdir("/proc/%d/fd" % pid):
        try:
            inodes.add(os.readlink("/proc/%d/fd/%s" % (pid, name)))
        except OSError:
            pass
    count = 0
    for table in ("tcp", "tcp6"):
        with open("/proc/%d/net/%s" % (pid, table), encoding="ascii") as file:
            count += sum(words[3] == "01" and "socket:[%s]" % words[9] in inodes for words in map(str.split, file))
    return count


class Group:
    """A coordinator, and a group of so many ranks that joins it."""

    def __init__(self, arguments, folder, model, transport, ranks):
        self.arguments, self.folder, self.transport = arguments, folder, transport
        self.processes = []
        secret, ready = os.path.join(folder, "secret"), os.path.join(folder, "ready")
        self.log_path = os.path.join(folder, "coordinator.log")
        self.coordinator = self.start("coordinator.log", [self.program("longhaul-coordinator"), "--model", model, "--listen", "127.0.0.1:0",
                                                          "--ready-file", ready, "--join-secret", secret])
        self.until(lambda: os.path.exists(ready) and open(ready, encoding="ascii").read().count("\n") >= 2, "the coordinator")
        with open(ready, encoding="ascii") as file:
            self.server, workers = file.read().split()[:2]
        self.before = facts_of(self.coordinator.pid)
        words = [self.program("longhaul-worker"), "--coordinator", workers, "--model", model, "--join-secret", secret, "--threads", "1",
                 "--transport", transport, "--heartbeat-timeout", "30"]
        begun = time.monotonic()
        if transport == "loopback":
            self.group = self.start("ranks.log", [*words, "--ranks", str(ranks)])
        else:
            self.group = self.start("ranks.log", ["mpirun", "--oversubscribe", "--bind-to", "none", "-np", str(ranks), *words])
        self.until(lambda: self.log().count("worker joined") == ranks, "%d ranks to join" % ranks)
        self.join_seconds = time.monotonic() - begun
        self.until(lambda: "group ready" in self.log(), "the model")
        self.load_seconds = time.monotonic() - begun - self.join_seconds

    def program(self, name):
        return os.path.join(self.arguments.bin, name)

    def start(self, log, words):
        with open(os.path.join(self.folder, log), "w", encoding="utf-8") as file:
            process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.STDOUT, env={
                **os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"})
        self.processes.append(process)
        return process

    def log(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def until(self, is_so, what):
        deadline = time.monotonic() + SECONDS
        while not is_so():
            gone = [process.args[0] for process in self.processes if process.poll() is not None]
            if gone or time.monotonic() > deadline:
                sys.exit("many_ranks: waited for %s; ended: %s\n%s" % (what, gone, self.log()[-2000:]))
            time.sleep(0.02)

    def rank_pids(self):
        pids = subprocess.run(["ps", "-o", "pid=", "--ppid", str(self.group.pid)], capture_output=True, text=True, check=False).stdout
        return [int(pid) for pid in pids.split()] or [self.group.pid]

    def measure(self):
        coordinator = facts_of(self.coordinator.pid)
        row = {"ranks_together": together(self.rank_pids()), "coordinator_connections": connections(self.coordinator.pid),
               "coordinator_adds": {name: coordinator[name] - self.before[name] for name in coordinator if name != "peak_bytes"}}
        seconds = {"join": self.join_seconds, "load": self.load_seconds}
        if self.arguments.tokens:
            begun = time.monotonic()
            result = subprocess.run([self.program("longhaul"), "generate", "--server", self.server, "--prompt", PROMPT, "--raw", "--max-tokens",
                                     str(self.arguments.tokens), "--json"], capture_output=True, text=True, timeout=SECONDS, check=False)
            seconds["answer"] = time.monotonic() - begun
            if result.returncode:
                sys.exit("many_ranks: %s" % result.stderr)
            answer = json.loads(result.stdout)
            row["prompt_tokens"] = answer["usage"]["prompt_tokens"]
            row.update({name: sum(rank[name] for rank in answer["ranks"]) for name in ("sent_bytes", "predicted_sent_bytes")})
            processes = answer["ranks"] if self.transport == "mpi" else answer["ranks"][:1]
            row.update({name: sum(rank[name] for rank in processes) for name in ("voluntary_switches", "involuntary_switches")})
            seconds["cpu"] = sum(rank["cpu_seconds"] for rank in processes)
        row["after"] = together(self.rank_pids())
        return row, seconds

    def end(self):
        for process in reversed(self.processes):
            process.terminate()
            process.wait(60)


def plan_seconds(arguments, model, ranks):
    begun = time.monotonic()
    subprocess.run([os.path.join(arguments.bin, "longhaul"), "plan", "--model", model, "--workers", str(ranks), "--prompt-tokens", "1500",
                    "--json"], stdout=subprocess.DEVNULL, timeout=SECONDS, check=True)
    return time.monotonic() - begun


def measure(arguments, transport, ranks):
    with tempfile.TemporaryDirectory() as folder:
        model = os.path.join(folder, "tiny.gguf")
        subprocess.run([arguments.tiny, model], check=True, timeout=60)
        group = Group(arguments, folder, model, transport, ranks)
        try:
            row, seconds = group.measure()
        finally:
            group.end()
        seconds["plan"] = plan_seconds(arguments, model, ranks)
    return {"transport": transport, "ranks": ranks, **row, **({"seconds": seconds} if arguments.times else {})}


def manifest(arguments):
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        cpu = re.search(r"model name\s*:\s*(.*)", file.read())[1]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=SOURCE, capture_output=True, text=True, check=False).stdout.strip()
    return {"command": "tests/bench/many_ranks.py", "commit": commit, "cpu": cpu, "cores": len(os.sched_getaffinity(0)),
            "system": platform.platform(), "tokens": arguments.tokens, "times": arguments.times, "load_average": os.getloadavg()[0]}


def main():
    arguments = parse()
    with open(arguments.out, "w", encoding="utf-8") as out:
        print(json.dumps({"manifest": manifest(arguments)}), file=out, flush=True)
        for transport in arguments.transport:
            for ranks in arguments.ranks:
                row = measure(arguments, transport, ranks)
                print(json.dumps(row), file=out, flush=True)
                print(json.dumps(row), flush=True)


if __name__ == "__main__":
    main()
