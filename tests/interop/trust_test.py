"""Who may join as a worker, where, and how long a worker waits for its coordinator."""
import os
import re
import socket
import stat
import subprocess
import time
import unittest

from cluster_under_test import BIN, FOLDER, INFERENCE, MODEL, ClusterTest, grpc, ids_of, pb, wait_until
from longhaul.control.v1 import control_pb2 as control

JOIN = "/longhaul.control.v1.WorkerControl/Join"
SECRET = "0123456789abcdef" * 4


def free_ports():
    """A port that is free, and so is the one after it."""
    while True:
        with socket.socket() as first, socket.socket() as second:
            first.bind(("127.0.0.1", 0))
            port = first.getsockname()[1]
            try:
                second.bind(("127.0.0.1", port + 1))
                return port
            except (OSError, OverflowError):
                continue


class Trust(ClusterTest):
    def secret_file(self, text=SECRET, mode=0o600, name="secret"):
        path = os.path.join(FOLDER, "%s-%d" % (name, time.monotonic_ns()))
        with open(path, "w", encoding="ascii") as file:
            file.write(text)
        os.chmod(path, mode)
        return path

    def default_secret(self):
        """The path of the file that the coordinator made, and what is in it."""
        path = os.path.join(FOLDER, "longhaul", self.worker_address.rsplit(":", 1)[1] + ".secret")
        with open(path, encoding="ascii") as file:
            return path, file.read().strip()

    def join(self, address, secret=None):
        """Joins as the only rank of a group, with whatever secret; returns the call."""
        channel = grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0)])
        self.addCleanup(channel.close)
        call = channel.stream_stream(JOIN, request_serializer=lambda m: m.SerializeToString(),
                                     response_deserializer=control.CoordinatorMessage.FromString)
        version = self.cluster().version
        hello = control.Hello(version=version, group_id="stranger", rank=0, size=1, host="elsewhere",
                              model_digest="0" * 32, transport="loopback", kernels=["reference"])

        def messages():
            yield control.WorkerMessage(hello=hello)
            yield control.WorkerMessage(loaded=control.Loaded(seconds=1))
            time.sleep(30)
        return call(messages(), timeout=20, metadata=[("authorization", secret)] if secret else None)

    def test_a_stranger_receives_nothing(self):
        self.start()
        _, right = self.default_secret()
        wrong = right[:-1] + ("0" if right[-1] != "0" else "1")
        for secret in (None, wrong, right + "0", right[:-1], "x" * 4000):
            received = []
            error = self.expect_code(grpc.StatusCode.UNAUTHENTICATED,
                                     lambda: received.extend(self.join(self.worker_address, secret)))
            self.assertEqual(received, [])
            self.assertNotRegex(error.details(), r"[0-9a-f]{16}", "neither secret nor digest")
            self.assertEqual(len(self.cluster().groups), 0)
        self.workers(1)
        self.assertEqual(len(ids_of(self.generate())), 12, "workers with the secret serve on")

    def test_the_secret_lets_a_rank_in_to_be_judged_by_its_model(self):
        self.start()
        error = self.expect_code(grpc.StatusCode.FAILED_PRECONDITION,
                                 lambda: list(self.join(self.worker_address, self.default_secret()[1])))
        self.assertIn("digest", error.details())

    def test_workers_join_at_their_own_address_and_clients_ask_at_theirs(self):
        self.start()
        self.assertNotEqual(self.address, self.worker_address)
        for secret in (None, self.default_secret()[1]):
            self.expect_code(grpc.StatusCode.UNIMPLEMENTED, lambda: list(self.join(self.address, secret)))
        with grpc.insecure_channel(self.worker_address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            for method in ("GetCluster", "Tokenize", "Generate"):
                error = self.expect_code(grpc.StatusCode.UNIMPLEMENTED,
                                         lambda: channel.unary_unary(INFERENCE + method)(b"", timeout=10))
                self.assertIn("at another", error.details())
            error = self.expect_code(grpc.StatusCode.UNIMPLEMENTED,
                                     lambda: channel.unary_unary(INFERENCE + "Nothing")(b"", timeout=10))
            self.assertNotIn("at another", error.details())

    def test_the_default_port_is_the_one_after_the_clients(self):
        port = free_ports()
        self.start("--listen=127.0.0.1:%d" % port)
        self.assertEqual((self.address, self.worker_address),
                         ("127.0.0.1:%d" % port, "127.0.0.1:%d" % (port + 1)))
        self.wait_logged(self.coordinator, "worker_address=" + self.worker_address)
        result = subprocess.run([os.path.join(BIN, "longhaul-coordinator"), "--model", MODEL, "--listen",
                                 "127.0.0.1:0", "--worker-listen", self.worker_address],
                                capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, 69, result.stderr)
        self.assertIn(self.worker_address + ": Address already in use", result.stderr)

    def test_the_last_port_leaves_none_for_workers(self):
        result = subprocess.run([os.path.join(BIN, "longhaul-coordinator"), "--model", MODEL, "--listen",
                                 "127.0.0.1:65535"], capture_output=True, text=True, timeout=30,
                                stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, 65, result.stderr)
        self.assertIn("--worker-listen", result.stderr)

    def test_the_default_file_is_the_users_alone_and_goes_with_the_coordinator(self):
        self.start()
        path, secret = self.default_secret()
        self.assertRegex(secret, "^[0-9a-f]{64}$")
        self.assertEqual(stat.S_IMODE(os.stat(path).st_mode), 0o600)
        self.assertEqual(stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode), 0o700)
        self.coordinator.terminate()
        self.assertEqual(self.coordinator.wait(15), 0)
        self.assertFalse(os.path.exists(path))

    def test_a_named_file_serves_both(self):
        path = self.secret_file()
        self.start("--join-secret", path)
        self.worker("--size=1", "--group=g", "--join-secret", path)
        self.wait_ready()
        self.coordinator.terminate()
        self.assertEqual(self.coordinator.wait(15), 0)
        self.assertTrue(os.path.exists(path), "it is not the coordinator's to remove")

    def test_a_file_that_others_can_read_is_refused_by_both(self):
        path = self.secret_file(mode=0o640)
        self.start()
        for program, more in (("longhaul-coordinator", ["--listen", "127.0.0.1:0"]),
                              ("longhaul-worker", ["--coordinator", self.worker_address])):
            result = subprocess.run([os.path.join(BIN, program), "--model", MODEL, "--join-secret", path, *more],
                                    capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
            self.assertEqual(result.returncode, 78, result.stderr)
            self.assertIn("open to other users (mode 0640)", result.stderr)

    def test_no_log_holds_the_secret(self):
        path = self.secret_file()
        self.start("--join-secret", path, "--log-level=debug")
        stranger = "fedcba9876543210" * 4
        self.expect_code(grpc.StatusCode.UNAUTHENTICATED,
                         lambda: list(self.join(self.worker_address, stranger)))
        worker = self.real_worker("--join-secret", path, "--log-level=debug")
        wait_until(self.is_ready, 20, "the worker serves")
        list(self.generate())
        self.wait_logged(self.coordinator, "a wrong join secret")
        for process in (self.coordinator, worker):
            for secret in (SECRET, stranger):
                self.assertNotIn(secret, self.log_of(process))
        with open("/proc/%d/cmdline" % worker.pid, "rb") as file:
            self.assertNotIn(SECRET.encode(), file.read())

    def test_other_hosts_may_join_only_when_asked_for(self):
        result = subprocess.run([os.path.join(BIN, "longhaul-coordinator"), "--model", MODEL, "--listen",
                                 "127.0.0.1:0", "--worker-listen", "0.0.0.0:0"],
                                capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, 65, result.stderr)
        self.assertIn("--insecure-bind", result.stderr)

    def test_the_cluster_is_told_without_the_models_digest(self):
        self.start()
        worker = self.worker("--size=1", "--digest=beef")
        self.assertEqual(worker.wait(10), 75)
        digest = re.search(r"coordinator's has ([0-9a-f]{32})", self.log_of(worker))[1]
        self.workers(1)
        self.assertNotIn(digest.encode(), self.cluster().SerializeToString())

    # ---- workers that come first, or to the wrong place ----

    def real_worker(self, *flags, address=None):
        return self.spawn("worker", os.path.join(BIN, "longhaul-worker"), "--transport=loopback",
                          "--kernels=reference", "--threads=1", "--model", MODEL, "--coordinator",
                          address or self.worker_address, *flags)

    def is_ready(self):
        return any(group.state == pb.GROUP_STATE_READY for group in self.cluster().groups)

    def test_a_worker_waits_for_its_coordinator(self):
        port = free_ports()
        worker = self.real_worker("--ranks=2", address="127.0.0.1:%d" % (port + 1))
        wait_until(lambda: "waiting for the coordinator" in self.log_of(worker), 10, "it waits")
        time.sleep(1.5)
        self.assertIsNone(worker.poll())
        self.start("--listen=127.0.0.1:%d" % port)
        wait_until(self.is_ready, 20, "it has joined")
        self.assertEqual(len(self.cluster().groups[0].ranks), 2)

    def test_a_worker_does_not_take_what_a_dead_coordinator_left(self):
        self.start()
        self.coordinator.kill()
        self.coordinator.wait(10)
        left, before = self.default_secret()
        worker = self.real_worker()
        wait_until(lambda: "waiting for the coordinator" in self.log_of(worker), 10, "it waits")
        self.start("--worker-listen", self.worker_address)
        self.assertNotEqual(self.default_secret(), (left, before))
        wait_until(self.is_ready, 20, "it has joined")

    def test_a_worker_gives_up_at_the_join_deadline(self):
        worker = self.real_worker("--join-deadline=1.5", address="127.0.0.1:%d" % free_ports())
        begin = time.monotonic()
        self.assertEqual(worker.wait(20), 75)
        self.assertGreater(time.monotonic() - begin, 1.4)
        self.assertIn("no coordinator within 1.", self.log_of(worker))

    def test_a_worker_with_another_secret_is_told_so(self):
        self.start()
        for path in (self.secret_file(), os.path.join(FOLDER, "no-such-secret")):
            worker = self.real_worker("--join-secret", path)
            self.assertEqual(worker.wait(20), 77, self.log_of(worker))
            self.assertIn("--join-secret", self.log_of(worker))

    def test_a_worker_at_the_clients_address_is_told_so(self):
        self.start()
        worker = self.real_worker(address=self.address)
        self.assertEqual(worker.wait(10), 65, self.log_of(worker))
        self.assertIn("names an address where no workers join", self.log_of(worker))


if __name__ == "__main__":
    unittest.main(argv=["trust_test"])
