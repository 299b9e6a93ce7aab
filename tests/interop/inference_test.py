"""A stock client asks for everything that the service Inference offers, and for what it must refuse."""
import sys
import time
import unittest

from google.protobuf import descriptor_pb2

from cluster_under_test import (INFERENCE, ClusterTest, grpc, health_pb2, ids_of, pb, reflection_pb2,
                                text_of, wait_until)

SERVING = health_pb2.HealthCheckResponse.SERVING
NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Generate(ClusterTest):
    def setUp(self):
        super().setUp()
        self.start()

    def test_events_come_in_order_and_the_end_tells_usage(self):
        self.workers(2)
        events = list(self.generate(request_id="mine", max_tokens=12))
        kinds = [event.WhichOneof("event") for event in events]
        self.assertEqual(kinds[0], "planned")
        self.assertEqual(kinds[-1], "finished")
        self.assertIn("progress", kinds)
        self.assertLess(kinds.index("progress"), kinds.index("tokens"))
        self.assertTrue(all(event.request_id == "mine" for event in events))
        end = events[-1].finished
        self.assertEqual(end.finish_reason, pb.FINISH_REASON_LENGTH)
        self.assertEqual(end.usage.completion_tokens, 12)
        self.assertEqual(end.usage.prompt_tokens, events[0].planned.prompt_tokens)
        self.assertEqual([rank.sent_bytes for rank in end.ranks], [100, 101])
        self.assertEqual(len(ids_of(events)), 12)
        self.assertEqual(len(text_of(events)), 12)
        self.assertEqual(events[0].planned.workers, 2)

    def test_the_end_tells_what_was_read_before_and_what_was_not(self):
        self.workers(1)
        for fields, cached in (({}, 128), ({"no_prefix_reuse": True}, 0)):
            usage = list(self.generate("x" * 192, **fields))[-1].finished.usage
            self.assertGreater(usage.prompt_tokens, 128)
            self.assertEqual((usage.cached_tokens, usage.prefilled_tokens), (cached, usage.prompt_tokens - cached))

    def test_the_same_prompt_gives_the_same_answer_and_another_one_another(self):
        self.workers(1)
        first = text_of(self.generate("one"))
        self.assertEqual(first, text_of(self.generate("one")))
        self.assertNotEqual(first, text_of(self.generate("two")))

    def test_a_document_and_its_question_are_joined_by_an_empty_line(self):
        self.workers(1)
        document = pb.Document(document="a b", question="c?")
        request = pb.GenerateRequest(prompt=pb.Prompt(document=document, raw=True), max_tokens=5)
        joined = self.stream(INFERENCE + "Generate", request, pb.GenerateResponse, 20)
        self.assertEqual(text_of(joined), text_of(self.generate("a b\n\nc?", max_tokens=5)))

    def test_a_stop_string_ends_the_answer_before_it(self):
        self.workers(1, "--token-ms=20")
        whole = text_of(self.generate(max_tokens=20))
        begin = time.monotonic()
        events = list(self.generate(max_tokens=1000, stop=[whole[5:8]]))
        self.assertEqual(text_of(events), whole[:whole.index(whole[5:8])])
        self.assertEqual(events[-1].finished.finish_reason, pb.FINISH_REASON_STOP)
        self.assertLess(events[-1].finished.usage.completion_tokens, 20)
        self.assertLess(time.monotonic() - begin, 5)
        self.wait_ready()

    def test_a_stop_id_is_part_of_the_ids_and_not_of_the_text(self):
        self.workers(1, "--stop-after=4")
        events = list(self.generate(max_tokens=50))
        self.assertEqual(len(ids_of(events)), 4)
        self.assertEqual(len(text_of(events)), 3)
        self.assertEqual(events[-1].finished.finish_reason, pb.FINISH_REASON_STOP)

    def test_a_given_seed_is_kept_and_a_missing_one_is_drawn(self):
        self.workers(1)
        given = list(self.generate(sampling=pb.Sampling(seed=7, temperature=0.5)))[-1]
        self.assertEqual(given.finished.seed, 7)
        drawn = {list(self.generate(max_tokens=1))[-1].finished.seed for _ in range(3)}
        self.assertEqual(len(drawn), 3)

    def test_wrong_fields_are_named(self):
        self.workers(1)
        cases = [
            (dict(sampling=pb.Sampling(temperature=-1)), "sampling.temperature"),
            (dict(sampling=pb.Sampling(temperature=float("nan"))), "sampling.temperature"),
            (dict(sampling=pb.Sampling(top_p=1.5)), "sampling.top_p"),
            (dict(sampling=pb.Sampling(top_k=-1)), "sampling.top_k"),
            (dict(max_tokens=0), "max_tokens"),
            (dict(logprobs=21), "logprobs"),
            (dict(logprobs=-1), "logprobs"),
            (dict(stop=[""]), "stop"),
            (dict(stop=["x"] * 40), "stop"),
            (dict(text=""), "prompt"),
            (dict(request_id="x" * 41), "request_id"),
            (dict(options=pb.PlanOptions(partition=3)), "options.partition"),
            (dict(options=pb.PlanOptions(schedule=99)), "options.schedule"),
            (dict(options=pb.PlanOptions(stage_tokens=-1)), "options.stage_tokens"),
            (dict(options=pb.PlanOptions(schedule=pb.SCHEDULE_HALO)), "options"),
        ]
        for fields, field in cases:
            with self.subTest(field=field, **{"case": str(fields)}):
                error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT,
                                         lambda: list(self.generate(**fields)))
                self.assertIn(b"type.googleapis.com/google.rpc.BadRequest", self.details_of(error))
                self.assertIn(field.encode(), self.details_of(error))
        self.assertEqual(len(ids_of(self.generate())), 12)

    def test_log_probabilities_come_where_they_are_asked_for(self):
        self.workers(2)
        for asked in (None, 0, 3, 20):
            fields = {} if asked is None else {"logprobs": asked}
            told = [one for event in self.generate(**fields) for one in event.tokens.logprobs]
            if asked is None:
                self.assertEqual(told, [])
                continue
            self.assertEqual([one.logprob for one in told], [-float(t) for t in range(12)])
            for one in told:
                self.assertEqual([(other.id, other.logprob) for other in one.likeliest],
                                 [(n, -float(n)) for n in range(asked)])

    def test_a_score_that_is_no_number_ends_its_request_alone(self):
        self.workers(2, "--nan-at=7")
        events, call = [], self.score("twelve and a few more tokens")
        error = self.expect_code(grpc.StatusCode.INTERNAL, lambda: events.extend(call) or list(call))
        self.assertIn(b"NON_FINITE_LOGITS", self.details_of(error))
        self.assertEqual([p for event in events for p in event.scores.logprobs if p != p], [])
        self.wait_ready()
        self.assertEqual(len(ids_of(self.generate())), 12)

    def test_a_method_that_contradicts_itself_is_refused(self):
        self.workers(1)
        method = pb.Method(string=pb.StringMethod(shift=4, local=8))
        options = pb.PlanOptions(method=method)
        error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT,
                                 lambda: list(self.generate(options=options)))
        self.assertIn("local=8", error.details())
        self.assertIn(b"options.method", self.details_of(error))
        self.assertEqual(len(ids_of(self.generate())), 12)

    def test_too_long_is_out_of_range_with_the_numbers(self):
        self.workers(1)
        error = self.expect_code(grpc.StatusCode.OUT_OF_RANGE,
                                 lambda: list(self.generate(max_tokens=1 << 40)))
        details = self.details_of(error)
        self.assertIn(b"CONTEXT_EXCEEDED", details)
        self.assertIn(b"limit_tokens", details)
        self.assertIn(b"2048", details)

    def test_an_answer_that_nobody_measured_takes_what_is_left(self):
        self.workers(1)
        for prompt, left in (("a" * 1000, 256), ("a" * 1900, 148), ("a" * 2047, 1)):
            events = list(self.generate(prompt, max_tokens=None))
            self.assertEqual(events[0].planned.prompt_tokens, len(prompt))
            self.assertEqual(events[0].planned.max_tokens, left)
            self.assertEqual(events[-1].finished.usage.completion_tokens, left)
            self.assertEqual(events[-1].finished.finish_reason, pb.FINISH_REASON_LENGTH)
        self.expect_code(grpc.StatusCode.OUT_OF_RANGE, lambda: list(self.generate("a" * 2048, max_tokens=None)))
        self.expect_code(grpc.StatusCode.OUT_OF_RANGE, lambda: list(self.generate("a" * 1900, max_tokens=149)))

    def test_what_can_never_work_is_told_from_what_may_later(self):
        """Codes that a client retries come with RetryInfo; the others never do."""
        self.workers(1)
        methods = [pb.Method(lm_infinite=pb.LmInfiniteMethod(window=0)), pb.Method(string=pb.StringMethod(shift=0)),
                   pb.Method(lm_infinite=pb.LmInfiniteMethod(sinks=-1)),
                   pb.Method(string=pb.StringMethod(logit_scale=-1))]
        for method in methods:
            error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT,
                                     lambda: list(self.generate(options=pb.PlanOptions(method=method))))
            self.assertNotIn(b"RetryInfo", self.details_of(error))
            plan = pb.PlanRequest(prompt_tokens=9, options=pb.PlanOptions(method=method))
            self.expect_code(grpc.StatusCode.INVALID_ARGUMENT,
                             lambda: self.unary(INFERENCE + "Plan", plan, pb.PlanResponse))

    def test_a_workers_failure_is_the_requests_and_the_group_goes_on(self):
        self.workers(1, "--fail-with=the plan does not fit: 9 of 8 bytes")
        for _ in range(2):
            error = self.expect_code(grpc.StatusCode.RESOURCE_EXHAUSTED,
                                     lambda: list(self.generate()))
            self.assertEqual(error.details(), "the plan does not fit: 9 of 8 bytes")

    def test_a_plan_that_does_not_fit_is_refused_with_the_numbers(self):
        self.workers(1, "--memory-bytes=2000")
        error = self.expect_code(grpc.StatusCode.OUT_OF_RANGE, lambda: list(self.generate()))
        self.assertRegex(error.details(), "[0-9]")
        self.assertNotIn(b"RetryInfo", self.details_of(error))
        self.assertIn(b"MEMORY_EXCEEDED", self.details_of(error))

    def test_the_method_reaches_the_plan(self):
        self.workers(2)
        method = pb.Method(lm_infinite=pb.LmInfiniteMethod(window=128, sinks=4))
        planned = next(self.generate("hello there " * 40, options=pb.PlanOptions(method=method))).planned
        self.assertEqual(planned.method, "lm_infinite:window=128,sinks=4,ceiling=128")
        self.assertIn(planned.method, planned.text)
        self.assertEqual((planned.schedule, planned.partition),
                         (pb.SCHEDULE_HALO, pb.PARTITION_CONTIGUOUS))

    def planned(self, **options):
        events = list(self.generate(options=pb.PlanOptions(**options)))
        return next(event.planned for event in events if event.HasField("planned"))

    def test_a_typed_method_and_its_spelling_are_one(self):
        self.workers(1)
        string, lm_infinite = pb.StringMethod, pb.LmInfiniteMethod
        for typed, spelling, method in (
                (dict(rope=pb.RopeMethod()), "rope", "rope"),
                (dict(string=string(shift=300)), "string:shift=300",
                 "string:shift=300,local=128,logit_scale=1"),
                (dict(string=string(local=0, logit_scale=1.143434)),
                 "string:logit_scale=published,local=0,shift=auto",
                 "string:shift=682,local=0,logit_scale=1.143434"),
                (dict(lm_infinite=lm_infinite()), "lm_infinite",
                 "lm_infinite:window=2048,sinks=10,ceiling=2048"),
                (dict(lm_infinite=lm_infinite(window=9, sinks=0, ceiling=0)),
                 "lm_infinite:ceiling=0,sinks=0,window=9",
                 "lm_infinite:window=9,sinks=0,ceiling=0")):
            with self.subTest(method=method):
                self.assertEqual(self.planned(method=pb.Method(**typed)).method, method)
                self.assertEqual(self.planned(method=pb.Method(spelling=spelling)).method, method)
        self.assertEqual(self.planned(method=pb.Method()).method, "rope", "the coordinator's own")

    def test_a_wrong_method_is_refused_by_name(self):
        self.workers(1)
        for method, named in (
                (dict(spelling="strnig"), 'did you mean "string"? There are rope, string'),
                (dict(spelling="string:shift=0"), "shift=0 must be between 1 and"),
                (dict(string=pb.StringMethod(shift=-5)), "shift=-5 must be between 1 and"),
                (dict(string=pb.StringMethod(logit_scale=float("nan"))), "logit_scale=nan"),
                (dict(spelling="é" * 40), "unknown method"),
                (dict(spelling="rope", rope=pb.RopeMethod()), "two methods")):
            with self.subTest(**method):
                options = pb.PlanOptions(method=pb.Method(**method))
                error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT,
                                         lambda: list(self.generate(options=options)))
                self.assertIn(named, error.details())
                self.assertIn(b"options.method", self.details_of(error))


class Queue(ClusterTest):
    def test_positions_are_told_and_requests_run_in_order(self):
        self.start()
        self.workers(1, "--token-ms=30")
        running = self.generate(max_tokens=60)
        next(running)
        waiting = []
        for ahead in (1, 2):
            waiting.append(self.generate(max_tokens=2, timeout=30))
            queued = next(waiting[-1]).queued
            self.assertEqual((queued.ahead, queued.waiting_for_workers), (ahead, False))
        list(running)
        for call in waiting:
            self.assertEqual(list(call)[-1].WhichOneof("event"), "finished")

    def test_a_full_queue_refuses_with_a_delay(self):
        self.start("--queue-length=1")
        self.workers(1, "--token-ms=50")
        running = self.generate(max_tokens=200)
        next(running)
        waiting = self.generate()
        next(waiting)
        error = self.expect_code(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: list(self.generate()))
        self.assertIn(b"google.rpc.RetryInfo", self.details_of(error))
        self.assertIn(b"QUEUE_FULL", self.details_of(error))
        running.cancel()
        self.assertEqual(list(waiting)[-1].WhichOneof("event"), "finished")

    def test_without_workers_requests_are_refused_with_a_delay(self):
        self.start()
        error = self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda: list(self.generate()))
        self.assertIn(b"NO_WORKERS", self.details_of(error))

    def test_a_plan_without_workers_is_refused_with_a_delay(self):
        self.start()
        error = self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda: self.unary(
            INFERENCE + "Plan", pb.PlanRequest(prompt_tokens=9), pb.PlanResponse))
        self.assertIn(b"NO_WORKERS", self.details_of(error))
        self.assertIn(b"RetryInfo", self.details_of(error))

    def test_requests_wait_for_a_group_that_is_loading(self):
        self.start()
        self.worker("--size=1", "--group=g", "--load-ms=700")
        wait_until(lambda: self.cluster().groups, 5, "the worker joined")
        events = list(self.generate())
        self.assertEqual(events[0].WhichOneof("event"), "queued")
        self.assertTrue(events[0].queued.waiting_for_workers)
        self.assertEqual(events[-1].WhichOneof("event"), "finished")


class Names(ClusterTest):
    def test_a_name_is_for_one_request_at_a_time(self):
        self.start()
        self.workers(1, "--token-ms=20")
        running = self.generate(max_tokens=200, timeout=60, request_id="mine")
        wait_until(lambda: next(running).HasField("tokens"), 10, "tokens come")
        waiting = self.score("some text", request_id="next")
        self.assertEqual(next(waiting).queued.ahead, 1)
        for taken in ("mine", "next"):
            for call in (self.generate(request_id=taken), self.score("a b", request_id=taken)):
                error = self.expect_code(grpc.StatusCode.ALREADY_EXISTS, lambda: list(call))
                self.assertIn('"%s" runs or waits' % taken, error.details())
                self.assertIn(b"request_id", self.details_of(error))
        running.cancel()
        self.assertEqual(list(waiting)[-1].WhichOneof("event"), "finished")
        for free in ("mine", "next"):
            wait_until(lambda: self.cluster().groups[0].state == pb.GROUP_STATE_READY, 5, "the group is free")
            self.assertEqual(len(ids_of(self.generate(request_id=free))), 12)

    def test_names_that_the_coordinator_gives_pass_by_those_of_clients(self):
        self.start()
        self.workers(1, "--token-ms=20")
        running = self.generate(max_tokens=200, timeout=60, request_id="r2")
        wait_until(lambda: next(running).HasField("tokens"), 10, "tokens come")
        waiting = self.generate()
        self.assertEqual(next(waiting).queued.ahead, 1)
        running.cancel()
        self.assertEqual(list(waiting)[-1].WhichOneof("event"), "finished")
        self.wait_logged(self.coordinator, "request=r3")


class Ending(ClusterTest):
    def setUp(self):
        super().setUp()
        self.start()

    def expect_idle_soon(self):
        begin = time.monotonic()
        self.wait_ready()
        self.assertLess(time.monotonic() - begin, 1.5, "the work stops within a second")

    def test_a_cancel_frees_the_group(self):
        self.workers(2, "--token-ms=20")
        call = self.generate(max_tokens=2000, timeout=60)
        wait_until(lambda: next(call).HasField("tokens"), 10, "tokens come")
        call.cancel()
        self.expect_idle_soon()
        self.assertEqual(len(ids_of(self.generate(max_tokens=3))), 3)

    def test_a_deadline_frees_the_group(self):
        self.workers(2, "--prefill-ms=20000")
        self.expect_code(grpc.StatusCode.DEADLINE_EXCEEDED,
                         lambda: list(self.generate(timeout=0.4)))
        self.expect_idle_soon()

    def test_a_client_that_disconnects_frees_the_group(self):
        self.workers(1, "--token-ms=20")
        other = grpc.insecure_channel(self.address, options=[("grpc.enable_http_proxy", 0),
                                                             ("grpc.use_local_subchannel_pool", 1)])
        request = pb.GenerateRequest(prompt=pb.Prompt(text="x", raw=True), max_tokens=2000)
        call = other.unary_stream(INFERENCE + "Generate",
                                  request_serializer=lambda m: m.SerializeToString(),
                                  response_deserializer=pb.GenerateResponse.FromString)(request)
        wait_until(lambda: next(call).HasField("tokens"), 10, "tokens come")
        other.close()
        self.expect_idle_soon()

    def test_a_waiting_request_can_be_cancelled(self):
        self.workers(1, "--token-ms=20")
        running = self.generate(max_tokens=100)
        next(running)
        waiting = self.generate()
        next(waiting)
        waiting.cancel()
        wait_until(lambda: self.cluster().queued_requests == 0, 2, "the queue is empty")
        self.assertEqual(list(running)[-1].WhichOneof("event"), "finished")


class Cancel(ClusterTest):
    def setUp(self):
        super().setUp()
        self.start()

    def cancel(self, name):
        return self.unary(INFERENCE + "Cancel", pb.CancelRequest(request_id=name), pb.CancelResponse)

    def names(self, state):
        return [request.request_id for request in self.cluster().requests if request.state == state]

    def test_a_running_request_ends_within_a_second_and_the_group_goes_on(self):
        self.workers(2, "--token-ms=20")
        call = self.generate(request_id="long", max_tokens=1900, timeout=60)
        wait_until(lambda: next(call).HasField("tokens"), 10, "tokens come")
        self.assertEqual(self.names(pb.REQUEST_STATE_RUNNING), ["long"])
        self.assertEqual(self.cluster().groups[0].running_request_id, "long")
        begin = time.monotonic()
        self.cancel("long")
        error = self.expect_code(grpc.StatusCode.CANCELLED, lambda: list(call))
        self.assertIn("the request long was cancelled in decode", error.details())
        self.assertLess(time.monotonic() - begin, 1)
        self.wait_ready()
        self.assertEqual(list(self.cluster().requests), [])
        self.assertEqual(len(ids_of(self.generate(max_tokens=3))), 3)

    def test_a_waiting_request_and_a_score_end_too(self):
        self.workers(1, "--token-ms=20")
        running = self.generate(max_tokens=1900, timeout=60)
        name = next(running).request_id
        waiting = self.generate(request_id="waiting")
        next(waiting)  # calls of their own arrive in any order
        score = self.score("some text", request_id="score")
        next(score)
        self.assertEqual(self.names(pb.REQUEST_STATE_QUEUED), ["waiting", "score"])
        self.assertEqual([request.kind for request in self.cluster().requests],
                         [pb.REQUEST_KIND_GENERATE, pb.REQUEST_KIND_GENERATE, pb.REQUEST_KIND_SCORE])
        for call, cancelled in ((score, "score"), (waiting, "waiting")):
            self.cancel(cancelled)
            error = self.expect_code(grpc.StatusCode.CANCELLED, lambda: list(call))
            self.assertIn("cancelled in queue", error.details())
        self.assertEqual(self.names(pb.REQUEST_STATE_RUNNING), [name])
        self.cancel(name)
        self.expect_code(grpc.StatusCode.CANCELLED, lambda: list(running))

    def test_a_name_that_nobody_has_is_not_found(self):
        self.workers(1)
        for name in ("none", "", "x" * 1000):
            self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: self.cancel(name))
        list(self.generate(request_id="over"))
        wait_until(lambda: not self.cluster().requests, 5, "it is over")
        self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: self.cancel("over"))


class Score(ClusterTest):
    def test_every_token_but_the_first_has_a_score(self):
        self.start()
        self.workers(2)
        text = "some text to be scored " * 20
        events = list(self.score(text))
        ids = [id for event in events for id in event.scores.token_ids]
        logprobs = [p for event in events for p in event.scores.logprobs]
        tokens = self.unary(INFERENCE + "Tokenize", pb.TokenizeRequest(text=text),
                            pb.TokenizeResponse).token_ids
        self.assertEqual(ids, list(tokens))
        self.assertEqual(logprobs, [-(t % 7 + 1.0) for t in range(len(ids) - 1)])
        self.assertEqual(events[-1].finished.usage.prompt_tokens, len(ids))
        self.assertGreater(events[-1].finished.perplexity, 1)

    def test_a_single_token_has_no_score(self):
        self.start()
        self.workers(1)
        self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: list(self.score("")))


class Others(ClusterTest):
    def setUp(self):
        super().setUp()
        self.start()

    def detokenize(self, ids):
        return self.unary(INFERENCE + "Detokenize", pb.DetokenizeRequest(token_ids=ids),
                          pb.DetokenizeResponse).text

    def test_detokenize_gives_the_text_back(self):
        text = "naïve café, 東京 🙂\n"
        ids = self.unary(INFERENCE + "Tokenize", pb.TokenizeRequest(text=text),
                         pb.TokenizeResponse).token_ids
        self.assertEqual(self.detokenize(ids), text)
        self.assertEqual(self.detokenize([]), "")
        self.assertEqual(self.detokenize(ids[:-2]), text[:-2] + "\ufffd")
        for wrong in (-1, 1 << 30):
            error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT,
                                     lambda wrong=wrong: self.detokenize([*ids, wrong]))
            self.assertIn("token_ids[%d] is %d" % (len(ids), wrong), error.details())
            self.assertIn(b"token_ids", self.details_of(error))

    def test_an_answers_text_is_that_of_its_ids(self):
        self.workers(1)
        events = list(self.generate(max_tokens=40))
        self.assertEqual(self.detokenize(ids_of(events)), text_of(events))

    def test_plan_needs_no_prompt_and_tells_every_rank(self):
        self.workers(2)
        request = pb.PlanRequest(prompt_tokens=1500, max_tokens=100, workers=4)
        plan = self.unary(INFERENCE + "Plan", request, pb.PlanResponse)
        self.assertEqual(len(plan.ranks), 4)
        self.assertEqual(sum(rank.prompt_tokens for rank in plan.ranks), 1500)
        self.assertEqual(sum(rank.sent_bytes for rank in plan.ranks),
                         sum(rank.received_bytes for rank in plan.ranks))
        self.assertEqual(plan.summary.sent_bytes, sum(rank.sent_bytes for rank in plan.ranks))
        for rank in plan.ranks:
            self.assertEqual(rank.memory_bytes, sum(line.bytes for line in rank.memory))
        for fields, field in ((dict(), b"prompt"), (dict(prompt_tokens=0), b"prompt_tokens"),
                              (dict(prompt_tokens=9, max_tokens=-1), b"max_tokens"),
                              (dict(prompt_tokens=9, workers=-1), b"workers"),
                              (dict(prompt_tokens=9, workers=4097), b"workers"),
                              (dict(prompt_tokens=9, options=pb.PlanOptions(stage_tokens=2**41)),
                               b"options")):
            error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT,
                                     lambda fields=fields: self.unary(
                                         INFERENCE + "Plan", pb.PlanRequest(**fields), pb.PlanResponse))
            self.assertIn(b"\n" + bytes([len(field)]) + field, self.details_of(error), fields)

    def test_cluster_shows_groups_and_ranks(self):
        self.assertEqual(len(self.cluster().groups), 0)
        workers = self.workers(2)
        cluster = self.cluster()
        self.assertEqual(cluster.context_tokens, 2048)
        group = cluster.groups[0]
        self.assertEqual([(rank.rank, rank.pid) for rank in group.ranks],
                         [(i, worker.pid) for i, worker in enumerate(workers)])
        self.assertLess(group.ranks[0].heartbeat_age_seconds, 2)

    def test_health_follows_the_workers(self):
        self.assertEqual(self.health(), NOT_SERVING)
        workers = self.workers(1)
        self.assertEqual(self.health("longhaul.v1.Inference"), SERVING)
        workers[0].kill()
        wait_until(lambda: self.health() == NOT_SERVING, 3, "health sees the loss")

    def test_an_overdue_work_item_is_not_healthy(self):
        self.workers(1, "--work-age=11", "--token-ms=20")
        self.assertEqual(self.health(), SERVING, "an idle worker owes nothing")
        call = self.generate(max_tokens=1000, timeout=60)
        wait_until(lambda: self.health() == NOT_SERVING, 3, "health sees that nothing moves")
        call.cancel()
        wait_until(lambda: self.health() == SERVING, 3, "health sees that it is over")

    def test_reflection_describes_what_is_served(self):
        requests = [reflection_pb2.ServerReflectionRequest(list_services=""),
                    reflection_pb2.ServerReflectionRequest(
                        file_containing_symbol="longhaul.v1.Inference")]
        call = self.channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString)
        answers = list(call(iter(requests), timeout=10))
        names = {service.name for service in answers[0].list_services_response.service}
        self.assertLessEqual({"longhaul.v1.Inference", "grpc.health.v1.Health"}, names)
        self.assertNotIn("longhaul.control.v1.WorkerControl", names)
        files = answers[1].file_descriptor_response.file_descriptor_proto
        described = descriptor_pb2.FileDescriptorProto.FromString(files[0])
        self.assertEqual(described.package, "longhaul.v1")
        self.assertEqual({message.name for message in described.message_type},
                         set(pb.DESCRIPTOR.message_types_by_name))

    def test_bytes_that_are_no_request_are_refused(self):
        def send(path, data):
            return self.channel.unary_unary(INFERENCE + path)(data, timeout=10)
        self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: send("Tokenize", b"\x0a\x02\xff\xff"))
        self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: send("Tokenize", b"\x0a\x03a\x00b"))
        self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: send("Tokenize", b"\xff" * 11))
        self.expect_code(grpc.StatusCode.OUT_OF_RANGE,
                         lambda: send("GetCluster", b"\x1a\x80\x80\x20" + bytes(524288)))
        error = self.expect_code(grpc.StatusCode.OUT_OF_RANGE, lambda: send("Tokenize", bytes((32 << 20) + 1)))
        self.assertIn("the limit is %d" % (32 << 20), error.details())
        self.expect_code(grpc.StatusCode.UNIMPLEMENTED, lambda: send("Nothing", b""))
        self.assertTrue(self.unary(INFERENCE + "Tokenize", pb.TokenizeRequest(text="ok"),
                                   pb.TokenizeResponse).token_ids)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
