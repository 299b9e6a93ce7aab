"""Many requests on one worker group at once: each has its own answer, and its own end."""
import signal
import sys
import threading
import time
import unittest

import http2_frames as http2
from cluster_under_test import INFERENCE, ClusterTest, grpc, ids_of, pb, wait_until

PLACES = 8
PROMPTS = ["prompt number %d" % n for n in range(PLACES)]


class Together(ClusterTest):
    def setUp(self):
        super().setUp()
        self.start("--heartbeat=0.2", "--heartbeat-timeout=1.5", "--stall-timeout=1")
        self.started = self.workers(2, "--token-ms=10", "--places=%d" % PLACES)

    def begin(self, prompt, **fields):
        """A call whose first token is there."""
        call = self.generate(prompt, timeout=60, **fields)
        wait_until(lambda: next(call).HasField("tokens"), 10, "tokens come")
        return call

    def all_at_once(self, **fields):
        """The ids of every prompt, read at the same time."""
        answers = [None] * PLACES

        def read(n):
            answers[n] = ids_of(list(self.generate(PROMPTS[n], timeout=60, **fields)))
        threads = [threading.Thread(target=read, args=(n,)) for n in range(PLACES)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return answers

    def test_each_has_the_answer_that_it_has_alone(self):
        alone = [ids_of(list(self.generate(prompt))) for prompt in PROMPTS]
        self.assertEqual(len(set(map(tuple, alone))), PLACES)
        begin = time.monotonic()
        self.assertEqual(self.all_at_once(), alone)
        self.assertLess(time.monotonic() - begin, PLACES * 12 * 0.01, "not one after another")

    def test_the_next_one_waits_for_a_place(self):
        running = [self.begin(prompt, max_tokens=1900) for prompt in PROMPTS]
        waiting = self.generate(max_tokens=2)
        self.assertEqual(next(waiting).queued.ahead, PLACES)
        self.assertEqual(sum(r.state == pb.REQUEST_STATE_RUNNING for r in self.cluster().requests), PLACES)
        running[3].cancel()
        self.assertEqual(list(waiting)[-1].WhichOneof("event"), "finished")
        for call in running:
            call.cancel()
        self.wait_ready()

    def test_a_cancel_ends_one_and_changes_no_other(self):
        alone = ids_of(list(self.generate(PROMPTS[1], max_tokens=60)))
        cancelled = self.begin(PROMPTS[0], max_tokens=1900, request_id="cancelled")
        late = self.generate(PROMPTS[2], max_tokens=1900, timeout=0.7)
        other = self.generate(PROMPTS[1], max_tokens=60)
        next(other)
        self.unary(INFERENCE + "Cancel", pb.CancelRequest(request_id="cancelled"), pb.CancelResponse)
        self.expect_code(grpc.StatusCode.CANCELLED, lambda: list(cancelled))
        self.expect_code(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: list(late))
        self.assertEqual(ids_of(list(other)), alone)

    def group_of(self, name):
        return next(r.group_id for r in self.cluster().requests if r.request_id == name)

    def test_a_prompt_goes_to_the_group_that_holds_its_beginning(self):
        self.workers(1, "--token-ms=10", "--places=%d" % PLACES, group="other")
        document = "A long document that says nothing at all. " * 12
        running = [self.begin(document + "First?", max_tokens=900, request_id="first")]
        first = self.group_of("first")

        def goes_to(name, prompt, **fields):
            running.append(self.begin(prompt, max_tokens=900, request_id=name, **fields))
            return self.group_of(name)
        # The other group has fewer requests each time.
        self.assertEqual(goes_to("same", document + "Second?"), first)
        self.assertNotEqual(goes_to("none", "Nothing of it, but just as long as that was. " * 12), first)
        self.assertEqual(goes_to("again", document + "Third?"), first)
        self.assertNotEqual(goes_to("apart", document + "Fourth?", no_prefix_reuse=True), first)
        for call in running:
            call.cancel()

    def test_a_group_without_a_place_holds_nobody_up(self):
        self.workers(1, "--token-ms=10", "--places=1", group="one")
        document = "Some words that come again and again here. " * 12
        running, groups = [], []
        for n in range(4):
            running.append(self.begin(document + str(n), max_tokens=900, request_id="n%d" % n))
            groups.append(self.group_of("n%d" % n))
        self.assertIn("g", groups)
        self.assertLessEqual(groups.count("one"), 1)
        for call in running:
            call.cancel()

    def test_a_lost_rank_ends_all(self):
        running = [self.begin(prompt, max_tokens=1900) for prompt in PROMPTS]
        self.started[1].send_signal(signal.SIGKILL)
        begin = time.monotonic()
        for call in running:
            error = self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda call=call: list(call))
            self.assertIn(b"WORKERS_LOST", self.details_of(error))
        self.assertLess(time.monotonic() - begin, 4)
        self.workers(1, "--places=%d" % PLACES, group="next")
        self.assertNotIn(None, self.all_at_once())

    def test_a_client_that_reads_nothing_holds_up_no_other(self):
        alone = [ids_of(list(self.generate(prompt))) for prompt in PROMPTS]
        for _ in range(PLACES - 1):
            connection = http2.Connection(self.address, [(http2.INITIAL_WINDOW_SIZE, 0)])
            self.addCleanup(connection.close)
            request = pb.GenerateRequest(prompt=pb.Prompt(text="x", raw=True), max_tokens=1900)
            connection.call(INFERENCE + "Generate", request.SerializeToString())
        wait_until(lambda: self.log_of(self.coordinator).count("request runs") == 2 * PLACES - 1, 5,
                   "all of them run")
        begin = time.monotonic()
        self.assertEqual(ids_of(list(self.generate(PROMPTS[0]))), alone[0])
        self.assertLess(time.monotonic() - begin, 1.5)
        self.assertEqual(self.all_at_once(), alone, "their places are free after --stall-timeout")


class Memory(ClusterTest):
    def cache_bytes(self):
        """What a request keeps of keys and values."""
        reply = self.unary(INFERENCE + "Plan", pb.PlanRequest(prompt_tokens=20, max_tokens=1900), pb.PlanResponse)
        return sum(line.bytes for line in reply.ranks[0].memory if line.name in ("cache", "sink cache"))

    def test_a_prompt_goes_elsewhere_where_the_group_that_holds_it_has_no_memory(self):
        self.start()
        measured = self.workers(1, group="measured")
        pool = "--pool-bytes=%d" % (2 * self.cache_bytes() + 1)
        measured[0].kill()
        wait_until(lambda: not self.cluster().groups, 5, "it has left")
        for group in ("one", "two"):
            self.workers(1, "--places=8", "--token-ms=10", pool, group=group)
        document = "A document that would like to stay where it is. " * 12
        running, groups = [], []
        for n in range(3):
            running.append(self.generate(document + str(n), max_tokens=1300, timeout=60, request_id="n%d" % n))
            wait_until(lambda: next(running[-1]).HasField("tokens"), 10, "tokens come")
            groups += [r.group_id for r in self.cluster().requests if r.request_id == "n%d" % n]
        self.assertEqual(groups[0], groups[1])
        self.assertNotEqual(groups[0], groups[2])
        for call in running:
            call.cancel()

    def test_what_does_not_fit_beside_the_others_waits_and_what_never_fits_is_refused(self):
        self.start()
        measured = self.workers(1, group="measured")
        needed = self.cache_bytes()
        measured[0].kill()
        wait_until(lambda: not self.cluster().groups, 5, "it has left")
        started = self.workers(1, "--places=8", "--token-ms=10", "--pool-bytes=%d" % (2 * needed + 1))
        running = [self.generate(prompt, max_tokens=1900, timeout=60) for prompt in PROMPTS[:2]]
        for call in running:
            wait_until(lambda call=call: next(call).HasField("tokens"), 10, "tokens come")
        waiting = self.generate(PROMPTS[2], max_tokens=1900, timeout=60)
        self.assertEqual(next(waiting).queued.ahead, 2)
        running[0].cancel()
        wait_until(lambda: next(waiting).HasField("tokens"), 10, "it has its memory")
        started[0].kill()
        self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda: list(waiting))
        self.workers(1, "--pool-bytes=%d" % (needed - 1), group="small")
        error = self.expect_code(grpc.StatusCode.OUT_OF_RANGE, lambda: list(self.generate(max_tokens=1900)))
        self.assertIn(b"MEMORY_EXCEEDED", self.details_of(error))


class Faults(ClusterTest):
    def test_a_fault_of_one_is_no_fault_of_another(self):
        self.start()
        self.workers(1, "--token-ms=20", "--prefill-ms=200", "--nan-at=3", "--places=2")
        call = self.generate(max_tokens=40, timeout=60)
        next(call)
        error = self.expect_code(grpc.StatusCode.INTERNAL, lambda: list(self.score("some text")))
        self.assertIn(b"NON_FINITE_LOGITS", self.details_of(error))
        self.assertEqual(len(ids_of(list(call))), 40)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
