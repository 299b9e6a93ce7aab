"""faults PROGRAMS TESTS [--rows F2,F3,F5,F21] [--times N] [--seconds S] [--seed N]: rows of the fault contract that need several
hosts, on emulated ones. Prints a line a row: `name figure gate PASS|FAIL seed`.

F2   A whole host is lost, --times times: all of its processes killed, or its link cut, at random, in one of two groups of two
     hosts. No line of a batch is lost, answered twice or otherwise than without faults; the loss is noticed within 8 s.
F3   The coordinator's link is cut for 1 to --partition s, --times times: no line is lost or answered twice.
F5   For --seconds each, 1 % of the frames are lost, and links carry 1 Mbit/s: nothing is wrong, and no group is taken for lost.
F21  deploy/slurm/lines.sbatch under a real Slurm is told to end at a random moment, --times times: it ends within 30 s, and
     queued again completes to the same bytes as a run that nobody disturbed."""
import argparse
import datetime
import json
import os
import random
import re
import subprocess
import sys
import time
import unittest

from cluster_on_hosts import ClusterOnHosts
from hosts import SOURCE, Hosts
from slurm import Slurm

GROUPS = ([1, 2], [3, 4])
PROMPTS, TOKENS = 8, 200
BATCH_LINES = 60
LOST_GATE, DRAIN_GATE = 8.0, 30.0  # seconds
LOST = re.compile(r'^(\S+) \w+ event="group lost"(?: request=\S+)?(?: batch=\S+)? group=(\S+)', re.M)


def arguments():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("programs")
    parser.add_argument("tests")
    parser.add_argument("--rows", default="F2,F3,F5,F21")
    parser.add_argument("--times", type=int, default=50)
    parser.add_argument("--partition", type=float, default=60, help="longest, seconds")
    parser.add_argument("--seconds", type=float, default=900, help="of each half of F5")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1000000)
    return parser.parse_args()


def line(name, n):
    return json.dumps({"custom_id": name, "method": "POST", "url": "/v1/completions", "body": {
        "model": "tiny", "prompt": "the other light %d" % (n % PROMPTS), "max_tokens": TOKENS}}) + "\n"


def answers_of(text):
    """Of each line, all texts that it was answered with."""
    found = {}
    for each in map(json.loads, text.splitlines()):
        response = each["response"]
        good = response and response["status_code"] == 200
        found.setdefault(each["custom_id"], []).append(response["body"]["choices"][0]["text"] if good else json.dumps(each))
    return found


class Load:
    """Batches, one after another, so that there is always one that runs."""

    def __init__(self, cluster, truth):
        self.cluster, self.truth, self.names, self.sent = cluster, truth, [], 0

    def submit(self):
        path = self.cluster.path("batch.jsonl")
        with open(path, "w", encoding="utf-8") as file:
            file.writelines(line("l%d" % (self.sent + n), self.sent + n) for n in range(BATCH_LINES))
        self.sent += BATCH_LINES
        result = self.cluster.longhaul("batch", "submit", path)
        assert result.returncode == 0, result.stderr
        self.names.append(result.stdout.split()[0])

    def ended(self):
        result = self.cluster.longhaul("batch", "status", self.names[-1], "--json")
        return result.returncode == 0 and json.loads(result.stdout)["state"] in ("succeeded", "failed", "cancelled", "expired")

    def keep_going(self):
        if not self.names or self.ended():
            self.submit()

    def judge(self):
        """Waits for the last line; how many were lost, answered twice, and otherwise than they should be."""
        self.cluster.wait_until(self.ended, 600, "the last batch ends")
        found = {}
        for name in self.names:
            result = self.cluster.longhaul("batch", "results", name)
            for key, texts in answers_of(result.stdout).items():
                found.setdefault(key, []).extend(texts)
        lost = sum("l%d" % n not in found for n in range(self.sent))
        twice = sum(len(texts) - 1 for texts in found.values())
        differing = sum(text != self.truth[int(key[1:]) % PROMPTS] for key, texts in found.items() for text in texts)
        return lost, twice, differing


class Campaign:
    def __init__(self, options, name, groups=GROUPS):
        self.options, self.choose = options, random.Random("%d %s" % (options.seed, name))
        self.hosts = Hosts(max(groups[-1]), "faults", cores=1, tests=options.tests)
        self.on = groups

    def __enter__(self):
        self.hosts.__enter__()
        try:
            self.cluster = ClusterOnHosts(self.hosts, self.options.programs, self.options.tests, "--group-requests", "4", "--store",
                                          os.path.join(self.hosts.folder, "store"))
            self.groups = [self.start(on) for on in self.on]
            self.cluster.wait_serving(len(self.on))
            truth = [self.cluster.answer("--prompt", "the other light %d" % n, "--max-tokens", str(TOKENS))["text"] for n in range(PROMPTS)]
            self.load = Load(self.cluster, truth)
            self.load.submit()
        except BaseException:
            self.hosts.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.hosts.__exit__()

    def start(self, on):
        return self.cluster.start_group(on, lives=1)

    def lost_groups(self):
        with open(self.cluster.path("coordinator.log"), encoding="utf-8", errors="replace") as file:
            return {found[1]: datetime.datetime.fromisoformat(found[0].replace("Z", "+00:00")).timestamp() for found in LOST.findall(file.read())}

    def wait(self, condition, seconds, what):
        """With a batch that runs all the time."""
        def look():
            self.load.keep_going()
            return condition()
        return self.cluster.wait_until(look, seconds, what)

    def restart(self, number):
        """What a batch system does with a job whose host was lost."""
        for i in self.on[number]:
            self.hosts.kill(i)
        self.groups[number].wait(20)
        self.groups[number] = self.start(self.on[number])

    def serving(self):
        return sum(each["state"] in ("ready", "running") for each in self.cluster.status()["groups"])


def say(name, figure, gate, passed, seed):
    print("%s %s, gate %s: %s, seed %d" % (name, figure, gate, "PASS" if passed else "FAIL", seed), flush=True)
    return passed


def lose_hosts(options):
    noticed, others = [], 0
    with Campaign(options, "F2") as campaign:
        for _ in range(options.times):
            before, number = set(campaign.lost_groups()), campaign.choose.randrange(len(GROUPS))
            lost, cut = campaign.choose.choice(GROUPS[number]), campaign.choose.random() < 0.5
            time.sleep(campaign.choose.uniform(0, 0.5))
            begin = time.time()
            (campaign.hosts.cut if cut else campaign.hosts.kill)(lost)
            campaign.wait(lambda: set(campaign.lost_groups()) - before, 30, "a group is lost")
            noticed += [when - begin for name, when in campaign.lost_groups().items() if name not in before]
            others += campaign.serving() == len(GROUPS) - 1
            if cut:
                campaign.hosts.heal(lost)
            campaign.restart(number)
            campaign.wait(lambda: campaign.serving() == len(GROUPS), 60, "both groups serve")
        lost, twice, differing = campaign.load.judge()
        figure = "%d hosts lost, %d lines: lost %d, duplicate %d, differing %d; noticed after %.1f s (most), the other group served %d times" % (
            options.times, campaign.load.sent, lost, twice, differing, max(noticed, default=0), others)
    passed = not (lost or twice or differing) and max(noticed) <= LOST_GATE and others == options.times == len(noticed)
    return say("F2", figure, "0, 0, 0; %.0f s; each time" % LOST_GATE, passed, options.seed)


def part(options):
    with Campaign(options, "F3") as campaign:
        groups = 0
        for _ in range(options.times):
            seconds = campaign.choose.uniform(1, options.partition)
            campaign.hosts.cut(0)
            time.sleep(seconds)
            campaign.hosts.heal(0)
            for number, group in enumerate(campaign.groups):
                try:
                    group.wait(15)  # one that has noticed is about to end
                except subprocess.TimeoutExpired:
                    continue
                campaign.restart(number)
                groups += 1
            campaign.wait(lambda: campaign.serving() == len(GROUPS), 60, "both groups serve")
        lost, twice, differing = campaign.load.judge()
        figure = "%d partitions of 1 to %.0f s ended %d groups, %d lines: lost %d, duplicate %d, differing %d" % (
            options.times, options.partition, groups, campaign.load.sent, lost, twice, differing)
    return say("F3", figure, "0, 0, 0", not (lost or twice or differing), options.seed)


def bad_links(options):
    with Campaign(options, "F5", GROUPS[:1]) as campaign:
        campaign.hosts.delay(0, lost=0.01)
        end = time.monotonic() + options.seconds
        campaign.wait(lambda: time.monotonic() > end, options.seconds + 30, "the time is over")
        campaign.hosts.delay(None)
        for i in GROUPS[0]:
            campaign.hosts.shape(i, "1mbit")
        end = time.monotonic() + options.seconds
        campaign.wait(lambda: time.monotonic() > end, options.seconds + 30, "the time is over")
        false = len(campaign.lost_groups())
        for i in GROUPS[0]:
            campaign.hosts.shape(i, None)
        lost, twice, differing = campaign.load.judge()
        figure = "%.0f s with 1 %% of frames lost and %.0f s at 1 Mbit/s, %d lines: wrong %d, groups taken for lost %d" % (
            options.seconds, options.seconds, campaign.load.sent, lost + twice + differing, false)
    return say("F5", figure, "0, 0", not (lost or twice or differing or false), options.seed)


def drain(options):
    choose, longest, undisturbed, codes = random.Random("%d F21" % options.seed), 0.0, 0, []
    script = os.path.join(SOURCE, "deploy", "slurm", "lines.sbatch")
    with Hosts(2, "faults") as hosts, Slurm(hosts) as slurm:
        slurm.environment["PATH"] = os.path.abspath(options.programs) + ":" + slurm.environment["PATH"]
        model, words = os.path.join(hosts.folder, "tiny.gguf"), ["--order", "input", "--threads", "1", "--quiet", "--config", "two.yaml"]
        subprocess.run([os.path.join(os.path.abspath(options.tests), "tiny_model_file"), model], check=True, timeout=60)
        with open(os.path.join(hosts.folder, "two.yaml"), "w", encoding="ascii") as file:
            file.write("coordinator:\n  group_requests: 2\n")
        with open(os.path.join(hosts.folder, "in.jsonl"), "w", encoding="utf-8") as file:
            file.writelines(line("l%d" % n, n) for n in range(BATCH_LINES))

        def texts(name):
            with open(os.path.join(hosts.folder, name), encoding="utf-8") as file:
                return list(answers_of(file.read()).items())
        begin = time.monotonic()
        alone = slurm.run(["longhaul", "run", "--model", model, "-i", "in.jsonl", "-o", "alone", *words], timeout=300)
        assert alone.returncode == 0, alone.stderr
        usual = time.monotonic() - begin
        for n in range(options.times):
            job = slurm.sbatch(script, "--cpus-per-task=1", "--output=log.%d" % n, arguments=[model, "in.jsonl", "out.%d" % n, *words])
            slurm.wait_until(lambda: slurm.job(job).get("JobState") == "RUNNING", 30, "the job runs")
            time.sleep(choose.uniform(0, usual))
            begin = time.monotonic()
            slurm.run(["scancel", "--batch", "--signal=" + choose.choice(("USR1", "TERM")), job])
            slurm.wait_until(lambda: slurm.job(job)["JobState"] not in ("RUNNING", "COMPLETING"), 60, "the job has ended")
            longest = max(longest, time.monotonic() - begin)
            undisturbed += slurm.job(job)["JobState"] == "COMPLETED"
            if slurm.job(job)["JobState"] != "COMPLETED":
                slurm.start_again(job, 60)
            codes.append(slurm.wait(job, 300) == ("COMPLETED", 0) and texts("out.%d" % n) == texts("alone"))
            if not codes[-1]:
                print(slurm.said(), slurm.run(["cat", "log.%d" % n]).stdout, file=sys.stderr)
    figure = "%d drains at random moments (%d had done all): %d completed to the same results, ended after %.1f s (most)" % (
        options.times, undisturbed, sum(codes), longest)
    return say("F21", figure, "all, %.0f s" % DRAIN_GATE, all(codes) and longest <= DRAIN_GATE, options.seed)


ROWS = {"F2": lose_hosts, "F3": part, "F5": bad_links, "F21": drain}


def main():
    options = arguments()
    results = [ROWS[name](options) for name in options.rows.split(",")]
    return 0 if all(results) else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except unittest.SkipTest as reason:
        print("skipped:", reason)
        sys.exit(77)
