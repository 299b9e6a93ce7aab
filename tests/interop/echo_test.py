"""The echo worker: every answer is what its oracle says, and it fails as it is told to."""
import os
import sys
import threading
import time
import unittest

from cluster_under_test import INFERENCE, SOURCE, ClusterTest, grpc, health_pb2, ids_of, pb, text_of, wait_until

sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))
import echo_oracle as oracle  # noqa: E402

DOCUMENT = "THE DOCUMENT 0123456789 " * 20 + "0"  # 481 tokens: 7 whole panels


class Answers(ClusterTest):
    def setUp(self):
        super().setUp()
        self.start()
        self.echo("--ranks=2", "--places=4", "--group=g", "--step-us=500")
        self.wait_ready()

    def finished(self, prompt, **fields):
        return list(self.generate(prompt, **fields))[-1].finished

    def test_a_raw_prompt_has_the_ids_that_the_oracle_says(self):
        text = "HELLO THERE 42"
        response = self.unary(INFERENCE + "Tokenize", pb.TokenizeRequest(text=text), pb.TokenizeResponse)
        self.assertEqual(list(response.token_ids), oracle.raw_ids(text))

    def test_answers_follow_from_the_prompt(self):
        for prompt, tokens in (("A", 1), ("HELLO THERE 42", 40), (DOCUMENT, 12)):
            events = list(self.generate(prompt, max_tokens=tokens))
            ids = oracle.raw_ids(prompt)
            self.assertEqual(ids_of(events), oracle.answer_ids(ids, tokens))
            self.assertEqual(text_of(events), oracle.answer_text(ids, tokens))

    def test_many_at_once_have_their_own(self):
        wrong = []

        def ask(first):
            for n in range(first, 200, 8):
                prompt = "PROMPT %d" % n
                text = text_of(self.generate(prompt, timeout=60, max_tokens=8))
                if text != oracle.answer_text(oracle.raw_ids(prompt), 8):
                    wrong.append((prompt, text))
        threads = [threading.Thread(target=ask, args=(first,)) for first in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_cached_and_prefilled_tokens_are_those_of_the_prefixes_read_before(self):
        prefixes = oracle.Prefixes()
        for prompt in (DOCUMENT, DOCUMENT, DOCUMENT + "A", DOCUMENT[:200], DOCUMENT[:63], "B" + DOCUMENT, DOCUMENT[:191],
                       DOCUMENT[:200] + "C" * 100, DOCUMENT[:200] + "C" * 200):
            usage = self.finished(prompt, max_tokens=2).usage
            cached, prefilled = prefixes.read(oracle.raw_ids(prompt))
            self.assertEqual((usage.cached_tokens, usage.prefilled_tokens), (cached, prefilled), prompt)
        usage = self.finished(DOCUMENT, max_tokens=2, no_prefix_reuse=True).usage
        self.assertEqual(usage.cached_tokens, 0)

    def test_a_cancelled_request_gives_its_place_back(self):
        calls = [self.generate(max_tokens=1900) for _ in range(4)]
        for call in calls:
            wait_until(lambda: next(call).HasField("tokens"), 10, "tokens come")
        begin = time.monotonic()
        for call in calls:
            call.cancel()
        self.assertEqual(text_of(self.generate("A", max_tokens=3)), oracle.answer_text(oracle.raw_ids("A"), 3))
        self.assertLess(time.monotonic() - begin, 5)

    def test_a_deadline_ends_a_request(self):
        self.expect_code(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(self.generate(max_tokens=1900, timeout=0.5)))
        self.wait_ready()

    def test_scores_are_told(self):
        events = list(self.score(DOCUMENT))
        self.assertEqual(sum(len(event.scores.logprobs) for event in events), len(DOCUMENT) - 1)


class Pace(ClusterTest):
    def test_prompts_and_steps_take_the_time_that_they_are_given(self):
        self.start()
        self.echo("--group=g", "--step-us=10000", "--prefill-us-per-token=1000")
        self.wait_ready()
        seconds = list(self.generate(DOCUMENT, max_tokens=20))[-1].finished.seconds
        self.assertGreaterEqual(seconds.prefill, 0.481)
        self.assertGreaterEqual(seconds.decode, 0.19)
        again = list(self.generate(DOCUMENT, max_tokens=1))[-1].finished.seconds
        self.assertLess(again.prefill, seconds.prefill)

    def test_few_panels_hold_what_was_read_last(self):
        self.start()
        self.echo("--group=g", "--prefix-panels=8")
        self.wait_ready()

        def cached(prompt):
            return list(self.generate(prompt, max_tokens=1))[-1].finished.usage.cached_tokens
        self.assertEqual([cached(DOCUMENT), cached(DOCUMENT)], [0, 448])
        self.assertEqual([cached("B" + DOCUMENT), cached("B" + DOCUMENT)], [0, 448])
        self.assertEqual(cached(DOCUMENT), 64, "its beginning went last")


class Faults(ClusterTest):
    def test_a_rank_dies_in_an_answer_and_its_group_is_lost(self):
        self.start()
        other = self.echo("--rank=0", "--size=2", "--group=g")
        dying = self.echo("--rank=1", "--size=2", "--group=g", "--die-after=2")
        self.wait_ready()
        for _ in range(2):
            list(self.generate(max_tokens=5))
        error = self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda: list(self.generate(max_tokens=1900)))
        self.assertIn("rank 1", error.details())
        self.assertEqual(dying.wait(10), -9)
        self.assertIn(other.wait(10), (0, 75))  # as it hears of the end first, or sees it

    def test_with_again_a_group_comes_back(self):
        self.start("--heartbeat=0.2", "--heartbeat-timeout=1")
        self.echo("--ranks=2", "--group=g", "--again", "--hang-after=1", "--hang-seconds=3", "--faulty-rank=1")
        self.wait_ready()
        list(self.generate(max_tokens=5))
        error = self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda: list(self.generate(max_tokens=1900)))
        self.assertRegex(error.details(), "rank 1 .* was silent")
        self.wait_ready("g-2")

    def test_a_rank_that_beats_and_works_no_more_is_unhealthy_and_then_lost(self):
        self.start("--heartbeat=0.2", "--work-timeout=14")
        self.echo("--ranks=2", "--group=g", "--again", "--stall-after=1", "--faulty-rank=1")
        self.wait_ready()
        list(self.generate(max_tokens=5))
        serving = health_pb2.HealthCheckResponse.SERVING
        self.assertEqual(self.health(), serving)
        call = self.generate(max_tokens=1900, timeout=60)
        begin = time.monotonic()
        wait_until(lambda: self.health() != serving, 13, "health tells that no work is done")
        self.assertGreater(time.monotonic() - begin, 9)
        error = self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda: list(call))
        self.assertLess(time.monotonic() - begin, 17)
        self.assertRegex(error.details(), "rank 1 .* has finished no work for 14")
        self.wait_ready("g-2")
        wait_until(lambda: self.health() == serving, 5, "health tells of the next group")

    def test_a_poisonous_prompt_kills_its_worker(self):
        self.start()
        echo = self.echo("--group=g", "--poison-id=%d" % (oracle.BYTE_0 + ord("!")), "--fail-id=%d" %
                         (oracle.BYTE_0 + ord("?")))
        self.wait_ready()
        list(self.generate("HARMLESS"))
        self.expect_code(grpc.StatusCode.INTERNAL, lambda: list(self.generate("WHAT?")))
        self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda: list(self.generate("POISON!")))
        self.assertEqual(echo.wait(10), -9)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
