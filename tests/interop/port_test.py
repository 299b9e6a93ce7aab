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
        # A checked build keeps freed memory back unless told not to.
        options = os.environ.get("ASAN_OPTIONS", "") + ":quarantine_size_mb=0:thread_local_quarantine_size_kb=0"
        self.start(*flags, environment=dict(os.environ, ASAN_OPTIONS=options), preexec_fn=limits and
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
        self.wait_logged(self.coordinator, "fewer connections")

    def test_a_flood_beyond_the_most_connections_ends_with_the_flood(self):
        self.flood("--max-connections=64")

    def test_a_flood_below_the_raised_limit_is_let_in(self):
        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        self.flood(limits=(256, hard))
        self.wait_logged(self.coordinator, "descriptor limit.* limit=%d before=256" % hard)

    def test_connections_that_are_all_in_calls_leave_room_for_probes(self):
        self.start("--max-connections=4")
        self.workers(1, "--token-ms=100")
        request = pb.GenerateRequest(prompt=pb.Prompt(text="x", raw=True), max_tokens=500)
        for _ in range(4):
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
        wait_until(lambda: re.search("request ended.*peer=ipv4:127.0.0.1:%d" % port,
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


class Planning(PortTest):
    def plan(self, tokens, stage_tokens, workers=4, timeout=60):
        options = pb.PlanOptions(stage_tokens=stage_tokens)
        request = pb.PlanRequest(prompt_tokens=tokens, workers=workers, options=options)
        return self.unary(INFERENCE + "Plan", request, pb.PlanResponse, timeout)

    def seconds(self, tokens):
        begin = time.monotonic()
        self.plan(tokens, 1)
        return time.monotonic() - begin

    def test_time_goes_with_the_number_of_stages(self):
        self.start("--context=262144")
        self.workers(1)
        few, many = 1 << 15, 1 << 18
        few_seconds = min(self.seconds(few) for _ in range(3))
        many_seconds = min(self.seconds(many) for _ in range(3))
        # Linear: at most 8 times. With the square it would be 64 times, and minutes.
        self.assertLess(many_seconds, 24 * few_seconds)
        self.assertLess(many_seconds, 60)

    def test_more_stages_than_may_be_planned_are_refused_by_name(self):
        self.start("--context=262144", "--max-plan-stages=1000")
        self.workers(1)
        self.plan(250000, 2048)
        error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.plan(250000, 64))
        self.assertIn("--max-plan-stages", error.details())
        self.assertIn(b"options.stage_tokens", self.details_of(error))
        error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT,
                                 lambda: self.plan(1000, 2048, workers=4096))
        self.assertIn("1024", error.details())

    def begin_a_long_plan(self):
        """Minutes of planning: many stages for many workers."""
        self.start("--context=%d" % (1 << 28), "--max-plan-stages=1000000000")
        self.workers(1)
        options = pb.PlanOptions(stage_tokens=2 * 1024 * 64, partition=pb.PARTITION_ZIGZAG)
        request = pb.PlanRequest(prompt_tokens=1 << 28, workers=1024, options=options)
        call = self.channel.unary_unary(INFERENCE + "Plan",
                                        request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=pb.PlanResponse.FromString)
        return call, request

    def busy_seconds(self):
        with open("/proc/%d/stat" % self.coordinator.pid, encoding="utf-8") as file:
            fields = file.read().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def expect_idle(self):
        """It computes nothing any more."""
        def idle():
            before = self.busy_seconds()
            time.sleep(0.5)
            return self.busy_seconds() - before < 0.1
        wait_until(idle, 20, "the planning ends")

    def test_a_plan_ends_with_its_deadline(self):
        call, request = self.begin_a_long_plan()
        self.expect_code(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: call(request, timeout=1))
        self.expect_idle()

    def test_a_plan_ends_with_its_client(self):
        call, request = self.begin_a_long_plan()
        future = call.future(request, timeout=600)
        before = self.busy_seconds()
        wait_until(lambda: self.busy_seconds() > before + 0.5, 20, "it plans")
        future.cancel()
        self.expect_idle()

    def test_a_plan_does_not_hold_up_the_end(self):
        call, request = self.begin_a_long_plan()
        future = call.future(request, timeout=600)
        before = self.busy_seconds()
        wait_until(lambda: self.busy_seconds() > before + 0.5, 20, "it plans")
        self.coordinator.terminate()
        self.coordinator.wait(20)
        self.assertIn(future.code(), (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE))


class Prompts(PortTest):
    def test_a_prompt_too_long_by_its_bytes_is_refused_before_it_is_cut_into_tokens(self):
        self.start()
        self.workers(1)
        text = "many words " * 400000
        for call in (lambda: self.generate(text), lambda: self.score(text)):
            error = self.expect_code(grpc.StatusCode.OUT_OF_RANGE, lambda: list(call()))
            self.assertIn("%d bytes" % len(text), error.details())
            self.assertRegex(error.details(), "context of 2048 tokens.* no token .* more than [0-9]+ bytes")
        self.assertIn(b"CONTEXT_EXCEEDED", self.details_of(self.expect_code(
            grpc.StatusCode.OUT_OF_RANGE, lambda: list(self.generate(text)))))
        self.assertEqual(len(ids_of(self.generate())), 12)

    def test_the_longest_prompt_that_may_fit_is_still_counted_in_tokens(self):
        self.start()
        self.workers(1)
        error = self.expect_code(grpc.StatusCode.OUT_OF_RANGE, lambda: list(self.generate("x" * 4000)))
        self.assertIn("a prompt of 400", error.details())
        self.assertIn("tokens and an answer", error.details())


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
