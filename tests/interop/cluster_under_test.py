"""A coordinator and stand-in workers as processes, and a stock gRPC client (Debian's python3-grpcio, stubs by protoc)."""
import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import unittest

BIN, TESTS, SOURCE = sys.argv[1:4]
FOLDER = tempfile.mkdtemp(prefix="longhaul-interop-")
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
MODEL = os.path.join(FOLDER, "tiny.gguf")
os.environ["XDG_RUNTIME_DIR"] = FOLDER  # join secrets of coordinators
PROTOS = ["longhaul/v1/inference.proto", "longhaul/v1/batches.proto", "longhaul/v1/sessions.proto", "longhaul/control/v1/control.proto"]
SYSTEM_PROTOS = ["grpc/health/v1/health.proto", "grpc/reflection/v1alpha/reflection.proto"]


def prepare():
    stubs = os.path.join(FOLDER, "stubs")
    os.mkdir(stubs)
    subprocess.run(["protoc", "-I", os.path.join(SOURCE, "proto"), "--python_out", stubs, *PROTOS], check=True)
    # Beside the package grpc itself, so under a folder of its own.
    system = os.path.join(FOLDER, "system")
    for proto in SYSTEM_PROTOS:
        target = os.path.join(system, os.path.basename(proto))
        os.makedirs(system, exist_ok=True)
        shutil.copy(os.path.join("/usr/share/grpc-proto", proto), target)
    subprocess.run(["protoc", "-I", system, "--python_out", stubs, "health.proto",
                    "reflection.proto"], check=True)
    subprocess.run([os.path.join(TESTS, "tiny_model_file"), MODEL], check=True, timeout=60)
    sys.path.insert(0, stubs)


prepare()
import grpc  # noqa: E402
import health_pb2  # noqa: E402
import reflection_pb2  # noqa: E402
from longhaul.v1 import inference_pb2 as pb  # noqa: E402

INFERENCE = "/longhaul.v1.Inference/"
# What a sanitizer says of a fault; not of leaks: Open MPI has some (tests/support/openmpi-leaks.supp).
SANITIZER = r"(Thread|Address)Sanitizer: (?!\d+ byte)|: runtime error: "


def wait_until(condition, seconds, what):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.02)
    raise AssertionError("not in %s s: %s" % (seconds, what))


class ClusterTest(unittest.TestCase):
    def setUp(self):
        self.processes = []
        self.logs = {}
        self.coordinator = None
        self.addCleanup(self.end_all)

    def spawn(self, name, *command, environment=None, **arguments):
        path = os.path.join(FOLDER, "%s-%d.log" % (name, len(self.processes)))
        with open(path, "wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       env=environment, **arguments)
        self.processes.append(process)
        self.logs[process] = path
        return process

    def log_of(self, process):
        with open(self.logs[process], encoding="utf-8", errors="replace") as file:
            return file.read()

    def wait_logged(self, process, pattern):
        """The log has a thread of its own: a line may be written after what it tells of is seen."""
        wait_until(lambda: re.search(pattern, self.log_of(process)), 10, "the log has " + pattern)

    def end_all(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait(10)
        result = self._outcome.result
        if any(test is self for test, _ in result.failures + result.errors):
            for process in self.processes:
                print("---- %s ----\n%s" % (self.logs[process], self.log_of(process)),
                      file=sys.stderr)
        for process in self.processes:  # killed, so its exit code does not tell
            self.assertNotRegex(self.log_of(process), SANITIZER, self.logs[process])

    def start(self, *flags, program=None, environment=None, **arguments):
        """Starts a coordinator and connects a channel to it."""
        ready = os.path.join(FOLDER, "ready-%d" % time.monotonic_ns())
        self.coordinator = self.spawn(
            "coordinator", program or os.path.join(BIN, "longhaul-coordinator"), "--model", MODEL,
            "--listen", "127.0.0.1:0", "--ready-file", ready, *flags, environment=environment,
            **arguments)
        wait_until(lambda: os.path.exists(ready) or self.coordinator.poll() is not None, 30,
                   "the coordinator listens")
        self.assertIsNone(self.coordinator.poll(), self.log_of(self.coordinator))
        with open(ready, encoding="utf-8") as file:
            self.address, self.worker_address, *more = file.read().split()
        self.http_address = more[0] if more else None  # with --http
        self.channel = grpc.insecure_channel(self.address,
                                             options=[("grpc.enable_http_proxy", 0)])
        self.addCleanup(self.channel.close)

    def worker(self, *flags):
        return self.spawn("worker", os.path.join(TESTS, "fake-worker"), "--coordinator",
                          self.worker_address, "--model", MODEL, *flags)

    def echo(self, *flags):
        """Ranks whose answers follow from the prompts (tests/support/echo_oracle.py)."""
        return self.spawn("echo", os.path.join(TESTS, "echo-worker"), "--coordinator", self.worker_address, "--model",
                          MODEL, *flags)

    def workers(self, size, *flags, group="g"):
        """Starts a whole group and waits until it is ready."""
        started = [self.worker("--rank=%d" % rank, "--size=%d" % size, "--group=" + group, *flags)
                   for rank in range(size)]
        self.wait_ready(group)
        return started

    def wait_ready(self, group="g"):
        def ready():
            return any(g.group_id == group and g.state == pb.GROUP_STATE_READY
                       for g in self.cluster().groups)
        wait_until(ready, 15, "the group %s is ready" % group)

    # ---- calls ----

    def unary(self, path, request, response, timeout=20):
        call = self.channel.unary_unary(path, request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=response.FromString)
        return call(request, timeout=timeout)

    def stream(self, path, request, response, timeout=None):
        call = self.channel.unary_stream(path, request_serializer=lambda m: m.SerializeToString(),
                                         response_deserializer=response.FromString)
        return call(request, timeout=timeout)

    def cluster(self):
        return self.unary(INFERENCE + "GetCluster", pb.GetClusterRequest(), pb.GetClusterResponse)

    def generate(self, text="hello there", timeout=20, **fields):
        fields.setdefault("max_tokens", 12)  # None: absent
        request = pb.GenerateRequest(prompt=pb.Prompt(text=text, raw=True), **fields)
        return self.stream(INFERENCE + "Generate", request, pb.GenerateResponse, timeout)

    def score(self, text, timeout=20, **fields):
        return self.stream(INFERENCE + "Score", pb.ScoreRequest(text=text, **fields),
                           pb.ScoreResponse, timeout)

    def health(self, service=""):
        return self.unary("/grpc.health.v1.Health/Check",
                          health_pb2.HealthCheckRequest(service=service),
                          health_pb2.HealthCheckResponse).status

    def expect_code(self, code, function):
        """Runs function, which must fail with this code; returns the error."""
        with self.assertRaises(grpc.RpcError) as caught:
            function()
        self.assertEqual(caught.exception.code(), code, caught.exception.details())
        return caught.exception

    @staticmethod
    def details_of(error):
        """The bytes of google.rpc.Status in the trailer."""
        return dict(error.trailing_metadata()).get("grpc-status-details-bin", b"")


def text_of(events):
    return "".join(event.tokens.text for event in events if event.HasField("tokens"))


def ids_of(events):
    return [id for event in events if event.HasField("tokens") for id in event.tokens.ids]
