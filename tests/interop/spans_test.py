"""Requests as spans: --otlp-file has a line for each, whose spans nest, below the span that the caller named."""
import json
import os
import sys
import unittest

from cluster_under_test import FOLDER, INFERENCE, ClusterTest, grpc, pb, wait_until
from http_under_test import HttpTest

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = "00-%s-%s-01" % (TRACE, SPAN)


class Spans(ClusterTest):
    def setUp(self):
        super().setUp()
        self.file = os.path.join(FOLDER, self.id() + ".jsonl")
        self.start("--otlp-file", self.file)
        self.echo("--group=g", "--fail-id=66", "--prefill-us-per-token=2000")  # 66: the byte '?'
        self.wait_ready()

    def ask(self, text="HELLO", traceparent=None, **fields):
        call = self.channel.unary_stream(INFERENCE + "Generate", request_serializer=lambda m: m.SerializeToString(),
                                         response_deserializer=pb.GenerateResponse.FromString)
        metadata = [("traceparent", traceparent)] if traceparent is not None else None
        fields.setdefault("max_tokens", 12)
        return list(call(pb.GenerateRequest(prompt=pb.Prompt(text=text, raw=True), **fields), timeout=20,
                         metadata=metadata))

    def spans(self, requests):
        """The spans of so many requests, each a dictionary by name; their nesting is right."""
        def lines():
            with open(self.file, encoding="utf-8") as file:
                return file.read().splitlines()
        wait_until(lambda: len(lines()) >= requests, 5, "%d lines" % requests)
        self.assertEqual(len(lines()), requests)
        found = []
        for line in lines():
            resource, = json.loads(line)["resourceSpans"]
            self.assertEqual(resource["resource"]["attributes"][0]["value"]["stringValue"], "longhaul-coordinator")
            scope, = resource["scopeSpans"]
            whole, *parts = scope["spans"]
            for span in scope["spans"]:
                self.assertRegex(span["traceId"], "^[0-9a-f]{32}$")
                self.assertRegex(span["spanId"], "^[0-9a-f]{16}$")
                self.assertEqual(span["traceId"], whole["traceId"])
                self.assertLessEqual(int(span["startTimeUnixNano"]), int(span["endTimeUnixNano"]))
            for part in parts:
                self.assertEqual(part["parentSpanId"], whole["spanId"])
                self.assertGreaterEqual(int(part["startTimeUnixNano"]), int(whole["startTimeUnixNano"]))
                self.assertLessEqual(int(part["endTimeUnixNano"]), int(whole["endTimeUnixNano"]))
            for before, after in zip(parts, parts[1:]):
                self.assertEqual(before["endTimeUnixNano"], after["startTimeUnixNano"])
            self.assertEqual(len({span["spanId"] for span in scope["spans"]}), len(scope["spans"]))
            found.append({span["name"]: span for span in scope["spans"]})
        return found

    @staticmethod
    def attributes(span):
        return {entry["key"]: next(iter(entry["value"].values())) for entry in span["attributes"]}

    def test_a_request_is_the_callers_child_with_its_parts(self):
        self.ask("HELLO THERE " * 10, PARENT, request_id="mine")
        spans, = self.spans(1)
        self.assertEqual(list(spans), ["text_completion", "queue", "prefill", "decode"])
        whole = spans["text_completion"]
        self.assertEqual((whole["traceId"], whole["parentSpanId"], whole["kind"]), (TRACE, SPAN, 2))
        self.assertEqual(whole["status"], {"code": 1})
        self.assertEqual(self.attributes(whole), {
            "gen_ai.operation.name": "text_completion", "longhaul.request_id": "mine",
            "gen_ai.response.finish_reasons": "length", "gen_ai.usage.input_tokens": "120",
            "gen_ai.usage.output_tokens": "12", "longhaul.usage.cached_tokens": "0"})
        prefill = int(spans["prefill"]["endTimeUnixNano"]) - int(spans["prefill"]["startTimeUnixNano"])
        self.assertGreaterEqual(prefill, 0.24e9)

    def test_what_is_no_traceparent_is_as_if_it_were_not_there(self):
        wrong = ["", "hello", PARENT[:-1], PARENT + "-00", PARENT.upper(), "ff" + PARENT[2:],
                 "00-%s-%s-01" % ("0" * 32, SPAN), "00-%s-%s-01" % (TRACE, "0" * 16), PARENT.replace("-01", "-0g")]
        for text in wrong:
            self.ask(traceparent=text, max_tokens=1)
        traces = set()
        for spans in self.spans(len(wrong)):
            self.assertNotIn("parentSpanId", spans["text_completion"])
            traces.add(spans["text_completion"]["traceId"])
        self.assertEqual(len(traces - {TRACE}), len(wrong))

    def test_a_later_version_is_read_and_an_unsampled_trace_kept_by_nobody(self):
        self.ask(traceparent=PARENT[:-1] + "0", max_tokens=1)
        self.ask(traceparent="01" + PARENT[2:] + "-more", max_tokens=1)
        spans, = self.spans(1)
        self.assertEqual(spans["text_completion"]["traceId"], TRACE)

    def test_failures_and_scores_have_spans(self):
        self.expect_code(grpc.StatusCode.INTERNAL, lambda: self.ask("WHAT?"))
        self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.ask("A", max_tokens=-1))
        list(self.score("SOME TEXT"))
        failed, rejected, score = self.spans(3)
        self.assertEqual(failed["text_completion"]["status"]["code"], 2)
        self.assertIn("fails on", failed["text_completion"]["status"]["message"])
        self.assertEqual(list(rejected), ["text_completion", "queue"])
        self.assertEqual(self.attributes(rejected["text_completion"])["gen_ai.response.finish_reasons"], "rejected")
        self.assertIn("score", score)


class OverHttp(HttpTest):
    def test_the_header_is_taken_over(self):
        path = os.path.join(FOLDER, "http-spans.jsonl")
        self.start_http("--otlp-file", path)
        self.post("/v1/completions", {"prompt": "A", "max_tokens": 2}, headers={"traceparent": PARENT})
        with open(path, encoding="utf-8") as file:
            whole = json.loads(file.read())["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
        self.assertEqual((whole["traceId"], whole["parentSpanId"]), (TRACE, SPAN))


class Full(ClusterTest):
    def test_a_full_disk_loses_spans_and_nothing_else(self):
        self.start("--otlp-file", "/dev/full")
        self.echo("--group=g")
        self.wait_ready()
        for _ in range(2):
            self.assertEqual(list(self.generate(max_tokens=3))[-1].WhichOneof("event"), "finished")
        self.wait_logged(self.coordinator, 'event="spans lost" .*No space left')
        self.assertEqual(self.log_of(self.coordinator).count("spans lost"), 1)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
