"""chaos BIN TESTS [--kills N] [--stops N] [--lines N] [--seed N]: rows F1 and F4 of the contract, on echo workers.

Two groups of four ranks, a process each, answer batches of lines without a pause, while ranks are killed (SIGKILL) or stopped
(SIGSTOP) one at a time: a random rank of a group that serves, at a random moment. A group that has lost a rank is killed and
started again, as mpirun does it. At the end every line must have one result, the one that the oracle says of its prompt.
Prints a line for each row: `name figure gate PASS|FAIL seed`; a failure says how to repeat it."""
import argparse
import collections
import datetime
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import echo_oracle as oracle  # noqa: E402

RANKS, GROUPS, TOKENS = 4, 2, 8
BEAT_SECONDS, SILENCE_SECONDS = 0.2, 1.5
READY_SECONDS = 30  # for a group to serve again
KILL_GATE, STOP_GATE = 1.0, SILENCE_SECONDS + 1.0  # seconds until the loss is noticed, p99 and longest
# A request that meets the loss first stamps the line with its name.
EVENT = re.compile(r'^(\S+) \w+ event="(group lost|group ready)"(?: request=\S+)?(?: batch=\S+)? group=(\S+)(?: cause="rank (\d+) )?')


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bin")
    parser.add_argument("tests")
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--stops", type=int, default=50)
    parser.add_argument("--lines", type=int, default=10000, help="to be answered at least")
    parser.add_argument("--pause", type=float, default=0.5, help="longest between a group that serves again and a fault, seconds")
    parser.add_argument("--step-us", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1000000)
    return parser.parse_args()


class Group:
    """Processes of one group, which is started again under another name when one of them has ended."""

    def __init__(self, cluster, number):
        self.cluster, self.number, self.life, self.ranks = cluster, number, 0, []
        self.start()

    def start(self):
        self.life += 1
        self.name = "group%d-%d" % (self.number, self.life)
        self.ready = False
        self.ranks = [self.cluster.spawn(
            os.path.join(self.cluster.options.tests, "echo-worker"), "--coordinator", self.cluster.worker_address, "--model",
            self.cluster.model, "--join-secret", self.cluster.secret, "--group", self.name, "--rank=%d" % rank,
            "--size=%d" % RANKS, "--places=8", "--step-us=%d" % self.cluster.options.step_us, "--prefill-us-per-token=50")
            for rank in range(RANKS)]

    def look(self):
        if any(rank.poll() is not None for rank in self.ranks):
            self.end()
            self.start()

    def end(self):
        for rank in self.ranks:
            if rank.poll() is None:
                rank.kill()
        for rank in self.ranks:
            rank.wait(10)


class Cluster:
    def __init__(self, options, folder):
        self.options, self.folder = options, folder
        self.model, self.secret = os.path.join(folder, "tiny.gguf"), os.path.join(folder, "secret")
        # In memory: the log drops lines that its disk is too busy to take, and chaos reads them.
        self.log_path = os.path.join("/dev/shm", os.path.basename(folder) + ".log")
        subprocess.run([os.path.join(options.tests, "tiny_model_file"), self.model], check=True, timeout=60)
        ready = os.path.join(folder, "ready")
        self.log_read = 0
        self.coordinator = self.spawn(
            os.path.join(options.bin, "longhaul-coordinator"), "--model", self.model, "--listen", "127.0.0.1:0", "--join-secret",
            self.secret, "--store", os.path.join(folder, "store"), "--ready-file", ready, "--heartbeat", str(BEAT_SECONDS),
            "--heartbeat-timeout", str(SILENCE_SECONDS), log=self.log_path)
        while not os.path.exists(ready):
            assert self.coordinator.poll() is None, self.said()
            time.sleep(0.02)
        with open(ready, encoding="ascii") as file:
            self.address, self.worker_address = file.read().split()[:2]
        self.groups = [Group(self, number) for number in range(GROUPS)]
        self.lost = {}  # by group: when the log says so, and the rank that it names

    def spawn(self, *command, log=None):
        with open(log or os.path.join(self.folder, "workers.log"), "ab") as output:
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)

    def said(self):
        with open(self.log_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def said_of_groups(self):
        lines = [line for line in self.said().splitlines() if not re.search("request (runs|ended).*method=Generate|request runs", line)]
        return "\n".join(lines[-40:])

    def longhaul(self, *arguments_):
        result = subprocess.run([os.path.join(self.options.bin, "longhaul"), "batch", arguments_[0], "--server", self.address,
                                 *arguments_[1:]], stdin=subprocess.DEVNULL, capture_output=True, timeout=600, check=False)
        assert result.returncode in (0, 1), result.stderr.decode()
        return result.stdout.decode()

    def look(self):
        """Reads what the log says of groups, and starts those again that have ended."""
        assert self.coordinator.poll() is None, self.said()[-4000:]
        with open(self.log_path, "rb") as file:
            file.seek(self.log_read)
            text = file.read()
        whole = text.rfind(b"\n") + 1
        self.log_read += whole
        for line in text[:whole].decode(errors="replace").splitlines():
            found = EVENT.match(line)
            if not found:
                continue
            when = datetime.datetime.fromisoformat(found[1].replace("Z", "+00:00")).timestamp()
            if found[2] == "group lost":
                self.lost[found[3]] = (when, int(found[4]) if found[4] else None)
            for group in self.groups:
                if group.name == found[3]:
                    group.ready = found[2] == "group ready"
        for group in self.groups:
            group.look()

    def wait(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, "%s: not within %s s\n%s" % (what, seconds, self.said_of_groups())
            self.look()
            time.sleep(0.02)

    def end(self):
        for group in self.groups:
            group.end()
        self.coordinator.kill()
        self.coordinator.wait(10)
        os.remove(self.log_path)


class Load:
    """Batches, one after another, so that there is always one that runs."""

    def __init__(self, cluster, lines):
        self.cluster, self.lines, self.names, self.prompts = cluster, lines, [], {}
        self.looked = 0.0
        self.busy = False

    def submit(self):
        number = len(self.names)
        path = os.path.join(self.cluster.folder, "batch-%d.jsonl" % number)
        with open(path, "w", encoding="ascii") as file:
            for line in range(self.lines):
                name = "b%d-%d" % (number, line)
                self.prompts[name] = "LINE %s OF %d " % (name.upper(), line % 7) * 3
                file.write(json.dumps({"custom_id": name, "method": "POST", "url": "/v1/completions",
                                       "body": {"prompt": self.prompts[name], "max_tokens": TOKENS}}) + "\n")
        self.names.append(self.cluster.longhaul("submit", path).split()[0])
        self.busy = True

    def look(self):
        """Whether the last batch has ended; asked twice a second."""
        if self.busy and time.monotonic() - self.looked > 0.5:
            self.looked = time.monotonic()
            counts = json.loads(self.cluster.longhaul("status", self.names[-1], "--json"))["counts"]
            self.busy = counts["completed"] + counts["failed"] < counts["total"] or counts["total"] == 0
        return not self.busy

    def check(self):
        """(lost, duplicate, set aside, differing, and the first that differ). No line is set aside for what the faults did."""
        seen, differing, aside = collections.Counter(), [], 0
        for number, name in enumerate(self.names):
            path = os.path.join(self.cluster.folder, "results-%d.jsonl" % number)
            self.cluster.longhaul("results", name, "-o", path)
            with open(path, encoding="utf-8") as file:
                for line in file:
                    result = json.loads(line)
                    seen[result["custom_id"]] += 1
                    expected = oracle.answer_text(oracle.raw_ids(self.prompts[result["custom_id"]]), TOKENS)
                    body = (result["response"] or {}).get("body") or {}
                    choices = body.get("choices")
                    if body.get("error", {}).get("message", "").startswith("set aside: "):
                        aside += 1
                        continue
                    if result["error"] or not choices or choices[0]["text"] != expected:
                        differing.append(line)
        lost = sum(name not in seen for name in self.prompts)
        return lost, sum(count - 1 for count in seen.values()), aside, len(differing), differing[:3]


def fault(cluster, choose, number, pause):
    """Lets one rank fail; returns the seconds until its loss was logged, and whether the right rank was named."""
    cluster.wait(lambda: any(group.ready for group in cluster.groups), READY_SECONDS, "a group serves")
    end = time.monotonic() + choose.uniform(0, pause)
    cluster.wait(lambda: time.monotonic() >= end, pause + 1, "a pause")
    cluster.wait(lambda: any(group.ready for group in cluster.groups), READY_SECONDS, "a group serves")
    group = choose.choice([group for group in cluster.groups if group.ready])
    rank, name = choose.randrange(RANKS), group.name
    group.ready = False
    begin = time.time()
    group.ranks[rank].send_signal(number)
    cluster.wait(lambda: name in cluster.lost, READY_SECONDS, "the loss of %s is noticed" % name)
    when, named = cluster.lost[name]
    if number == signal.SIGSTOP:
        group.ranks[rank].kill()
    return when - begin, named == rank


def percentile(values, share):
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


def row(name, figure, gate, passed, options):
    print("%s %s gate %s %s seed %d" % (name, figure, gate, "PASS" if passed else "FAIL", options.seed), flush=True)
    if not passed:
        print("again: tests/cluster/chaos.py BIN TESTS --kills %d --stops %d --lines %d --seed %d" %
              (options.kills, options.stops, options.lines, options.seed), flush=True)
    return passed


def report(options, load, killed, stopped):
    lost, duplicate, aside, differing, first = load.check()
    passed = True
    for line in first:
        print("differs:", line.strip()[:400])
    whole = lost + duplicate + aside + differing == 0 and len(load.prompts) >= options.lines
    results = "lines %d lost %d duplicate %d differing %d set aside %d" % (len(load.prompts), lost, duplicate, differing, aside)
    if killed:
        slow = percentile([seconds for seconds, _ in killed], 0.99)
        passed = row("F1", "kills %d %s noticed p50 %.3f p99 %.3f s named %d" % (
            len(killed), results, percentile([seconds for seconds, _ in killed], 0.5), slow, sum(right for _, right in killed)),
            "0 0 0 0, p99 <= %.1f s" % KILL_GATE, whole and slow <= KILL_GATE, options)
    if stopped:
        slow = max(seconds for seconds, _ in stopped)
        right = sum(right for _, right in stopped)
        passed = row("F4", "stops %d %s noticed p50 %.3f longest %.3f s named %d" % (
            len(stopped), results, percentile([seconds for seconds, _ in stopped], 0.5), slow, right),
            "0 0 0 0, <= %.1f s, all named" % STOP_GATE, whole and slow <= STOP_GATE and right == len(stopped), options) and passed
    return passed


def main():
    options = arguments()
    choose = random.Random(options.seed)
    with tempfile.TemporaryDirectory(prefix="longhaul-chaos-") as folder:
        cluster = Cluster(options, folder)
        try:
            cluster.wait(lambda: all(group.ready for group in cluster.groups), READY_SECONDS, "both groups serve")
            load = Load(cluster, min(options.lines, 1000))
            faults = [signal.SIGKILL] * options.kills + [signal.SIGSTOP] * options.stops
            choose.shuffle(faults)
            outcomes = {signal.SIGKILL: [], signal.SIGSTOP: []}
            while faults or len(load.prompts) < options.lines:
                if load.look():
                    load.submit()
                if faults:
                    number = faults.pop()
                    outcomes[number].append(fault(cluster, choose, number, options.pause))
                cluster.look()
                time.sleep(0 if faults else 0.1)
            cluster.wait(load.look, 300, "the last batch ends")
            passed = report(options, load, outcomes[signal.SIGKILL], outcomes[signal.SIGSTOP])
        finally:
            cluster.end()
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
