"""The whole service with real workers: launched by mpirun or as threads, killed, stopped, cancelled."""
import os
import signal
import subprocess
import sys
import time
import unittest

from cluster_under_test import BIN, FOLDER, MODEL, TESTS, ClusterTest, grpc, ids_of, pb, wait_until

PLAIN = ("--heartbeat=0.2", "--threads=1", "--kernels=reference")
# Where a rank is lost. Elsewhere the usual limit, which a slow machine and a sanitizer keep.
SOON = "--heartbeat-timeout=2"
PROMPT = "In the beginning there was a very long document. " * 12
LOAD_S = 60


class RealWorkers(ClusterTest):
    def launch(self, *flags):
        self.start("--launch", *PLAIN, *flags)
        self.wait_any()

    def wait_any(self):
        wait_until(lambda: self.coordinator.poll() is not None or
                   any(g.state == pb.GROUP_STATE_READY for g in self.cluster().groups), LOAD_S,
                   "the group is ready")
        self.assertIsNone(self.coordinator.poll(), "the coordinator ended")

    def pids(self):
        return [rank.pid for rank in self.cluster().groups[0].ranks]

    def answer(self, **fields):
        events = list(self.generate(PROMPT, timeout=60, **{"max_tokens": 20, **fields}))
        for rank in events[-1].finished.ranks:
            self.assertEqual((rank.sent_bytes, rank.received_bytes),
                             (rank.predicted_sent_bytes, rank.predicted_received_bytes))
        return ids_of(events)

    def stop_and_expect_no_process(self, pids):
        self.coordinator.terminate()
        self.assertEqual(self.coordinator.wait(20), 0)
        wait_until(lambda: not any(os.path.exists("/proc/%d" % pid) for pid in pids), 10,
                   "the workers have ended")

    def test_a_worker_with_another_model_is_refused_for_good(self):
        """Not 75, which says that asking again helps."""
        other = os.path.join(FOLDER, "other.gguf")
        subprocess.run([os.path.join(TESTS, "tiny_model_file"), other, "f32"], check=True, timeout=60)
        self.start()
        worker = self.spawn("worker", os.path.join(BIN, "longhaul-worker"), "--coordinator", self.worker_address,
                            "--model", other, "--transport", "loopback")
        self.assertEqual(worker.wait(20), 78, self.log_of(worker))
        self.assertIn("give both the same file", self.log_of(worker))

    def test_answers_do_not_depend_on_how_many_workers_there_are(self):
        answers, scores = [], []
        for flags in (["--workers=1"], ["--workers=3", "--transport=loopback"],
                      ["--workers=2", "--transport=mpi"]):
            self.launch(*flags)
            answers.append(self.answer())
            events = list(self.score(PROMPT, timeout=60))
            scores.append([p for event in events for p in event.scores.logprobs])
            self.stop_and_expect_no_process(self.pids())
        self.assertEqual(answers[0], answers[1])
        self.assertEqual(answers[0], answers[2])
        self.assertEqual(scores[0], scores[1])
        self.assertEqual(scores[0], scores[2])

    def test_what_others_do_changes_no_answer(self):
        """Other methods, other lengths, a sampled one, a score, one that is cancelled: all at once on one group."""
        methods = ("rope", "string:shift=64,local=16", "lm_infinite:window=128,sinks=4", "rope")
        asked = [dict(text=PROMPT[n:], max_tokens=60 + 20 * n,
                      options=pb.PlanOptions(method=pb.Method(spelling=method)),
                      sampling=pb.Sampling(temperature=n % 2, seed=7)) for n, method in enumerate(methods)]
        for flags in (("--workers=1",), ("--workers=2", "--transport=loopback")):
            self.launch(*flags)
            alone = [ids_of(list(self.generate(timeout=60, **fields))) for fields in asked]
            cancelled = self.generate(PROMPT, max_tokens=1200, timeout=60)
            wait_until(lambda: next(cancelled).HasField("tokens"), LOAD_S, "tokens come")
            calls = [self.generate(timeout=60, **fields) for fields in asked]
            score = self.score(PROMPT, timeout=60)
            next(calls[0])
            cancelled.cancel()
            self.assertEqual([ids_of(list(call)) for call in calls], alone)
            self.assertEqual(list(score)[-1].WhichOneof("event"), "finished")
            self.stop_and_expect_no_process(self.pids())

    def test_what_was_read_before_is_not_read_again(self):
        document = PROMPT * 2  # 14 panels of 64 tokens and 38 tokens
        for flags, stage_tokens, cached in ((("--workers=1",), 0, 896), (("--workers=2", "--transport=loopback"), 320, 640)):
            self.launch(*flags)

            def ask(question, **fields):
                events = list(self.generate(document + question, timeout=60, max_tokens=20,
                                            options=pb.PlanOptions(stage_tokens=stage_tokens), **fields))
                usage = events[-1].finished.usage
                self.assertEqual(usage.cached_tokens + usage.prefilled_tokens, usage.prompt_tokens)
                return ids_of(events), usage.cached_tokens
            whole = [ask(question, no_prefix_reuse=True) for question in "ab"]
            self.assertEqual([told for _, told in whole], [0, 0], "and nothing of them is kept")
            self.assertEqual(ask("a"), (whole[0][0], 0))
            self.assertEqual(ask("b"), (whole[1][0], cached))
            self.assertEqual(ask("a", no_prefix_reuse=True), whole[0])
            self.assertEqual(ask("a"), (whole[0][0], cached))
            self.stop_and_expect_no_process(self.pids())

    def test_a_told_seed_gives_the_same_answer_back(self):
        self.launch("--workers=2", "--transport=loopback")

        def sampled(**fields):
            events = list(self.generate(PROMPT, timeout=60, max_tokens=16,
                                        sampling=pb.Sampling(temperature=2, **fields)))
            return ids_of(events), events[-1].finished.seed
        drawn, seed = sampled()
        self.assertEqual(sampled(seed=seed), (drawn, seed))
        seeds = (0, 1, 2**53 + 1, 2**63, 2**64 - 1)
        answers = [sampled(seed=seed) for seed in seeds]
        self.assertEqual([told for _, told in answers], list(seeds))
        self.assertEqual(len({tuple(ids) for ids, _ in answers}), len(seeds))

    def test_an_answer_goes_on_behind_the_end_tokens_where_that_is_asked_for(self):
        self.launch("--workers=2", "--transport=loopback")
        stopped = 0
        for seed in range(8):
            asked = dict(timeout=60, max_tokens=120, sampling=pb.Sampling(temperature=50, seed=seed))
            usual, whole = (list(self.generate("ab", **asked, **more)) for more in ({}, {"ignore_end": True}))
            self.assertEqual(whole[-1].finished.finish_reason, pb.FINISH_REASON_LENGTH)
            self.assertEqual(len(ids_of(whole)), 120)
            self.assertEqual(ids_of(whole)[:len(ids_of(usual))], ids_of(usual), "the same until there")
            stopped += usual[-1].finished.finish_reason == pb.FINISH_REASON_STOP
        self.assertGreater(stopped, 0, "no answer met an end token, so nothing was shown")

    def expect_all(self, cases, **common):
        """Each of (fields, where it is refused): the coordinator names the field, or the workers answer."""
        pids = self.pids()
        for fields, refused in cases:
            with self.subTest(fields=str(fields)):
                def call(fields=fields):
                    return list(self.generate("ab", timeout=60, **{"max_tokens": 2, **common, **fields}))
                if refused is None:
                    self.assertTrue(call()[-1].HasField("finished"))
                elif refused == "context":
                    self.expect_code(grpc.StatusCode.OUT_OF_RANGE, call)
                else:
                    details = self.details_of(self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, call))
                    self.assertIn(b"type.googleapis.com/google.rpc.BadRequest", details)
                    self.assertIn(refused.encode(), details)
        self.assertEqual(self.pids(), pids, "the group served through all of it")
        self.assertNotIn("status=INVALID_ARGUMENT", self.log_of(self.coordinator), "a worker refused")

    def test_what_the_coordinator_takes_the_workers_take(self):
        self.launch("--workers=2", "--transport=loopback")
        limits = {"temperature": ((0, 1e-30, 1, 100), (-1e-30, 100.00001)),
                  "top_k": ((0, 1, 1000000, 1 << 30), (-1, (1 << 30) + 1, -(1 << 31))),
                  "top_p": ((1e-30, 1e-9, 0.5, 1), (0, -1e-9, 1.0000002)),
                  "min_p": ((0, 1e-9, 0.5, 0.9999999), (-1e-9, 1, 1.5)),
                  "repetition_penalty": ((0.01, 0.5, 1, 100), (0, -1, 0.0099999, 100.00001)),
                  "presence_penalty": ((-2, 0, 2), (-2.00001, 2.00001)),
                  "frequency_penalty": ((-2, 0, 2), (-2.00001, 2.00001))}
        never = tuple(float(word) for word in ("nan", "inf", "-inf"))
        cases = []
        for field, (inside, outside) in limits.items():
            refused = outside + (never if field != "top_k" else ())
            for value in inside + refused:
                values = {"temperature": 1, **{field: value}}
                cases.append((dict(sampling=pb.Sampling(**values)),
                              "sampling." + field if value in refused else None))
        for bias in (-100, 0, 100):
            cases.append((dict(sampling=pb.Sampling(logit_bias=[pb.LogitBias(id=0, bias=bias)] * 1024)), None))
        for wrong in ([pb.LogitBias(id=0, bias=100.5)], [pb.LogitBias(id=-1)], [pb.LogitBias(id=1 << 20)],
                      [pb.LogitBias(bias=never[0])], [pb.LogitBias()] * 1025):
            cases.append((dict(sampling=pb.Sampling(logit_bias=wrong)), "sampling.logit_bias"))
        cases += [(dict(min_tokens=tokens), refused) for tokens, refused in ((2, None), (-1, "min_tokens"), (3, "min_tokens"))]
        cases += [(dict(draft=draft), refused) for draft, refused in ((0, None), (1, None), (2, None), (3, "draft"))]
        cases += [(dict(positions=positions), refused) for positions, refused in (
            ([0, 1], None), ([0, 900], None), ([7, (1 << 40) - 1], None), ([0], "positions"), ([0, 1, 2], "positions"),
            ([1, 1], "positions"), ([-1, 1], "positions"), ([0, 1 << 40], "positions"))]
        cases += [(dict(positions=[0, 1], answers=2), "positions"), (dict(
            positions=[0, 1], options=pb.PlanOptions(method=pb.Method(spelling="string:shift=9"))), "positions")]
        self.expect_all(cases)

    def test_positions_are_where_tokens_stand(self):
        self.launch("--workers=2", "--transport=loopback")

        def scores(**fields):
            return [value for event in self.score(PROMPT, timeout=60, **fields) for value in event.scores.logprobs]
        plain = scores()
        self.assertEqual(scores(positions=range(len(plain) + 1)), plain)
        self.assertNotEqual(scores(positions=[5 * index for index in range(len(plain) + 1)]), plain)
        halved = pb.PlanOptions(method=pb.Method(spelling="rope+linear:factor=2"))
        self.assertEqual(scores(positions=range(0, 2 * len(plain) + 1, 2), options=halved), plain)
        self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: scores(positions=[3]))
        self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: scores(positions=[3], continuations=["a"]))

    def test_what_stands_elsewhere_is_shared_with_nobody(self):
        self.launch("--workers=1")
        tokens = sum(len(event.scores.logprobs) for event in self.score(PROMPT, timeout=60)) + 1
        spread = [5 * index for index in range(tokens)]

        def ask(**fields):
            events = list(self.generate(PROMPT, timeout=60, max_tokens=8, **fields))
            return ids_of(events), events[-1].finished.usage.cached_tokens
        moved, plain = ask(positions=spread), ask()
        self.assertEqual((moved[1], plain[1]), (0, 0), "the second finds nothing of the first")
        self.assertEqual(ask(positions=spread), moved)
        self.assertEqual(ask(), (plain[0], tokens // 64 * 64))

    def test_what_is_too_much_never_reaches_the_workers(self):
        self.launch("--workers=1")
        free = self.cluster().context_tokens - 2  # the prompt has two
        first = next(event.tokens.text for event in self.generate("ab", max_tokens=1, timeout=60)
                     if event.tokens.text)
        self.expect_all([(dict(max_tokens=tokens), refused) for tokens, refused in (
            (1, None), (free, None), (0, "max_tokens"), (-1, "max_tokens"), (-1 << 63, "max_tokens"),
            (free + 1, "context"), ((1 << 63) - 1, "context"))], stop=[first])
        self.expect_all([(dict(stop=stop), refused) for stop, refused in (
            ([], None), (["x"], None), (["x"] * 16, None), (["x" * 256], None),
            (["x"] * 17, "stop"), (["x" * 257], "stop"), ([""], "stop"), (["x", ""], "stop"))])

    def test_a_greedy_answer_is_made_of_the_likeliest_tokens(self):
        self.launch("--workers=2", "--transport=loopback")
        events = list(self.generate(PROMPT, timeout=60, max_tokens=12, logprobs=2))
        told = [one for event in events for one in event.tokens.logprobs]
        self.assertEqual([one.likeliest[0].id for one in told], ids_of(events))
        for one in told:
            self.assertEqual(one.likeliest[0].logprob, one.logprob)
            self.assertLessEqual(one.likeliest[1].logprob, one.logprob)
            self.assertLess(one.logprob, 0)

    def test_numbers_that_are_not_finite_end_their_request_alone(self):
        model = os.path.join(FOLDER, "spoilt.gguf")
        subprocess.run([os.path.join(TESTS, "tiny_model_file"), model, "spoilt"], check=True, timeout=60)
        for flags in (PLAIN, PLAIN[:-1]):  # the best kernels, too
            self.start("--launch", "--workers=2", "--transport=mpi", "--model", model, *flags)
            self.wait_any()
            pids, before = self.pids(), self.answer()
            calls = (lambda: list(self.generate("abcz", timeout=60)),
                     lambda: list(self.generate(PROMPT + "z" + PROMPT, timeout=60)),
                     lambda: list(self.score(PROMPT + "z" + PROMPT, timeout=60)))
            for call in calls:
                error = self.expect_code(grpc.StatusCode.INTERNAL, call)
                self.assertIn(b"NON_FINITE_LOGITS", self.details_of(error))
                self.assertRegex(error.details(), r"^token \d+ of the sequence .* in layer 1 of 2")
                self.assertEqual(self.answer(), before, "the next one is answered as ever")
            self.assertEqual(self.pids(), pids, "by the same group")
            self.stop_and_expect_no_process(pids)

    def lose_a_rank(self, number):
        self.launch("--workers=2", "--transport=mpi", SOON)
        before = self.answer()
        calls = [self.generate(PROMPT, max_tokens=1200, timeout=60) for _ in range(3)]
        for call in calls:
            wait_until(lambda call=call: next(call).HasField("tokens"), LOAD_S, "tokens come")
        os.kill(self.pids()[1], number)
        begin = time.monotonic()
        for call in calls:
            error = self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda call=call: list(call))
            self.assertIn("rank", error.details())
        self.assertLess(time.monotonic() - begin, 5, "found within seconds")
        self.assertEqual(self.answer(), before, "a request waits for the next group and runs")
        self.stop_and_expect_no_process(self.pids())

    def test_a_killed_rank_ends_its_request_and_the_group_comes_back(self):
        self.lose_a_rank(signal.SIGKILL)

    def test_a_stopped_rank_ends_its_request_and_the_group_comes_back(self):
        self.lose_a_rank(signal.SIGSTOP)

    def test_a_silent_coordinator_ends_its_workers(self):
        """Stopped while one group answers, another has nothing to do, and a third one comes."""
        self.start("--context=400000")
        # A worker that fails leaves its memory to the system, and its exit code is asked for.
        options = dict(os.environ, ASAN_OPTIONS=os.environ.get("ASAN_OPTIONS", "") + ":detect_leaks=0")

        def worker(*flags):
            return self.spawn("worker", os.path.join(BIN, "longhaul-worker"), "--coordinator", self.worker_address, "--model",
                              MODEL, "--transport=loopback", *PLAIN[1:], *flags, environment=options)
        workers = [worker("--ranks=2"), worker()]
        wait_until(lambda: sum(g.state == pb.GROUP_STATE_READY for g in self.cluster().groups) == 2, LOAD_S, "two groups")
        call = self.generate(PROMPT, max_tokens=300000, timeout=60)
        wait_until(lambda: next(call).HasField("tokens"), LOAD_S, "tokens come")
        self.coordinator.send_signal(signal.SIGSTOP)
        begin = time.monotonic()
        workers.append(worker("--join-deadline=1"))
        for process in workers:
            self.assertEqual(process.wait(30), 75, self.log_of(process))
            self.assertRegex(self.log_of(process), r"the coordinator (was silent for [56]\.|did not answer within 5\.)")
        self.assertLess(time.monotonic() - begin, 10)

    def test_a_cancel_frees_the_group_within_a_second(self):
        self.launch("--workers=2", "--transport=loopback")
        call = self.generate(PROMPT, max_tokens=1200, timeout=60)
        wait_until(lambda: next(call).HasField("tokens"), LOAD_S, "tokens come")
        call.cancel()
        begin = time.monotonic()
        self.wait_any()
        self.assertLess(time.monotonic() - begin, 1.5)
        self.assertEqual(len(self.answer(max_tokens=3)), 3)

    def test_no_process_outlives_a_killed_coordinator(self):
        self.launch("--workers=2", "--transport=mpi", SOON)
        pids = self.pids()
        self.coordinator.kill()
        wait_until(lambda: not any(os.path.exists("/proc/%d" % pid) for pid in pids), 15,
                   "the workers have ended")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
