"""duplicates BIN TESTS SOURCE [--pairs N] [--kills N] [--seed N]: row F18 of the contract. Two clients at a time create the same batch
under one request_id, while the coordinator is killed with -9 and started again on its store; each asks again until it is answered. Both
must be told the same batch, there may be no other, and the same id with other lines is ALREADY_EXISTS.
Prints a line: `name figure gate PASS|FAIL seed`. The campaign: --pairs 10000 --kills 5."""
import argparse
import concurrent.futures
import random
import sys
import threading
import time
import unittest

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
for name in ("bin", "tests", "source"):
    parser.add_argument(name)
parser.add_argument("--pairs", type=int, default=10000)
parser.add_argument("--kills", type=int, default=5)
parser.add_argument("--seed", type=int, default=1)
options = parser.parse_args()
sys.argv[4:] = []

from batch_client import BatchTest, bp, completion, joined  # noqa: E402
from cluster_under_test import grpc  # noqa: E402

CLIENTS, PATIENCE_SECONDS, PAGE = 16, 60, 1000
AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED)


class Duplicates(BatchTest):
    def setUp(self):
        super().setUp()
        self.lock = threading.Lock()
        self.answered = self.repeated = 0

    def ask(self, number, text):
        """Over all lives of the coordinator."""
        end = time.monotonic() + PATIENCE_SECONDS
        request = bp.CreateBatchRequest(request_id="pair-%d" % number, lines=joined([completion("a", text)]))
        while True:
            try:
                return self.call("CreateBatch", request, bp.Batch).name
            except grpc.RpcError as error:
                if time.monotonic() > end or error.code() not in AGAIN:
                    raise
                with self.lock:
                    self.repeated += 1
                time.sleep(0.01)

    def create_one(self, number):
        name = self.ask(number, "PAIR %d" % number)
        with self.lock:
            self.answered += 1
        return name

    def create_other(self, number):
        try:
            self.ask(number, "OTHER %d" % number)
        except grpc.RpcError as error:
            return error.code() == grpc.StatusCode.ALREADY_EXISTS
        return False

    def kill(self, moments, over):
        for moment in moments:
            while self.answered < moment and not over.is_set():
                time.sleep(0.001)
            self.coordinator.kill()
            self.coordinator.wait(20)
            self.start(self.store(), "--log-level=warn")

    def batches(self):
        names, token = [], ""
        while True:
            page = self.call("ListBatches", bp.ListBatchesRequest(page_size=PAGE, page_token=token), bp.ListBatchesResponse)
            names += [batch.name for batch in page.batches]
            token = page.next_page_token
            if not token:
                return names

    def test_a_request_id_has_one_effect(self):
        choose = random.Random(options.seed)
        calls, over = 2 * options.pairs, threading.Event()
        moments = sorted(choose.randrange(calls // 10, calls * 9 // 10) for _ in range(options.kills))
        self.start(self.store(), "--log-level=warn")
        killer = threading.Thread(target=self.kill, args=(moments, over))
        killer.start()
        with concurrent.futures.ThreadPoolExecutor(CLIENTS) as pool:
            try:
                names = list(pool.map(self.create_one, [number for number in range(options.pairs) for _ in range(2)]))
            finally:
                over.set()
                killer.join(PATIENCE_SECONDS)
            refused = sum(pool.map(self.create_other, range(options.pairs)))
        unlike = sum(names[k] != names[k + 1] for k in range(0, calls, 2))
        there = self.batches()
        passed = unlike == 0 and refused == options.pairs and sorted(there) == sorted(set(names)) and len(there) == options.pairs
        print("F18 pairs %d kills %d asked again %d: effects %d gate %d, told unlike %d gate 0, other lines refused %d gate %d %s seed %d" % (
            options.pairs, options.kills, self.repeated, len(there), options.pairs, unlike, refused, options.pairs,
            "PASS" if passed else "FAIL", options.seed), flush=True)
        self.assertTrue(passed)
        self.assertTrue(self.repeated > 0 or options.kills == 0, "no kill met a call")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
