"""What the coordinator's log says: one end line for every request, values that forge nothing, and a reader that stops."""
import json
import os
import re
import shlex
import subprocess
import sys
import threading
import time
import unittest

from cluster_under_test import (BIN, FOLDER, INFERENCE, MODEL, ClusterTest, grpc, health_pb2, pb,
                                wait_until)

NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (error|warn|info|debug) event=")


def fields_of(line):
    """A log line as a dictionary; every word of it must be key=value, and no key twice."""
    pairs = [word.split("=", 1) for word in shlex.split(line)[2:]]
    fields = dict(pairs)
    assert len(fields) == len(pairs), line
    return fields


class LogTest(ClusterTest):
    def lines(self):
        lines = self.log_of(self.coordinator).splitlines()
        for line in lines:
            self.assertRegex(line, STAMP, "each line is one of the log's own")
        return lines

    def ended(self, count):
        """The end lines of clients' requests, once there are so many."""
        def found():
            return [fields for fields in map(fields_of, self.lines())
                    if fields["event"] == "request ended" and fields["method"] != "Join"]
        wait_until(lambda: len(found()) >= count, 5, "%d end lines" % count)
        time.sleep(0.1)
        self.assertEqual(len(found()), count)
        return found()

    def last_of(self, count, **expected):
        fields = self.ended(count)[-1]
        self.assertLessEqual(expected.items(), fields.items())
        self.assertRegex(fields["peer"], r"127\.0\.0\.1:\d+")
        self.assertRegex(fields["seconds"], r"^\d+\.\d{3}$")
        return fields


class JsonLines(ClusterTest):
    def test_every_line_is_an_object_and_says_the_request(self):
        self.start("--log-format=json", "--log-level=debug")
        worker = self.echo("--group=g", "--log-format=json")
        self.wait_ready()
        list(self.generate(request_id='mine "\n', max_tokens=3))
        wait_until(lambda: '"method":"Generate"' in self.log_of(self.coordinator), 5, "the end line")
        lines = [json.loads(line) for line in self.log_of(self.coordinator).splitlines()]
        for line in lines + [json.loads(line) for line in self.log_of(worker).splitlines()]:
            self.assertLessEqual({"time", "level", "event"}, line.keys())
        mine = [line for line in lines if line.get("request") == 'mine ".']
        self.assertEqual([line["event"] for line in mine], ["request runs", "request ended"])
        self.assertEqual(mine[-1]["completion_tokens"], 3)
        self.assertLess(mine[-1]["seconds"], 20)


class EndLines(LogTest):
    def tokenize(self, text):
        return self.unary(INFERENCE + "Tokenize", pb.TokenizeRequest(text=text), pb.TokenizeResponse)

    def test_each_answered_request_has_one(self):
        self.start()
        self.workers(1)
        events = list(self.generate(request_id="mine", max_tokens=12))
        usage = events[-1].finished.usage
        self.last_of(1, request="mine", method="Generate", code="OK", reason="length",
                     prompt_tokens=str(usage.prompt_tokens), completion_tokens="12")
        tokens = list(self.score("In the end."))[-1].finished.usage.prompt_tokens
        self.last_of(2, method="Score", code="OK", reason="finished", prompt_tokens=str(tokens),
                     completion_tokens="0")
        self.unary(INFERENCE + "Plan", pb.PlanRequest(prompt_tokens=100), pb.PlanResponse)
        self.last_of(3, method="Plan", code="OK", prompt_tokens="100")
        ids = self.tokenize("hello").token_ids
        self.assertNotIn("request", self.last_of(4, method="Tokenize", code="OK", prompt_tokens=str(len(ids))))

    def test_each_refused_request_has_one(self):
        self.start()
        self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda: list(self.generate()))
        fields = self.last_of(1, method="Generate", code="UNAVAILABLE", reason="NO_WORKERS", completion_tokens="0")
        self.assertIn("no worker group is there", fields["cause"])
        self.assertGreater(int(fields["prompt_tokens"]), 0)
        self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: list(self.generate(max_tokens=0)))
        fields = self.last_of(2, code="INVALID_ARGUMENT", prompt_tokens="0", completion_tokens="0")
        self.assertIn("max_tokens is 0", fields["reason"])
        name = "x" * 41
        self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: list(self.generate(request_id=name)))
        self.last_of(3, request=name, code="INVALID_ARGUMENT")
        nothing = type("Nothing", (), {"SerializeToString": lambda self: b"\xff\xff", "FromString": bytes})
        self.expect_code(grpc.StatusCode.INVALID_ARGUMENT,
                         lambda: self.unary(INFERENCE + "Tokenize", nothing(), nothing))
        self.last_of(4, method="Tokenize", code="INVALID_ARGUMENT", prompt_tokens="0")
        self.expect_code(grpc.StatusCode.UNIMPLEMENTED,
                         lambda: self.unary("/a b/c=\"d\"", pb.PlanRequest(), pb.PlanResponse))
        self.last_of(5, method="/a b/c=\"d\"", code="UNIMPLEMENTED")
        self.expect_code(grpc.StatusCode.OUT_OF_RANGE, lambda: self.tokenize("a" * (33 << 20)))
        self.last_of(6, method="Tokenize", code="OUT_OF_RANGE")

    def test_a_request_that_is_cut_short_tells_what_it_used(self):
        self.start()
        self.workers(1, "--token-ms=20")
        call = self.generate(max_tokens=1000)
        wait_until(lambda: next(call).HasField("tokens"), 10, "tokens come")
        call.cancel()
        fields = self.last_of(1, code="CANCELLED", reason="ENDED_EARLY")
        self.assertLess(0, int(fields["completion_tokens"]))
        self.assertLess(int(fields["completion_tokens"]), 1000)
        self.wait_ready()
        self.expect_code(grpc.StatusCode.DEADLINE_EXCEEDED,
                         lambda: list(self.generate(max_tokens=1000, timeout=0.5)))
        self.last_of(2, reason="ENDED_EARLY", code="DEADLINE_EXCEEDED")
        self.wait_ready()
        running = self.generate(max_tokens=1000)
        wait_until(lambda: next(running).HasField("tokens"), 10, "tokens come")
        self.expect_code(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(self.generate(timeout=0.5)))
        fields = self.last_of(3, reason="ENDED_EARLY", code="DEADLINE_EXCEEDED")
        self.assertIn("in queue", fields["cause"])
        running.cancel()

    def test_what_machines_ask_over_and_over_is_a_debug_line(self):
        self.start("--log-level=debug")
        self.cluster()
        self.health()
        wait_until(lambda: "method=Check" in self.log_of(self.coordinator), 5, "the end line")
        ends = [line for line in self.log_of(self.coordinator).splitlines() if "request ended" in line]
        self.assertEqual([line.split()[1] for line in ends], ["debug", "debug"])
        self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: self.health("nobody"))
        wait_until(lambda: "code=NOT_FOUND" in self.log_of(self.coordinator), 5, "the end line")
        self.assertRegex(self.log_of(self.coordinator), r"Z info event=\"request ended\" method=Check .*code=NOT_FOUND")

    def test_no_value_forges_a_field_or_a_line(self):
        self.start()
        forged = "\n2026-01-01T00:00:00.000Z error event=x"
        worker = self.worker("--version-said=1\" peer=me" + forged)
        worker.wait(10)
        self.assertNotIn("x", [fields_of(line)["event"] for line in self.lines()])
        refused = [fields for fields in map(fields_of, self.lines()) if fields["event"] == "worker refused"]
        self.assertEqual(len(refused), 1)
        self.assertIn("127.0.0.1", refused[0]["peer"])
        self.assertIn("has version 1\" peer=me.2026", refused[0]["cause"])
        self.workers(1, "--fail-with=no\" code=OK" + forged + "\033[2J")
        self.expect_code(grpc.StatusCode.RESOURCE_EXHAUSTED,
                         lambda: list(self.generate(request_id="a\" code=OK\nb\033[2J=")))
        fields = self.last_of(1, request="a\" code=OK.b.[2J=", code="RESOURCE_EXHAUSTED")
        self.assertEqual(fields["reason"], "no\" code=OK" + forged.replace("\n", ".") + ".[2J")
        self.assertNotIn("x", [fields_of(line)["event"] for line in self.lines()])
        self.assertNotIn("\033", self.log_of(self.coordinator))


class Draining(LogTest):
    def drain(self, *flags):
        """A coordinator that drains while a request runs."""
        self.start(*flags)
        self.workers(1, "--token-ms=20")
        call = self.generate(max_tokens=1900, timeout=60)
        next(call)
        self.coordinator.terminate()
        wait_until(lambda: "event=draining" in self.log_of(self.coordinator), 5, "it drains")
        return call

    def test_health_and_the_cluster_go_on_answering(self):
        call = self.drain()
        self.assertEqual(self.health(), NOT_SERVING)
        cluster = self.cluster()
        self.assertTrue(cluster.draining)
        self.assertEqual(cluster.groups[0].state, pb.GROUP_STATE_RUNNING)
        watch = self.stream("/grpc.health.v1.Health/Watch", health_pb2.HealthCheckRequest(),
                            health_pb2.HealthCheckResponse)
        self.assertEqual(next(watch).status, NOT_SERVING)
        self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda: list(self.generate()))
        self.last_of(1, method="Generate", code="UNAVAILABLE", reason="DRAINING", prompt_tokens="0")
        self.coordinator.terminate()
        self.assertEqual(list(call)[-1].finished.finish_reason, pb.FINISH_REASON_CANCELLED)
        self.assertEqual(self.coordinator.wait(15), 75)

    def test_the_time_for_it_is_a_setting(self):
        begin = time.monotonic()
        call = self.drain("--drain-time=0.5")
        self.assertEqual(list(call)[-1].finished.finish_reason, pb.FINISH_REASON_CANCELLED)
        self.assertEqual(self.coordinator.wait(15), 75)
        self.assertLess(time.monotonic() - begin, 20)
        self.assertIn("budget_s=0.5", self.log_of(self.coordinator))
        self.last_of(1, code="OK", reason="cancelled")


class StoppedReader(LogTest):
    def test_it_costs_lines_and_neither_answers_nor_the_end(self):
        ready = os.path.join(FOLDER, "ready-stopped")
        self.coordinator = subprocess.Popen(
            [os.path.join(BIN, "longhaul-coordinator"), "--model", MODEL, "--listen", "127.0.0.1:0",
             "--ready-file", ready], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        self.addCleanup(self.coordinator.stderr.close)
        self.processes.append(self.coordinator)
        self.logs[self.coordinator] = os.devnull
        wait_until(lambda: os.path.exists(ready), 20, "it listens")
        with open(ready, encoding="utf-8") as file:
            self.address = file.readline().strip()
        self.channel = grpc.insecure_channel(self.address, options=[("grpc.enable_http_proxy", 0)])
        self.addCleanup(self.channel.close)
        asked = 0
        # A line of about 1 KiB each: more than the pipe (64 KiB) and the store (128 KiB) hold.
        while asked < 400:
            self.expect_code(grpc.StatusCode.UNIMPLEMENTED,
                             lambda: self.unary("/" + "long" * 200, pb.PlanRequest(), pb.PlanResponse, timeout=5))
            asked += 1
        output = []

        def read_a_part():
            while b"log lines dropped" not in b"".join(output):
                output.append(os.read(self.coordinator.stderr.fileno(), 1 << 16))
        reader = threading.Thread(target=read_a_part, daemon=True)
        reader.start()
        reader.join(10)
        text = b"".join(output).decode()
        ends = len(re.findall("request ended", text))
        dropped = int(re.search(r'warn event="log lines dropped" count=(\d+)', text).group(1))
        self.assertGreater(dropped, 0)
        self.assertEqual(ends + dropped, asked)
        # And it stops again: the end must not wait for it.
        for _ in range(400):
            self.expect_code(grpc.StatusCode.UNIMPLEMENTED,
                             lambda: self.unary("/" + "long" * 200, pb.PlanRequest(), pb.PlanResponse, timeout=5))
        self.coordinator.terminate()
        self.assertEqual(self.coordinator.wait(10), 0)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
