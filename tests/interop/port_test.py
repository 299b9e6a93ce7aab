"""Clients that flood, hoard, lie or do not read, and others who are served all the same."""
import os
import re
import resource
import socket
import sys
import time
import unittest
import zlib

import http2_frames as http2
from cluster_under_test import INFERENCE, ClusterTest, grpc, health_pb2, ids_of, pb, wait_until

SERVING = health_pb2.HealthCheckResponse.SERVING
WATCH = "/grpc.health.v1.Health/Watch"


def own_channel(address, *options):
    """A channel with a connection of its own."""
    return grpc.insecure_channel(address, options=[("grpc.enable_http_proxy", 0),
                                                   ("grpc.use_local_subchannel_pool", 1), *options])


class PortTest(ClusterTest):
    def memory_bytes(self):
        with open("/proc/%d/statm" % self.coordinator.pid, encoding="utf-8") as file:
            return int(file.read().split()[1]) * resource.getpagesize()

    def expect_service(self, seconds=2):
        """A new client is served within so many seconds."""
        begin = time.monotonic()
        with own_channel(self.address) as channel:
            check = channel.unary_unary("/grpc.health.v1.Health/Check",
                                        request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=health_pb2.HealthCheckResponse.FromString)
            self.assertEqual(check(health_pb2.HealthCheckRequest(), timeout=seconds).status, SERVING)
        self.assertLess(time.monotonic() - begin, seconds)


class Connections(PortTest):
    FLOOD = 1100
    RISE_BYTES = 64 << 20

    def flood(self, *flags, limits=None):
        """Holds FLOOD connections open for two seconds, then closes them."""
        resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
        self.start(*flags, preexec_fn=limits and
                   (lambda: resource.setrlimit(resource.RLIMIT_NOFILE, limits)))
        self.workers(1)
        self.expect_service()
        before = self.memory_bytes()
        host, port = self.address.rsplit(":", 1)
        flood = []
        for _ in range(self.FLOOD):
            flood.append(socket.socket())
            flood[-1].setblocking(False)
            flood[-1].connect_ex((host, int(port)))
        time.sleep(1)
        self.expect_service(10)
        time.sleep(1)
        for connection in flood:
            connection.close()
        self.expect_service()
        self.assertEqual(len(ids_of(self.generate())), 12)
        self.assertLess(self.memory_bytes() - before, self.RISE_BYTES)

    def test_a_flood_that_uses_up_the_descriptors_ends_with_the_flood(self):
        self.flood(limits=(512, 512))
        self.assertIn("fewer connections", self.log_of(self.coordinator))

    def test_a_flood_beyond_the_most_connections_ends_with_the_flood(self):
        self.flood("--max-connections=64")

    def test_a_flood_below_the_raised_limit_is_let_in(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.flood(limits=(256, hard))
        self.assertRegex(self.log_of(self.coordinator), "descriptor limit.* limit=%d before=256" % hard)

    def test_connections_that_are_all_in_calls_leave_room_for_probes(self):
        self.start("--max-connections=4")
        self.workers(1, "--token-ms=100")
        request = pb.GenerateRequest(prompt=pb.Prompt(text="x", raw=True), max_tokens=500)
        for _ in range(3):  # with the worker's connection that makes four
            hoard = http2.Connection(self.address)
            self.addCleanup(hoard.close)
            hoard.call(INFERENCE + "Generate", request.SerializeToString())
            self.assertIsNotNone(hoard.frames_until(lambda kind, *rest: kind == http2.DATA))
        with own_channel(self.address) as channel:
            tokenize = channel.unary_unary(INFERENCE + "Tokenize",
                                           request_serializer=lambda m: m.SerializeToString())
            error = self.expect_code(grpc.StatusCode.RESOURCE_EXHAUSTED,
                                     lambda: tokenize(pb.TokenizeRequest(text="x"), timeout=5))
            self.assertIn("--max-connections", error.details())
            self.assertIn(b"google.rpc.RetryInfo", self.details_of(error))
        self.expect_service()

    def test_closed_connections_give_their_descriptors_back(self):
        self.start()
        self.workers(1)
        self.expect_service()
        folder = "/proc/%d/fd" % self.coordinator.pid
        before = len(os.listdir(folder))
        for _ in range(3):
            hoards = [http2.Connection(self.address) for _ in range(50)]
            for hoard in hoards:
                hoard.frame()
                hoard.close()
        wait_until(lambda: len(os.listdir(folder)) <= before, 5, "the descriptors are back")

    def test_the_peer_is_known_by_its_address(self):
        self.start("--log-level=debug")
        connection = http2.Connection(self.address)
        self.addCleanup(connection.close)
        port = connection.socket.getsockname()[1]
        connection.call("/no.such/Method", b"")
        wait_until(lambda: re.search("call refused.*peer=ipv4:127.0.0.1:%d" % port,
                                     self.log_of(self.coordinator)), 5, "the log names the peer")


class Calls(PortTest):
    def test_a_thousand_watchers_leave_room_for_others(self):
        self.start()
        self.workers(1)
        channels = [own_channel(self.address) for _ in range(10)]
        watchers, codes = [], []
        for channel in channels:
            self.addCleanup(channel.close)
            watch = channel.unary_stream(WATCH, request_serializer=lambda m: m.SerializeToString(),
                                         response_deserializer=health_pb2.HealthCheckResponse.FromString)
            watchers += [watch(health_pb2.HealthCheckRequest(), timeout=60) for _ in range(100)]
        for watcher in watchers:
            watcher.add_done_callback(lambda future: codes.append(future.code()))
        wait_until(lambda: len(codes) >= 1000 - 128, 15, "those beyond the share are refused")
        self.assertEqual(set(codes), {grpc.StatusCode.RESOURCE_EXHAUSTED})
        self.assertEqual(len(codes), 1000 - 128)
        self.expect_service()
        self.assertEqual(len(ids_of(self.generate())), 12)
        for watcher in watchers:
            watcher.cancel()

    def test_more_calls_than_may_be_open_are_refused_with_a_delay(self):
        self.start("--max-calls=2")
        self.workers(1, "--token-ms=50")
        calls = [self.generate(max_tokens=200) for _ in range(2)]
        for call in calls:
            next(call)
        error = self.expect_code(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: list(self.generate()))
        self.assertIn("--max-calls", error.details())
        self.assertIn(b"google.rpc.RetryInfo", self.details_of(error))
        self.expect_service()
        self.assertEqual(len(self.cluster().groups), 1)
        for call in calls:
            call.cancel()
        wait_until(lambda: self.cluster().queued_requests == 0, 5, "the queue is empty")
        self.wait_ready()
        self.assertEqual(len(ids_of(self.generate(max_tokens=3))), 3)

    def test_a_compressed_message_is_refused_and_never_expanded(self):
        self.start()
        self.workers(1)
        before = self.memory_bytes()
        bomb = zlib.compressobj(9, zlib.DEFLATED, 31)
        zeros = bytes(1 << 20)
        data = b"".join(bomb.compress(zeros) for _ in range(50)) + bomb.flush()
        self.assertLess(len(data), 65535 - 5, "it fits the window")
        peak = [0]
        for _ in range(3):
            connection = http2.Connection(self.address)
            self.addCleanup(connection.close)
            stream = connection.call(INFERENCE + "Tokenize", data, ("grpc-encoding", "gzip"),
                                     compressed=True)
            end = connection.frames_until(
                lambda kind, flags, at, payload: at == stream and flags & http2.END_STREAM or
                kind == http2.RST_STREAM)
            peak[0] = max(peak[0], self.memory_bytes())
            self.assertIn(b"12", end[3])
        with own_channel(self.address) as channel:
            tokenize = channel.unary_unary(INFERENCE + "Tokenize",
                                           request_serializer=lambda m: m.SerializeToString())
            self.expect_code(grpc.StatusCode.UNIMPLEMENTED,
                             lambda: tokenize(pb.TokenizeRequest(text="a" * 100000), timeout=10,
                                              compression=grpc.Compression.Gzip))
        self.assertLess(peak[0] - before, 32 << 20)
        self.expect_service()


class Readers(PortTest):
    """Clients that shut their window: nothing of what is sent to them is taken."""

    def not_reading(self, max_tokens):
        connection = http2.Connection(self.address, [(http2.INITIAL_WINDOW_SIZE, 0)])
        self.addCleanup(connection.close)
        request = pb.GenerateRequest(prompt=pb.Prompt(text="x", raw=True), max_tokens=max_tokens)
        connection.call(INFERENCE + "Generate", request.SerializeToString())
        return connection

    def test_a_client_that_does_not_read_holds_no_group(self):
        self.start()
        self.workers(1)
        for _ in range(3):
            self.not_reading(12)
        wait_until(lambda: self.log_of(self.coordinator).count("request runs") == 3, 5,
                   "all three have run")
        begin = time.monotonic()
        self.assertEqual(len(ids_of(self.generate())), 12)
        self.assertLess(time.monotonic() - begin, 3)

    def test_a_long_run_whose_client_does_not_read_is_cut_short(self):
        self.start("--stall-timeout=1")
        self.workers(1, "--token-ms=20")
        for _ in range(2):
            self.not_reading(2000)
        wait_until(lambda: "request runs" in self.log_of(self.coordinator), 5, "one runs")
        begin = time.monotonic()
        self.assertEqual(len(ids_of(self.generate(max_tokens=3))), 3)
        self.assertLess(time.monotonic() - begin, 6)

    def test_a_client_that_reads_late_gets_all(self):
        self.start()
        self.workers(1)
        connection = self.not_reading(12)
        wait_until(lambda: "request runs" in self.log_of(self.coordinator), 5, "it runs")
        self.assertEqual(len(ids_of(self.generate())), 12)
        connection.send(http2.WINDOW_UPDATE, 0, 1, (1 << 20).to_bytes(4, "big"))
        data = b""
        while True:
            frame = connection.frame()
            self.assertIsNotNone(frame)
            if frame[0] == http2.DATA:
                data += frame[3]
            if frame[1] & http2.END_STREAM and frame[0] == http2.HEADERS:
                break
        events = []
        while data:
            length = int.from_bytes(data[1:5], "big")
            events.append(pb.GenerateResponse.FromString(data[5:5 + length]))
            data = data[5 + length:]
        self.assertEqual(len(ids_of(events)), 12)
        self.assertEqual(events[-1].WhichOneof("event"), "finished")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
