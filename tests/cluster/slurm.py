"""A real Slurm on emulated hosts: munged and slurmctld on the head, a slurmd on each of the others, as Debian packs them.

    with Hosts(3, "requeue") as hosts, Slurm(hosts) as slurm:
        job = slurm.sbatch(script, "--nodes=2", "--requeue")
        state, code = slurm.wait(job, 60)

Everything of it lies in hosts.folder and ends with the hosts. Raises unittest.SkipTest where Slurm is not installed."""
import os
import re
import shutil
import subprocess
import time
import unittest

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
START_SECONDS = 30
ENDED = {"BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "TIMEOUT"}

CONFIGURATION = """ClusterName={name}
SlurmctldHost={head}({address})
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
SlurmctldPort=16817
SlurmdPort=16818
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool.%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerType=sched/backfill
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
ReturnToService=2
SlurmctldTimeout=10
SlurmdTimeout={node_seconds}
KillWait={kill_seconds}
MpiDefault=none
JobRequeue=1
RequeueExit=75
MinJobAge=3600
SlurmdParameters=config_overrides
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP OverSubscribe=NO
"""


class Slurm:
    def __init__(self, hosts, cpus=2, node_seconds=10, kill_seconds=5):
        """cpus: of each host. node_seconds: after which a silent host is down, and its jobs go back to the queue.
        kill_seconds: between SIGTERM and SIGKILL at a job's end."""
        self.hosts, self.cpus = hosts, cpus
        self.folder = os.path.join(hosts.folder, "slurm")
        self.node_seconds, self.kill_seconds = node_seconds, kill_seconds
        self.environment = {"PATH": os.environ["PATH"], "HOME": hosts.folder, "LANG": "C.UTF-8",
                            "SLURM_CONF": os.path.join(self.folder, "slurm.conf")}
        self.node_daemons = {}

    def __enter__(self):
        missing = [each for each in PROGRAMS if not shutil.which(each)]
        if missing:
            raise unittest.SkipTest("Slurm is not here: no %s" % ", ".join(missing))
        os.makedirs(os.path.join(self.folder, "state"))
        self.configure()
        self.daemon(0, "munged", "--foreground", "--force", "--key-file", self.path("key"), "--socket", self.path("munge.socket"),
                    "--pid-file", self.path("munged.pid"), "--log-file", self.path("munged.log"), "--seed-file", self.path("seed"))
        self.wait_until(lambda: os.path.exists(self.path("munge.socket")), START_SECONDS, "munged listens")
        self.daemon(0, "slurmctld", "-D", "-f", self.path("slurm.conf"))
        for i in range(1, self.hosts.count + 1):
            self.start_node(i)
        self.wait_until(lambda: self.idle() == self.hosts.count, START_SECONDS, "all nodes are idle")
        return self

    def __exit__(self, *_):
        """The hosts may live on, so that what Slurm's own processes are is ended here; of jobs none should be left."""
        for i in range(self.hosts.count + 1):
            self.hosts.kill(i)

    def path(self, *parts):
        return os.path.join(self.folder, *parts)

    def configure(self):
        with open(self.path("key"), "wb") as file:
            os.chmod(self.path("key"), 0o400)
            file.write(os.urandom(1024))
        nodes = "\n".join("NodeName=%s NodeAddr=%s CPUs=%d RealMemory=4000 State=UNKNOWN" %
                          (self.hosts.name(i), self.hosts.address(i), self.cpus) for i in range(1, self.hosts.count + 1))
        with open(self.path("slurm.conf"), "w", encoding="ascii") as file:
            file.write(CONFIGURATION.format(
                name=self.hosts.name_, head=self.hosts.name(0), address=self.hosts.address(0), folder=self.folder, nodes=nodes,
                node_seconds=self.node_seconds, kill_seconds=self.kill_seconds))
        with open(self.path("mpi.conf"), "w", encoding="ascii") as file:
            file.write("PMIxCliTmpDirBase=/tmp\n")  # each host's own: else the second to make its folder there fails

    def change(self, key, value):
        """Gives a key of slurm.conf another value, None: no value, and has all daemons take it. Returns the value it had."""
        with open(self.path("slurm.conf"), encoding="ascii") as file:
            text = file.read()
        was = re.search(r"^%s=(.*)$" % key, text, re.M)
        text = re.sub(r"^%s=.*\n" % key, "", text, flags=re.M) + ("" if value is None else "%s=%s\n" % (key, value))
        with open(self.path("slurm.conf"), "w", encoding="ascii") as file:
            file.write(text)
        subprocess.CompletedProcess.check_returncode(self.run(["scontrol", "reconfigure"]))
        self.wait_until(lambda: self.idle() == self.hosts.count, START_SECONDS, "all nodes are idle")
        return was and was[1]

    def daemon(self, i, *words):
        with open(self.path("%s.%d.out" % (words[0], i)), "ab") as output:
            return self.hosts.start(i, words, env=self.environment, stdout=output, stderr=output, start_new_session=True)

    def start_node(self, i):
        """Starts the node daemon of host i, also again after it was killed."""
        os.makedirs(self.path("spool." + self.hosts.name(i)), exist_ok=True)
        self.node_daemons[i] = self.daemon(i, "slurmd", "-D", "-N", self.hosts.name(i), "-f", self.path("slurm.conf"))

    def idle(self):
        result = self.run(["sinfo", "--noheader", "--states=idle", "--format=%D"])
        return int(result.stdout.strip() or 0) if result.returncode == 0 else 0

    def said(self):
        """The ends of the daemons' logs."""
        text = ""
        for each in sorted(os.listdir(self.folder)):
            if each.endswith((".log", ".out")):
                with open(self.path(each), encoding="utf-8", errors="replace") as file:
                    text += "---- %s ----\n%s" % (each, "".join(file.readlines()[-30:]))
        return text

    def wait_until(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise AssertionError("not in %s s: %s\n%s" % (seconds, what, self.said()))
            time.sleep(0.03)

    # ---- what a user does ----

    def run(self, argv, timeout=60, env=None, **arguments):
        """Runs a command on the head, as who is logged in there, in hosts.folder: a CompletedProcess with text."""
        return self.hosts.run(0, argv, timeout, env={**self.environment, **(env or {})}, **arguments)

    def sbatch(self, script, *options, arguments=(), env=None, cwd=None):
        """Submits a script (its path); returns the job's number."""
        result = self.run(["sbatch", "--parsable", *options, script, *arguments], env=env, cwd=cwd)
        if result.returncode:
            raise AssertionError("sbatch: " + result.stderr)
        return result.stdout.strip().split(";")[0]

    def job(self, job):
        """The fields of `scontrol show job`; of an array, those of its first task there. Empty once Slurm has forgotten it."""
        result = self.run(["scontrol", "--oneliner", "show", "job", job])
        return dict(re.findall(r"(\w+)=(\S*)", result.stdout.split("\n")[0])) if result.returncode == 0 else {}

    def wait(self, job, seconds):
        """Waits until the job, every task of it, has ended for good; returns its state and exit code: ("COMPLETED", 0), or for
        a signal its number below zero."""
        found = []

        def ended():
            result = self.run(["scontrol", "--oneliner", "show", "job", job])
            found[:] = re.findall(r"JobState=(\w+).*?Restarts=.*?ExitCode=(\d+):(\d+)", result.stdout)
            return found and all(state in ENDED for state, *_ in found)
        self.wait_until(ended, seconds, "job %s has ended: %s" % (job, self.run(["scontrol", "show", "job", job]).stdout))
        states = [(state, int(code) or -int(number)) for state, code, number in found]
        return next((each for each in states if each != ("COMPLETED", 0)), states[0])

    def start_again(self, job, seconds):
        """Waits until the job is in the queue again, and has it start now, not after Slurm's two minutes."""
        def is_clear():
            lines = [line[0] for i in range(1, self.hosts.count + 1) for line in self.hosts.processes(i).values()]
            return not any(line.startswith("slurmstepd: [%s." % job) for line in lines)
        self.wait_until(lambda: self.job(job).get("Restarts", "0") != "0" and is_clear(), seconds, "job %s is queued again" % job)
        time.sleep(1.1)  # a node tells the new start from the one that it has just ended by the second
        self.wait_until(lambda: self.run(["scontrol", "update", "JobId=" + job, "StartTime=now"]).returncode == 0, seconds,
                        "job %s may start" % job)

    def cancel(self, job):
        subprocess.CompletedProcess.check_returncode(self.run(["scancel", job]))
