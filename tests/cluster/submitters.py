"""submitters BIN TESTS [--clients N] [--seconds S] [--share PERCENT]: row F17 of the contract. Starts a coordinator with a store,
has N clients create batches over gRPC (tests/durability/submit_load.c), kills the coordinator with -9, starts it again on what it has
left, and looks for every batch that was acknowledged. Prints a line for each figure: `name figure gate PASS|FAIL seed`, and what a submission takes of the
processor on both sides, beside an empty call of the same coordinator and of a server that does nothing else."""
import argparse
import os
import re
import sqlite3
import subprocess
import sys
import tempfile
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("bin")
parser.add_argument("tests")
parser.add_argument("--clients", type=int, default=256)
parser.add_argument("--seconds", type=float, default=20)
parser.add_argument("--share", type=int, default=100, help="of the contract's rate that is asked for")
options = parser.parse_args()
RESTART_SECONDS = 5  # with up to a million batches; with 100,000, row F6, two


def resident_mib(pid):
    with open("/proc/%d/statm" % pid, encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def cpu_seconds(pid):
    with open("/proc/%d/stat" % pid, encoding="ascii") as file:
        fields = file.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def submit(address, seconds, *words):
    return subprocess.run(
        [os.path.join(options.tests, "submit_load"), "--server", address, "--clients", str(options.clients), "--seconds",
         str(seconds), *words], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds + 120, check=False)


def costs(told, server_seconds):
    """Microseconds of the processor a call: the server's, the client's."""
    calls = int(re.search(r"^acknowledged (\d+)$", told.stdout, re.M)[1])
    return server_seconds * 1e6 / max(calls, 1), float(re.search(r"^client_cpu_us (\S+)$", told.stdout, re.M)[1])


def start(folder, model, store):
    """A coordinator, its address, and the seconds until it serves."""
    ready = os.path.join(folder, "ready")
    if os.path.exists(ready):
        os.remove(ready)
    begin = time.monotonic()
    with open(os.path.join(folder, "log"), "ab") as log:
        coordinator = subprocess.Popen(
            [os.path.join(options.bin, "longhaul-coordinator"), "--model", model, "--listen", "127.0.0.1:0", "--ready-file", ready,
             "--store", store, "--max-calls", "2048", "--log-level", "warn", "--join-secret", os.path.join(folder, "secret")],
            stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    while not os.path.exists(ready):
        assert coordinator.poll() is None, "the coordinator has ended"
        time.sleep(0.005)
    with open(ready, encoding="ascii") as file:
        return coordinator, file.readline().split()[0], time.monotonic() - begin


def bare_costs(seconds):
    server = subprocess.Popen([os.path.join(options.tests, "bare_server")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        told = submit(server.stdout.readline().strip(), seconds, "--empty", "/nothing/Nothing")
        rest, _ = server.communicate("", timeout=20)
    finally:
        server.kill()
    return float(re.search(r"cpu_us (\S+)", rest)[1]), float(re.search(r"^client_cpu_us (\S+)$", told.stdout, re.M)[1])


def main():
    with tempfile.TemporaryDirectory(prefix="longhaul-submitters-") as folder:
        model, store = (os.path.join(folder, name) for name in ("tiny.gguf", "store"))
        subprocess.run([os.path.join(options.tests, "tiny_model_file"), model], check=True, timeout=60)
        coordinator, address, _ = start(folder, model, store)
        try:
            before = cpu_seconds(coordinator.pid)
            result = submit(address, options.seconds, "--share", str(options.share))
            submission = costs(result, cpu_seconds(coordinator.pid) - before)
            resident = resident_mib(coordinator.pid)
            before = cpu_seconds(coordinator.pid)
            empty = costs(submit(address, options.seconds / 4, "--empty", "/grpc.health.v1.Health/Check"),
                          cpu_seconds(coordinator.pid) - before)
        finally:
            coordinator.kill()
            coordinator.wait(20)
        sys.stdout.write(result.stdout)
        print("processor time, us, coordinator + client: a submission %.0f + %.0f, an empty call %.0f + %.0f, "
              "one of a server that does nothing %.0f + %.0f" % (*submission, *empty, *bare_costs(options.seconds / 4)))
        sys.stderr.write(result.stderr)
        coordinator, _, restart = start(folder, model, store)
        coordinator.terminate()
        coordinator.wait(60)
        told = re.search(r"^acknowledged (\d+)$", result.stdout, re.M)
        acknowledged = int(told[1]) if told else 0
        verified = subprocess.run([os.path.join(options.bin, "longhaul"), "store", "verify", store], stdin=subprocess.DEVNULL,
                                  capture_output=True, text=True, timeout=600, check=False)
        with sqlite3.connect(os.path.join(store, "store.db")) as database:
            there = database.execute("SELECT count(*) FROM batches").fetchone()[0]
        database.close()
        whole = acknowledged > 0 and there == acknowledged and verified.returncode == 0
        print("F17.lost %d of %d, resident %.0f MiB, gate 0, 1024 MiB %s seed 0" % (
            acknowledged - there, acknowledged, resident, "PASS" if whole and resident <= 1024 else "FAIL"))
        soon = restart <= RESTART_SECONDS
        print("F17.restart_seconds %.2f with %d queued, gate %g %s seed 0" % (restart, there, RESTART_SECONDS, "PASS" if soon else "FAIL"))
        sys.stderr.write(verified.stdout + verified.stderr)
        return 0 if whole and resident <= 1024 and result.returncode == 0 and soon else 1


if __name__ == "__main__":
    sys.exit(main())
