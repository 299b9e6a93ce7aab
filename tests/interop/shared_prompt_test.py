"""Several answers to one prompt, and several texts scored behind one, by a stock client with real workers: the prompt is
read once, and each says what it says alone."""
import sys
import threading
import time
import unittest

from cluster_under_test import INFERENCE, ClusterTest, grpc, ids_of, pb, wait_until
from longhaul.v1 import sessions_pb2 as sp

PLAIN = ("--heartbeat=0.2", "--threads=1", "--kernels=reference", "--context=1024")
TEXT = "In the beginning there was a very long document. " * 8
ENDS = [" and no more.", " or else.", "ly", " which nobody has read to its end, as far as is known."]
METHODS = ("rope", "lm_infinite:window=128,sinks=4")
SQUEEZED = "lampe:near=32,far=16,mapped=64"  # by the length of each request
ANSWERS = 5
LOAD_S = 60


def by(method):
    return pb.PlanOptions(method=pb.Method(spelling=method))


class SharedPrompts(ClusterTest):
    def launch(self, workers, *flags):
        self.start("--launch", "--workers=%d" % workers, "--transport=loopback", *PLAIN, *flags)
        wait_until(lambda: any(g.state == pb.GROUP_STATE_READY for g in self.cluster().groups), LOAD_S, "the group is ready")

    def end(self):
        self.coordinator.terminate()
        self.assertEqual(self.coordinator.wait(20), 0)

    def ask(self, seed, method="rope", **fields):
        fields.setdefault("prompt", pb.Prompt(text=TEXT, raw=True))
        request = pb.GenerateRequest(max_tokens=12, no_prefix_reuse=True, options=by(method),
                                     sampling=pb.Sampling(temperature=1.5, seed=seed), **fields)
        return list(self.stream(INFERENCE + "Generate", request, pb.GenerateResponse, 60))

    def check_answers(self, events, seed, alone):
        """Each as alone; returns the usages."""
        usages = []
        self.assertEqual(len({event.request_id for event in events}), 1)
        for k in range(ANSWERS):
            own = [event for event in events if event.answer == k]
            self.assertEqual(own[-1].WhichOneof("event"), "finished")
            self.assertEqual(own[-1].finished.seed, seed + k)
            self.assertEqual(ids_of(own), ids_of(alone(seed + k)))
            usages.append(own[-1].finished.usage)
        self.assertEqual(sum(event.HasField("finished") for event in events), ANSWERS)
        self.assertEqual(sum(event.HasField("planned") for event in events), 1)
        return usages

    def test_answers_to_one_prompt_read_it_once(self):
        for workers in (1, 3):
            self.launch(workers)
            for method in METHODS:
                usages = self.check_answers(self.ask(100, method, answers=ANSWERS), 100,
                                            lambda seed, method=method: self.ask(seed, method))
                tokens = usages[0].prompt_tokens
                self.assertEqual([(u.cached_tokens, u.prefilled_tokens) for u in usages],
                                 [(0, tokens)] + [(tokens - 1, 1)] * (ANSWERS - 1), method)
            self.end()

    def test_a_method_that_follows_the_length_answers_as_alone(self):
        """Keys go by the length of each: there is no reading in common."""
        self.launch(1)
        events = self.ask(100, SQUEEZED, answers=2)
        for k in range(2):
            own = [event for event in events if event.answer == k]
            self.assertEqual(ids_of(own), ids_of(self.ask(100 + k, SQUEEZED)))
            self.assertEqual(own[-1].finished.usage.cached_tokens, 0)
        error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT,
                                 lambda: list(self.score(TEXT, options=by(SQUEEZED), continuations=ENDS)))
        self.assertIn(b"options.method", self.details_of(error))

    def test_questions_to_a_session_pass_it_and_the_question_once(self):
        self.launch(1)
        create = self.channel.unary_unary("/longhaul.v1.Sessions/CreateSession",
                                          request_serializer=lambda m: m.SerializeToString(),
                                          response_deserializer=sp.Session.FromString)
        session = create(sp.CreateSessionRequest(document=TEXT, session=sp.Session(raw=True)), timeout=60)
        fields = {"session": session.name, "prompt": pb.Prompt(text="What was there?")}
        usages = self.check_answers(self.ask(7, answers=ANSWERS, **fields), 7, lambda seed: self.ask(seed, **fields))
        question = usages[0].prompt_tokens - session.tokens
        self.assertEqual([u.prefilled_tokens for u in usages], [question] + [1] * (ANSWERS - 1))

    def scores_of(self, events, k=0):
        return [p for event in events if event.continuation == k for p in event.scores.logprobs]

    def test_continuations_of_one_text_read_it_once(self):
        for workers, far in ((1, 0), (2, 3e-4)):  # several pass a short text otherwise than a long one
            self.launch(workers)
            for method in METHODS:
                events = list(self.score(TEXT, timeout=60, options=by(method), continuations=ENDS))
                usages = []
                for k, end in enumerate(ENDS):
                    whole = self.scores_of(list(self.score(TEXT + end, timeout=60, options=by(method))))
                    mine = [event for event in events if event.continuation == k]
                    behind = self.scores_of(mine, k)
                    self.assertGreater(len(behind), 0)
                    for a, b in zip(behind, whole[-len(behind):]):
                        self.assertLessEqual(abs(a - b), far)
                    usages.append((mine[-1].finished.usage, len(behind)))
                first = usages[0][0]
                self.assertEqual((first.cached_tokens, first.prefilled_tokens), (0, first.prompt_tokens))
                for usage, scored in usages[1:]:
                    self.assertEqual(usage.prefilled_tokens, scored + 1)
            self.end()

    def test_what_makes_no_sense_is_refused_by_its_field(self):
        self.launch(1)
        for answers in (-1, 17):
            error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.ask(1, answers=answers))
            self.assertIn(b"answers", self.details_of(error))
        for fields in ({"continuations": ["a", ""]}, {"continuations": ["a"] * 1025},
                       {"continuations": ["a"], "session": "sessions/report"}):
            self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: list(self.score(TEXT, **fields)))
        self.expect_code(grpc.StatusCode.OUT_OF_RANGE, lambda: self.ask(1, answers=2, prompt=pb.Prompt(text="a" * 9000)))
        self.assertTrue(self.ask(1, answers=1))

    def test_a_cancel_ends_all_of_them(self):
        self.launch(1, "--group-requests=2")
        request = pb.GenerateRequest(request_id="many", prompt=pb.Prompt(text=TEXT, raw=True), answers=ANSWERS,
                                     max_tokens=500, ignore_end=True)
        call = self.stream(INFERENCE + "Generate", request, pb.GenerateResponse, 60)
        failure = []

        def follow():
            try:
                list(call)
            except grpc.RpcError as error:
                failure.append(error.code())
        thread = threading.Thread(target=follow)
        thread.start()
        wait_until(lambda: len(self.cluster().requests) > 2, 20, "its answers run")
        self.unary(INFERENCE + "Cancel", pb.CancelRequest(request_id="many"), pb.CancelResponse)
        thread.join(20)
        self.assertEqual(failure, [grpc.StatusCode.CANCELLED])
        wait_until(lambda: not self.cluster().requests, 10, "nothing is left")
        began = time.monotonic()
        self.assertTrue(ids_of(self.ask(1)))
        self.assertLess(time.monotonic() - began, 20)


class CallsThatRun(ClusterTest):
    """What has begun is not ended by what comes later."""

    def begin(self, *flags, echo):
        self.start("--heartbeat=0.2", *flags)
        self.echo("--group=g", *echo)
        self.wait_ready()

    def check_whole(self, events, answers):
        finished = [event.finished.finish_reason for event in events if event.HasField("finished")]
        self.assertEqual(finished, [pb.FINISH_REASON_LENGTH] * answers)

    def test_more_answers_than_may_wait_take_turns(self):
        self.begin("--queue-length=4", echo=("--places=1", "--step-us=500"))
        self.check_whole(list(self.generate("HELLO", max_tokens=8, answers=16)), 16)
        self.assertEqual(sum(event.HasField("finished") for event in self.score("HELLO", continuations=["A", "BC"] * 10)), 20)

    def test_a_cancel_ends_a_call_that_waits_for_the_queue(self):
        self.begin("--queue-length=1", echo=("--places=1", "--step-us=20000"))
        call = self.generate("HELLO", timeout=60, max_tokens=1000, answers=4, request_id="many")
        wait_until(lambda: next(call).HasField("tokens"), 10, "one runs, and two find no room to wait")
        self.unary(INFERENCE + "Cancel", pb.CancelRequest(request_id="many"), pb.CancelResponse)
        self.expect_code(grpc.StatusCode.CANCELLED, lambda: list(call))

    def drain(self, call, answers):
        self.coordinator.terminate()
        self.wait_logged(self.coordinator, "draining")
        self.check_whole(list(call), answers)
        self.assertEqual(self.coordinator.wait(30), 0)

    def test_a_drain_waits_for_answers_that_wait_behind_those_that_run(self):
        self.begin(echo=("--places=2", "--step-us=20000"))
        call = self.generate("HELLO", timeout=60, max_tokens=30, answers=4)
        wait_until(lambda: next(call).HasField("tokens"), 10, "tokens come")
        self.drain(call, 4)

    def test_a_drain_waits_for_answers_to_a_prompt_that_is_read(self):
        self.begin(echo=("--places=1", "--step-us=500", "--prefill-us-per-token=5000"))
        call = self.generate("A" * 200, timeout=60, max_tokens=8, answers=3)
        wait_until(lambda: next(call).HasField("planned"), 10, "it is read")
        self.drain(call, 3)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
