"""kill_ranks BIN TINY_MODEL_FILE [--kills N] [--seed N]: kills ranks of a group that --launch started, one at a time, while
requests run, and prints one line of figures.

After each kill all of the requests must end, a new group must serve, and nothing of the old one may be left: no process, and no
file of Open MPI's in TMPDIR or /dev/shm. Fails when a group is not back within --seconds, when mpirun ends by a signal,
or when anything is left. The seed chooses the ranks and the moments."""
import argparse
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

SERVING = b"\x08\x01"  # grpc.health.v1.HealthCheckResponse{status: SERVING}
HANG_SECONDS = 60
WORKERS = 2
REQUESTS = 3  # that run when a rank is killed


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bin")
    parser.add_argument("tiny_model_file")
    parser.add_argument("--kills", type=int, default=30)
    parser.add_argument("--seconds", type=float, default=5, help="within which a group must serve again")
    parser.add_argument("--seed", type=int, default=time.time_ns() % 1000000)
    return parser.parse_args()


def processes_with(word):
    """Living processes whose command line holds the word: pid to command line."""
    found = {}
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{pid}/cmdline", "rb") as file:
                line = file.read().decode(errors="replace").split("\0")
            with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
                ended = file.read().rpartition(")")[2].split()[0] in "ZX"
        except OSError:
            continue
        if not ended and any(word in part for part in line):
            found[int(pid)] = line
    return found


def shared_files(pid):
    """The files in /dev/shm that the process has mapped."""
    try:
        with open(f"/proc/{pid}/maps", encoding="utf-8", errors="replace") as file:
            return set(re.findall(r" (/dev/shm/\S+)", file.read()))
    except OSError:
        return set()


class Cluster:
    def __init__(self, options, folder):
        self.folder = folder
        self.bin = options.bin
        self.model = os.path.join(folder, "tiny.gguf")
        self.temporary = os.path.join(folder, "tmp")
        self.log = os.path.join(folder, "log")
        os.mkdir(self.temporary)
        subprocess.run([options.tiny_model_file, self.model], check=True, timeout=60)
        ready = os.path.join(folder, "ready")
        environment = {**os.environ, "TMPDIR": self.temporary, "XDG_RUNTIME_DIR": folder}
        with open(self.log, "wb") as log:
            self.coordinator = subprocess.Popen(
                [os.path.join(options.bin, "longhaul-coordinator"), "--model", self.model, "--listen", "127.0.0.1:0",
                 "--ready-file", ready, "--launch", "--workers", str(WORKERS), "--transport", "mpi", "--threads", "1",
                 "--kernels", "reference"], stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment)
        while not os.path.exists(ready):
            assert self.coordinator.poll() is None, self.said()
            time.sleep(0.02)
        with open(ready, encoding="ascii") as file:
            self.address = file.readline().strip()
        import grpc
        channel = grpc.insecure_channel(self.address, options=[("grpc.enable_http_proxy", 0)])
        self.check = channel.unary_unary("/grpc.health.v1.Health/Check")

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def serves(self):
        return self.check(b"", timeout=5) == SERVING

    def ranks(self):
        return [pid for pid, line in processes_with(self.model).items()
                if os.path.basename(line[0]) == "longhaul-worker"]

    def answers(self, tokens, timeout):
        return subprocess.Popen(
            [os.path.join(self.bin, "longhaul"), "generate", "--server", self.address, "--raw", "--prompt", "a", "--seed",
             "1", "--temperature", "2", "--max-tokens", str(tokens)], stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)

    def wait(self, condition, seconds=HANG_SECONDS):
        """Seconds until the condition holds; None when it never does."""
        begin = time.monotonic()
        while time.monotonic() - begin < seconds:
            assert self.coordinator.poll() is None, self.said()
            if condition():
                return time.monotonic() - begin
            time.sleep(0.02)
        return None


def kill_one(cluster, choose):
    """Kills a rank; returns seconds until the next group answered (None: it did not), and what the old one left."""
    old = cluster.ranks()
    mapped = set().union(*(shared_files(pid) for pid in old))
    assert len(old) == WORKERS and mapped, (old, mapped)
    running = [cluster.answers(1900, 60) for _ in range(REQUESTS)]
    for asking in running:
        asking.stdout.read(1)
    time.sleep(choose.uniform(0, 0.3))
    begin = time.monotonic()
    os.kill(choose.choice(old), signal.SIGKILL)
    back = cluster.wait(lambda: cluster.serves() and not set(cluster.ranks()) & set(old))
    seconds = None
    if back is not None:
        answer = cluster.answers(5, 60)
        text = answer.communicate(timeout=HANG_SECONDS)[0]
        seconds = time.monotonic() - begin if answer.returncode == 0 and text else None
    for asking in running:
        asking.communicate(timeout=HANG_SECONDS)
        assert asking.returncode != 0, "a request outlived its group"
    return seconds, [path for path in mapped if os.path.exists(path)] + [pid for pid in old if alive(pid)]


def alive(pid):
    return os.path.exists(f"/proc/{pid}")


def main():
    options = arguments()
    choose = random.Random(options.seed)
    os.environ.update({"OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"})
    times, hangs, left, folders = [], 0, [], set()
    with tempfile.TemporaryDirectory(prefix="kill-ranks-") as folder:
        cluster = Cluster(options, folder)
        try:
            hangs += cluster.wait(cluster.serves) is None
            for _ in range(options.kills if not hangs else 0):
                folders |= {"/".join(path.split("/")[:4]) for pid in cluster.ranks() for path in shared_files(pid)}
                seconds, found = kill_one(cluster, choose)
                left += found
                hangs += seconds is None
                if seconds is None:
                    break
                times.append(seconds)
            cluster.coordinator.terminate()
            code = cluster.coordinator.wait(HANG_SECONDS)
        finally:
            cluster.coordinator.kill()
            for pid in cluster.ranks():
                os.kill(pid, signal.SIGKILL)
        left += [path for path in folders if os.path.exists(path)]
        left += [os.path.join(where, name) for where, below, names in os.walk(cluster.temporary)
                 for name in below + names]
        left += list(processes_with(cluster.model))
        log = cluster.said()
    crashes = len(re.findall(r"event=\"workers ended\" .*signal=", log))
    slow = sum(seconds >= options.seconds for seconds in times)
    passed = not (hangs or left or crashes or slow or code) and len(times) == options.kills
    print(f"kill_ranks: {len(times)} kills, {hangs} hangs, {len(left)} leftovers, {crashes} crashes of mpirun, "
          f"answered again after {statistics.median(times or [0]):.2f} s (median), {max(times or [0]):.2f} s (most), "
          f"{slow} over {options.seconds:g} s, exit code {code}: {'PASS' if passed else 'FAIL'}, seed {options.seed}")
    if not passed:
        print(*left, log, sep="\n", file=sys.stderr)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
