"""/metrics: what it says is what was done, in a form that Prometheus reads, and nothing of what a tenant wrote."""
import os
import subprocess
import sys
import unittest

import grpc
from batch_client import BATCHES, ENDED, bp, completion, joined
from cluster_under_test import FOLDER, TESTS, health_pb2, wait_until
from http_under_test import HttpTest

LINT = os.path.join(TESTS, "metrics-lint")
OPENMETRICS = "application/openmetrics-text"


class Metrics(HttpTest):
    def text(self, accept="text/plain"):
        code, _, text = self.get("/metrics", headers={"Accept": accept})
        self.assertEqual(code, 200)
        flags = ["--openmetrics"] if accept == OPENMETRICS else []
        lint = subprocess.run([LINT, *flags], input=text.encode(), capture_output=True, timeout=20, check=False)
        self.assertEqual(lint.returncode, 0, lint.stderr.decode() + text)
        return text

    def values(self):
        """Samples by the text before their value."""
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in self.text().splitlines()
                if not line.startswith("#")}

    def wait_value(self, sample, value):
        wait_until(lambda: self.values().get(sample) == value, 10, "%s is %s" % (sample, value))

    def test_zeros_are_there_before_anything_happens(self):
        self.start_http(echo=None)
        values = self.values()
        for outcome in ("stop", "length", "scored", "cancelled", "expired", "failed", "rejected"):
            self.assertEqual(values['longhaul_requests_total{outcome="%s"}' % outcome], 0)
        for name in ("requests_running", "requests_waiting", "serving", "worker_groups_lost_total", "prompt_tokens_total",
                     "time_to_first_token_seconds_count", 'time_to_first_token_seconds_bucket{le="+Inf"}'):
            self.assertEqual(values["longhaul_" + name], 0, name)
        self.assertFalse(any("longhaul_store_" in name for name in values))
        self.text(OPENMETRICS)

    def test_requests_are_counted_by_how_they_end(self):
        self.start_http("--store", os.path.join(FOLDER, "metrics-store"), "--heartbeat=0.2",
                        echo=("--places=2", "--step-us=2000", "--fail-id=66", "--prefill-us-per-token=100"))
        for _ in range(2):
            list(self.generate("A" * 130, max_tokens=5))
        list(self.score("HELLO"))
        self.expect_code(grpc.StatusCode.INTERNAL, lambda: list(self.generate("WHAT?")))
        self.expect_code(grpc.StatusCode.INTERNAL, lambda: list(self.score("WHAT?", continuations=["A"])))  # in the reading
        self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: list(self.generate("A", max_tokens=-1)))
        self.expect_code(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(self.generate("A", max_tokens=1900, timeout=0.5)))
        call = self.generate("A", max_tokens=1900)
        wait_until(lambda: next(call).HasField("tokens"), 10, "tokens come")
        self.assertEqual(self.values()["longhaul_requests_running"], 1)
        self.assertEqual(self.values()['longhaul_worker_groups{state="running"}'], 1)
        call.cancel()
        self.wait_value('longhaul_requests_total{outcome="cancelled"}', 1)
        values = self.values()
        for outcome, count in (("length", 2), ("scored", 1), ("failed", 2), ("rejected", 1), ("expired", 1), ("stop", 0)):
            self.assertEqual(values['longhaul_requests_total{outcome="%s"}' % outcome], count, outcome)
        self.assertEqual(values["longhaul_prompt_tokens_total"], 265)
        self.assertEqual(values["longhaul_cached_tokens_total"], 128)
        self.assertEqual(values["longhaul_prefilled_tokens_total"], 137)
        self.assertEqual(values["longhaul_generation_tokens_total"], 10)
        self.assertEqual(values["longhaul_request_prompt_tokens_count"], 3)
        self.assertEqual(values["longhaul_request_generation_tokens_sum"], 10)
        self.assertEqual(values["longhaul_time_per_output_token_seconds_count"], 2)
        self.assertGreater(values["longhaul_time_per_output_token_seconds_sum"], 0)
        self.assertEqual(values["longhaul_time_to_first_token_seconds_count"], 4)
        self.assertEqual(values["longhaul_request_duration_seconds_count"], 8)
        self.assertEqual(values["longhaul_request_queue_seconds_count"], 7)
        method = 'longhaul_rpc_server_requests_total{method="longhaul.v1.Inference/Generate",code="%s"}'
        self.assertEqual(values[method % "OK"], 2)
        self.assertEqual(values[method % "INTERNAL"], 1)
        self.assertEqual(values["longhaul_serving"], 1)
        self.assertLess(values['longhaul_worker_heartbeat_age_seconds{group="1",rank="0"}'], 1)
        self.assertEqual(values["longhaul_store_serving"], 1)
        self.assertGreater(values["longhaul_store_free_bytes"], 0)
        self.assertGreater(values["longhaul_store_memory_bytes"], 0)
        self.assertGreaterEqual(values["longhaul_rpc_edge_connections"], 2)
        self.assertGreater(values["process_resident_memory_bytes"], 1e6)
        self.assertGreater(values["process_start_time_seconds"], 1.6e9)
        self.text(OPENMETRICS)

    def test_a_call_of_several_answers_is_one_request(self):
        """Its tokens are those that its usage tells."""
        self.start_http(echo=("--places=2", "--step-us=500"))
        events = list(self.generate("HELLO", max_tokens=8, answers=3))
        usages = [event.finished.usage for event in events if event.HasField("finished")]
        self.assertEqual(len(usages), 3)
        self.wait_value('longhaul_requests_total{outcome="length"}', 1)
        values = self.values()
        for name in ("prompt_tokens", "cached_tokens", "prefilled_tokens"):
            self.assertEqual(values["longhaul_%s_total" % name], sum(getattr(usage, name) for usage in usages), name)
        self.assertEqual(values["longhaul_generation_tokens_total"], 24)
        for name, count in (("request_prompt_tokens", 3), ("request_generation_tokens", 3), ("request_duration_seconds", 1),
                            ("request_queue_seconds", 1), ("time_to_first_token_seconds", 1)):
            self.assertEqual(values["longhaul_%s_count" % name], count, name)
        list(self.score("HELLO", continuations=["A", "BC"]))
        self.wait_value('longhaul_requests_total{outcome="scored"}', 1)
        self.expect_code(grpc.StatusCode.OUT_OF_RANGE, lambda: list(self.generate("A" * 3000, answers=2)))
        self.wait_value('longhaul_requests_total{outcome="rejected"}', 1)
        self.assertEqual(sum(value for name, value in self.values().items() if name.startswith("longhaul_requests_total")), 3)

    def create(self, lines):
        return self.unary(BATCHES + "CreateBatch", bp.CreateBatchRequest(lines=joined(lines)), bp.Batch).name

    def ended(self, name):
        return self.unary(BATCHES + "GetBatch", bp.GetBatchRequest(name=name), bp.Batch).state in ENDED

    def test_attempts_at_lines_are_counted_by_how_they_end(self):
        store = ("--store", os.path.join(FOLDER, "attempts-store"))
        self.start_http(*store, echo=("--places=4", "--fail-id=%d" % (3 + ord("?"))))
        counted = lambda reason: self.values()['longhaul_attempts_total{reason="%s"}' % reason]
        self.assertEqual([counted(reason) for reason in ("answered", "lost", "not_finite", "failed", "untried")], [0] * 5)
        self.assertEqual(self.values()["longhaul_leases_expired_total"], 0)
        name = self.create([completion("good", "GOOD"), completion("too", "GOOD TOO"), completion("bad", "WHAT?")])
        wait_until(lambda: self.ended(name), 20, "it has ended")
        self.assertEqual((counted("answered"), counted("failed")), (2, 3))
        self.create([completion("long", "LONG", 1900)])
        self.wait_value("longhaul_requests_running", 1)
        self.coordinator.kill()
        self.coordinator.wait(10)
        self.start_http(*store, echo=None)
        self.assertEqual(self.values()["longhaul_leases_expired_total"], 1)

    def test_keys_that_requests_hold_are_counted_in_tokens(self):
        self.start_http(echo=("--places=2", "--step-us=20000"))
        self.assertEqual(self.values()['longhaul_kv_cache_tokens{group="1"}'], 0)
        call = self.generate("A" * 100, max_tokens=1000)
        wait_until(lambda: 103 <= self.values()['longhaul_kv_cache_tokens{group="1"}'] < 1100, 10, "its tokens are counted")
        call.cancel()
        self.wait_value('longhaul_kv_cache_tokens{group="1"}', 0)

    def test_steps_of_each_rank_are_measured(self):
        self.start_http("--launch", "--workers=2", "--transport=loopback", "--threads=1", "--kernels=reference", echo=None)
        wait_until(lambda: self.values()["longhaul_serving"] == 1, 60, "the workers serve")
        list(self.generate("A", max_tokens=5, ignore_end=True))
        for rank in ("0", "1"):
            self.wait_value('longhaul_worker_rank_step_seconds_count{rank="%s"}' % rank, 1)
            self.assertGreater(self.values()['longhaul_worker_rank_step_seconds_sum{rank="%s"}' % rank], 0)

    def test_health_says_when_the_store_takes_no_changes(self):
        folder = os.path.join(FOLDER, "small-disk")
        os.mkdir(folder)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", folder], capture_output=True, check=False).returncode:
            self.skipTest("no file system can be mounted here")
        self.addCleanup(subprocess.run, ["umount", "-l", folder], check=False)
        self.start_http("--store", os.path.join(folder, "store"))
        states = lambda: [self.health(service) for service in ("", "longhaul.v1.Batches", "longhaul.v1.Documents")]
        good, bad = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
        self.assertEqual((states(), self.get("/readyz")[0]), ([good] * 3, 200))
        filler = os.path.join(folder, "filler")
        with open(filler, "wb", buffering=0) as file:
            try:
                while file.write(b"x" * 4096):
                    pass
            except OSError:
                pass
        error = self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda: self.create([completion("a", "A" * 9000)]))
        self.assertIn(b"STORE_NOT_SERVING", self.details_of(error))
        self.assertEqual(states(), [good, bad, bad])
        code, _, text = self.get("/readyz")
        self.assertEqual(code, 503)
        self.assertRegex(text, "the store takes no changes: .*(full|No space)")
        self.assertEqual((self.get("/healthz")[0], self.values()["longhaul_store_serving"]), (200, 0))
        self.assertTrue(list(self.generate("A", max_tokens=2)), "requests are answered")
        os.remove(filler)
        wait_until(lambda: states() == [good] * 3 and self.get("/readyz")[0] == 200, 10, "the store serves again")
        self.create([completion("a", "A")])

    def test_nothing_that_a_client_writes_is_a_label(self):
        self.start_http(echo=("--places=2",))
        list(self.generate("SECRET", request_id="SECRETID", max_tokens=2))
        self.expect_code(grpc.StatusCode.UNIMPLEMENTED, lambda: self.channel.unary_unary("/SECRETSERVICE/SECRETMETHOD")(b""))
        self.get("/SECRETPATH")
        self.post("/v1/completions", {"prompt": "SECRET", "model": "SECRETMODEL", "user": "SECRETUSER", "max_tokens": 1})
        text = self.text()
        self.assertNotIn("SECRET", text)
        self.assertIn('{method="unknown",code="UNIMPLEMENTED"} 1', text)

    def test_a_lost_group_is_counted_and_gone(self):
        self.start_http("--heartbeat=0.2", "--heartbeat-timeout=1", echo=None)
        echo = self.echo("--group=g")
        self.wait_ready()
        self.assertIn('longhaul_worker_heartbeat_age_seconds{group="1",rank="0"}', self.values())
        echo.kill()
        self.wait_value("longhaul_worker_groups_lost_total", 1)
        self.wait_value("longhaul_serving", 0)
        self.assertNotIn('longhaul_worker_heartbeat_age_seconds{group="1",rank="0"}', self.values())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
