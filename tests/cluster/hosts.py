"""Emulated hosts on this one: what several machines on a network are to a program, in namespaces of the kernel.

    with Hosts(3, "faults") as hosts:               # host 0 is the head; 1, 2 and 3 are the others
        server = hosts.start(0, ["longhaul-coordinator", ...])
        hosts.run(0, ["mpirun", "--mca", "plm_rsh_agent", hosts.agent, "--host", hosts.name(1), ...], timeout=60)
        hosts.cut(2)

A host has a network, a name, /tmp and /dev/shm of its own; all see the rest of the disk, and of /tmp `hosts.folder`, the source
tree and what is given as `shared`, as hosts see a file system that they share. Their addresses (198.18.0.0/24, set aside
for such use) are reachable from each other only. Everything has the test's name in it: at the end, also of a test
that was killed, a guard ends all that runs on the hosts and removes them; a later run of the name does so too,
and one that comes meanwhile waits. Raises unittest.SkipTest, with the reason, where the kernel forbids it."""
import fcntl
import functools
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

SOURCE = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
PYTHON = "/usr/bin/python3"
NETWORKS = "/run/netns"
PREFIX = "longhaul-"  # of network namespaces and of the folder in /tmp
END_SECONDS = 10
TURN_SECONDS = 300  # that a test waits for one of the same name
# What ssh would give a program on another host: nothing of this environment.
PLAIN = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8"}

ATTEMPT = """mount -t tmpfs none /dev/shm
ip link add left0 type veth peer name right0
ip link add bridge type bridge"""

# Run as the keeper of a host, whose name and folder and shared folders are its arguments.
KEEPER = """set -e
name=$1 folder=$2; shift 2
hostname "$name"
mount --bind "$folder/hosts" /etc/hosts
mount -t tmpfs longhaul /dev/shm
private=$folder/tmp.$name; mkdir "$private"; mount -t tmpfs longhaul "$private"; chmod 1777 "$private"
for shared; do mkdir -p "$private/${shared#/tmp/}"; mount --bind "$shared" "$private/${shared#/tmp/}"; done
mount --move "$private" /tmp
echo ready; exec sleep infinity <&- >&-"""

# Stands for ssh: the words after the host's name go through a shell there.
AGENT = """#!/bin/sh
host=$1; shift
read -r keeper cores <{folder}/keeper.$host || exit 255
exec env -i {plain} HOME="$HOME" USER="$USER" taskset -c $cores nsenter -t $keeper -n -u -m --wdns={folder} -- sh -c "$*"
"""

ECHO = """import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("", 7)); print("ready", flush=True)
while True: s.sendto(*s.recvfrom(64))"""
PING = """import socket, sys, time, statistics
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(1); s.connect((sys.argv[1], 7)); times = []
for i in range(int(sys.argv[2])):
    begin = time.perf_counter(); s.send(b"x" * 64)
    try: s.recv(64); times.append(time.perf_counter() - begin)
    except TimeoutError: pass
print(statistics.median(times))"""


def command(*words, check=True):
    result = subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False)
    if check and result.returncode:
        raise RuntimeError("%s: %s" % (" ".join(words), result.stderr.strip()))
    return result


def network(name, which):
    return "%s%s-%s" % (PREFIX, name, which)


def folder_of(name):
    return os.path.join("/tmp", PREFIX + "hosts-" + name)


def processes_in(namespace):
    """Processes of a network namespace, by its name: pid to command line. A zombie is in none."""
    found = {}
    try:
        wanted = os.stat(os.path.join(NETWORKS, namespace)).st_ino
    except OSError:
        return found
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            if os.stat("/proc/%s/ns/net" % pid).st_ino == wanted:
                with open("/proc/%s/cmdline" % pid, "rb") as file:
                    found[int(pid)] = file.read().decode(errors="replace").rstrip("\0").split("\0")
        except OSError:
            pass
    return found


def signal_all(namespace, number, spare=(), until=lambda pid: False):
    """Sends the signal to every process of the namespace until none is left that has not had its effect."""
    deadline = time.monotonic() + END_SECONDS
    while True:
        pids = [pid for pid in processes_in(namespace) if pid not in spare and not until(pid)]
        if not pids:
            return
        if time.monotonic() > deadline:
            raise RuntimeError("processes %s of %s do not react to signal %d" % (pids, namespace, number))
        for pid in pids:
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
        time.sleep(0.005)


def is_stopped(pid):
    try:
        with open("/proc/%d/stat" % pid, encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] in "TtZX"
    except OSError:
        return True


def clear(name):
    """Ends and removes all that hosts of this name left: processes, namespaces (with them mounts and links), the folder."""
    pattern = re.compile(re.escape(network(name, "")) + r"(\d+|hub)")
    left = [each for each in os.listdir(NETWORKS) if pattern.fullmatch(each)] if os.path.isdir(NETWORKS) else []
    for each in left:
        signal_all(each, signal.SIGKILL)
    for each in left:
        command("ip", "netns", "del", each)
    folder = folder_of(name)
    if os.path.isdir(folder):
        for each in os.listdir(folder):  # the locked folder itself goes last, so that who waits for it finds it empty
            path = os.path.join(folder, each)
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.remove(path)
        os.rmdir(folder)


def take(name, seconds):
    """Locks the name's folder, made where there is none, against tests of the same name; None: not in so many seconds."""
    deadline = time.monotonic() + seconds
    while True:
        os.makedirs(folder_of(name), mode=0o755, exist_ok=True)
        try:
            lock = os.open(folder_of(name), os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(folder_of(name)) and os.fstat(lock).st_ino == os.stat(folder_of(name)).st_ino:
                return lock
        except (BlockingIOError, FileNotFoundError):
            pass
        os.close(lock)
        if time.monotonic() > deadline:
            return None
        time.sleep(0.05)


def guard(name):
    """Waits until whoever started it has gone, and removes what is left then."""
    sys.stdin.read()
    lock = take(name, END_SECONDS)  # the end of a process closes its files one after another
    if lock is not None:  # else the name is another's already, who has removed it
        clear(name)


@functools.lru_cache
def ahead():
    """The words before a command that lets it run ahead of whatever else wants a core, so that a link's delay is the link's."""
    words = ["chrt", "--fifo", "10"]
    return words if command(*words, "true", check=False).returncode == 0 else []


def forbidden():
    """Why there can be no hosts here; None: there can."""
    if os.geteuid() != 0:
        return "emulated hosts need root, for network namespaces"
    missing = [each for each in ("ip", "tc", "nsenter", "unshare", "taskset", "mount") if not shutil.which(each)]
    if missing:
        return "emulated hosts need %s (Debian: iproute2, util-linux)" % ", ".join(missing)
    result = command("unshare", "--net", "--uts", "--mount", "--propagation", "private", "sh", "-ec", ATTEMPT, check=False)
    return "this kernel forbids emulated hosts: " + result.stderr.strip() if result.returncode else None


def left(name):
    """What hosts of this name have left, each in a few words; nothing where all was removed."""
    networks = [each for each in (os.listdir(NETWORKS) if os.path.isdir(NETWORKS) else []) if each.startswith(network(name, ""))]
    found = ["network namespace " + each for each in networks]
    found += ["process %d" % pid for each in networks for pid in processes_in(each)]
    with open("/proc/self/mounts", encoding="utf-8") as file:
        found += ["mount " + line.split()[1] for line in file if folder_of(name) in line or network(name, "") in line]
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/cmdline" % pid, "rb") as file:
                line = file.read().decode(errors="replace")
        except OSError:
            continue
        if folder_of(name) in line or "--guard\0%s\0" % name in line:
            found.append("process %s: %s" % (pid, line.replace("\0", " ")))
    return found + [path for path in [folder_of(name)] if os.path.exists(path)]


def run_tests(*needed):
    """Runs the tests of the module that calls; where there can be no hosts, or a program is missing, says why and exits as ctest
    wants it of a skipped test."""
    missing = [each for each in needed if not shutil.which(each)]
    reason = forbidden() or ("not installed: " + ", ".join(missing) if missing else None)
    if reason:
        print("skipped:", reason)
        sys.exit(77)
    unittest.main(argv=sys.argv[:1], verbosity=2)


class Hosts:
    def __init__(self, count, name, cores=None, shared=(), tests=None):
        """count: hosts besides the head. name: letters, of the test. cores: how many each host has, of this machine's, dealt
        out in turn; None: all. shared: folders in /tmp that all hosts see. tests: the build's folder of test programs,
        where lan-switch is, for delay()."""
        assert re.fullmatch(r"[a-z]{1,10}", name) and 1 <= count <= 64, (name, count)
        self.count, self.name_ = count, name
        self.tests = tests and os.path.abspath(tests)  # its processes have another working directory
        self.folder = folder_of(name)
        self.agent = os.path.join(self.folder, "agent")
        self.shared = [os.path.realpath(each) for each in (SOURCE, *shared)]
        self.cores_each = cores
        self.started, self.keepers, self.lock, self.guard, self.switch, self.bridge_seconds = [], [], None, None, None, None

    # ---- who is who ----

    def name(self, i):
        return "%s%d" % (self.name_, i)

    def address(self, i):
        return "198.18.0.%d" % (10 + i)

    def cores(self, i):
        """The cores that host i has."""
        all_cores = sorted(os.sched_getaffinity(0))
        if self.cores_each is None or i == 0:
            return all_cores
        return sorted({all_cores[((i - 1) * self.cores_each + k) % len(all_cores)] for k in range(self.cores_each)})

    def network(self, which):
        return network(self.name_, which)

    # ---- made and removed ----

    def __enter__(self):
        reason = forbidden()
        if reason:
            raise unittest.SkipTest(reason)
        self.lock = take(self.name_, TURN_SECONDS)
        assert self.lock is not None, "another test has the name %s since %d s" % (self.name_, TURN_SECONDS)
        try:
            clear(self.name_)
            os.close(self.lock)
            self.lock = take(self.name_, TURN_SECONDS)
            self.start_guard()
            self.make()
        except BaseException:
            self.remove()
            raise
        return self

    def __exit__(self, *_):
        self.remove()

    def start_guard(self):
        """A process of its own session and of no parent that outlives whoever kills this test and its children."""
        reader, self.guard = os.pipe()
        done, done_writer = os.pipe()
        words = [PYTHON, "-B", os.path.abspath(__file__), "--guard", self.name_]
        subprocess.run(["setsid", "--fork", *words], stdin=reader, stdout=done_writer, stderr=subprocess.DEVNULL, check=True,
                       cwd="/", env=PLAIN, timeout=30)
        os.close(reader)
        os.close(done_writer)
        self.guard_done = done

    def make(self):
        with open(os.path.join(self.folder, "hosts"), "w", encoding="ascii") as file:
            file.write("127.0.0.1 localhost\n")
            file.writelines("%s %s\n" % (self.address(i), self.name(i)) for i in range(self.count + 1))
        plain = " ".join("%s=%s" % item for item in PLAIN.items())
        with open(self.agent, "w", encoding="ascii") as file:
            file.write(AGENT.format(folder=self.folder, plain=plain))
        os.chmod(self.agent, 0o755)
        hub = self.network("hub")
        command("ip", "netns", "add", hub)
        command("ip", "-n", hub, "link", "add", "bridge", "type", "bridge")
        command("ip", "-n", hub, "link", "set", "bridge", "up")
        for i in range(self.count + 1):
            self.make_host(i, hub)

    def make_host(self, i, hub):
        host, port = self.network(i), "v%d" % i
        command("ip", "netns", "add", host)
        command("ip", "link", "add", "eth0", "netns", host, "type", "veth", "peer", "name", port, "netns", hub)
        command("ip", "-n", hub, "link", "set", port, "master", "bridge", "up")
        command("ip", "-n", host, "addr", "add", self.address(i) + "/24", "dev", "eth0")
        command("ip", "-n", host, "link", "set", "eth0", "up")
        command("ip", "-n", host, "link", "set", "lo", "up")
        # In /tmp, and in none of the others.
        shared = sorted({each for each in (self.folder, *self.shared) if each.startswith("/tmp/")})
        shared = [each for each in shared if not any(each.startswith(other + "/") for other in shared)]
        keeper = subprocess.Popen(
            ["nsenter", "--net=" + os.path.join(NETWORKS, host), "unshare", "--uts", "--mount", "--propagation", "private", "bash",
             "-c", KEEPER, "keeper", self.name(i), self.folder, *shared], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
            stderr=subprocess.PIPE, text=True, env=PLAIN, cwd="/", start_new_session=True)
        self.keepers.append(keeper)
        if keeper.stdout.readline() != "ready\n":
            raise RuntimeError("host %d: %s" % (i, keeper.stderr.read()))
        with open(os.path.join(self.folder, "keeper." + self.name(i)), "w", encoding="ascii") as file:
            file.write("%d %s\n" % (keeper.pid, ",".join(map(str, self.cores(i)))))

    def remove(self):
        try:
            clear(self.name_)
        finally:
            for process in (*self.started, *self.keepers):
                process.wait(END_SECONDS)
                for stream in (process.stdout, process.stderr):
                    if stream:
                        stream.close()
            if self.lock is not None:
                os.close(self.lock)
            if self.guard is not None:
                os.close(self.guard)  # it finds nothing, and ends
                os.read(self.guard_done, 1)
                os.close(self.guard_done)
            self.lock = self.guard = None

    # ---- processes on them ----

    def words(self, i, argv, cores=None, cwd=None):
        """The command that runs argv on host i, from anywhere; each part becomes the next, so that the process is argv's."""
        cores = ",".join(map(str, cores or self.cores(i)))
        return ["taskset", "-c", cores, "nsenter", "-t", str(self.keepers[i].pid), "-n", "-u", "-m",
                "--wdns=" + (cwd or self.folder), "--", *argv]

    def start(self, i, argv, env=None, cores=None, cwd=None, **arguments):
        """Starts argv on host i (Popen, with its arguments). Its folder is hosts.folder, and env, where given, all it has."""
        arguments.setdefault("stdin", subprocess.DEVNULL)
        process = subprocess.Popen(self.words(i, argv, cores, cwd), env=env, cwd="/", **arguments)
        self.started.append(process)
        return process

    def run(self, i, argv, timeout, env=None, cores=None, cwd=None, **arguments):
        """Runs argv on host i to its end: a CompletedProcess with what it said, as text. After the timeout it is killed."""
        arguments = {"stdin": subprocess.DEVNULL, "capture_output": True, "text": True, "check": False, **arguments}
        return subprocess.run(self.words(i, argv, cores, cwd), timeout=timeout, env=env, cwd="/", **arguments)

    def processes(self, i):
        """What runs on host i: pid to command line."""
        found = processes_in(self.network(i))
        found.pop(self.keepers[i].pid, None)
        return found

    def kill(self, i):
        """Power off: every process of host i ends at once. The host itself is there again, empty."""
        signal_all(self.network(i), signal.SIGKILL, [self.keepers[i].pid])

    def stop(self, i):
        """Every process of host i stands still."""
        signal_all(self.network(i), signal.SIGSTOP, [self.keepers[i].pid], is_stopped)

    def resume(self, i):
        """After stop()."""
        for pid in self.processes(i):
            os.kill(pid, signal.SIGCONT)

    # ---- the network between them ----

    def cut(self, i):
        """Pulls host i's cable."""
        command("ip", "-n", self.network("hub"), "link", "set", "v%d" % i, "down")

    def heal(self, i):
        """Puts the cable back, and waits until both ends know of it."""
        command("ip", "-n", self.network("hub"), "link", "set", "v%d" % i, "up")
        deadline = time.monotonic() + END_SECONDS
        while not all(",LOWER_UP" in command("ip", "-n", where, "link", "show", link).stdout
                      for where, link in ((self.network(i), "eth0"), (self.network("hub"), "v%d" % i))):
            if time.monotonic() > deadline:
                raise RuntimeError("the link of host %d does not come back" % i)
            time.sleep(0.02)
        # What either side has noted of the other meanwhile: that it cannot be reached.
        for host in range(self.count + 1):
            command("ip", "-n", self.network(host), "neigh", "flush", "all", check=False)

    def shape(self, i, rate):
        """Host i's link carries that much each way, in tc's words ("200mbit"); None: what the kernel can do."""
        for where, link in ((self.network(i), "eth0"), (self.network("hub"), "v%d" % i)):
            if rate is None:
                command("tc", "-n", where, "qdisc", "del", "dev", link, "root", check=False)
            else:
                number, unit = re.fullmatch(r"([\d.]+)([kmg]?)bit", rate).groups()
                bits = float(number) * {"": 1, "k": 1e3, "m": 1e6, "g": 1e9}[unit]
                burst = max(64 << 10, int(bits / 8 * 0.002))  # one segment that the sender left uncut, or 2 ms
                command("tc", "-n", where, "qdisc", "replace", "dev", link, "root", "tbf", "rate", rate, "burst", str(burst), "latency",
                        "200ms")

    def delay(self, us, lost=0.0):
        """Every frame takes so many microseconds longer, one way, and this share of all is lost; None: neither. Returns what the
        switch that does it adds itself, in microseconds (median, one way), which is printed too."""
        if self.bridge_seconds is None:
            self.bridge_seconds = self.round_trip(0, 1)
        hub, ports = self.network("hub"), ["v%d" % i for i in range(self.count + 1)]
        if self.switch:
            self.switch.kill()
            self.switch.wait()
            self.switch = None
        for port in ports:
            command("ip", "-n", hub, "link", "set", port, *(["master", "bridge"] if us is None else ["nomaster"]))
        if us is None:
            return 0.0
        words = [*ahead(), "nsenter", "--net=" + os.path.join(NETWORKS, hub), os.path.join(self.tests, "lan-switch"), str(us), str(int(lost * 1e6)), *ports]
        self.switch = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        self.started.append(self.switch)
        if self.switch.stdout.readline() != "ready\n":
            raise RuntimeError("lan-switch ended")
        own = (self.round_trip(0, 1) - self.bridge_seconds) / 2 * 1e6 - us
        print("hosts: a delay of %d us asked, the switch adds %.0f us (median, one way)" % (us, own), flush=True)
        return own

    def round_trip(self, i, j, count=100):
        """Seconds from host i to host j and back, of a message of 64 bytes: the median."""
        server = self.start(j, [*ahead(), PYTHON, "-SEc", ECHO], stdout=subprocess.PIPE)
        try:
            server.stdout.readline()
            result = self.run(i, [*ahead(), PYTHON, "-SEc", PING, self.address(j), str(count)], timeout=60)
            if result.returncode:
                raise RuntimeError(result.stderr)
            return float(result.stdout)
        finally:
            server.kill()
            server.wait()


if __name__ == "__main__":
    if sys.argv[1:2] == ["--guard"]:
        guard(sys.argv[2])
