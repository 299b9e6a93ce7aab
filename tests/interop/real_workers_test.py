"""The whole service with real workers: launched by mpirun or as threads, killed, stopped, cancelled."""
import os
import signal
import sys
import time
import unittest

from cluster_under_test import ClusterTest, grpc, ids_of, pb, wait_until

QUICK = ("--heartbeat=0.2", "--heartbeat-timeout=2", "--threads=1", "--kernels=reference")
PROMPT = "In the beginning there was a very long document. " * 12
LOAD_S = 60


class RealWorkers(ClusterTest):
    def launch(self, *flags):
        self.start("--launch", *QUICK, *flags)
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

    def lose_a_rank(self, number):
        self.launch("--workers=2", "--transport=mpi")
        before = self.answer()
        call = self.generate(PROMPT, max_tokens=1200, timeout=60)
        wait_until(lambda: next(call).HasField("tokens"), LOAD_S, "tokens come")
        os.kill(self.pids()[1], number)
        begin = time.monotonic()
        error = self.expect_code(grpc.StatusCode.UNAVAILABLE, lambda: list(call))
        self.assertLess(time.monotonic() - begin, 5, "found within seconds")
        self.assertIn("rank", error.details())
        self.assertEqual(self.answer(), before, "a request waits for the next group and runs")
        self.stop_and_expect_no_process(self.pids())

    def test_a_killed_rank_ends_its_request_and_the_group_comes_back(self):
        self.lose_a_rank(signal.SIGKILL)

    def test_a_stopped_rank_ends_its_request_and_the_group_comes_back(self):
        self.lose_a_rank(signal.SIGSTOP)

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
        self.launch("--workers=2", "--transport=mpi")
        pids = self.pids()
        self.coordinator.kill()
        wait_until(lambda: not any(os.path.exists("/proc/%d" % pid) for pid in pids), 15,
                   "the workers have ended")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
