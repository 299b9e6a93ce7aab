"""cancel_sweep BIN TESTS SOURCE [--races N] [--seed N] [--gate-ms MS]: row F20 of the contract. Requests and batches are cancelled at
random moments of every state that they pass, N times in each: requests by their client's going away or by the Cancel call, batches by
CancelBatch. Each must be over soon, none may stay, what was answered stays answered, and at the end nobody holds anything.
Prints a line for each figure: `name figure gate PASS|FAIL seed`. The campaign: --races 1000 --gate-ms 500."""
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
parser.add_argument("--races", type=int, default=1000, help="of each state")
parser.add_argument("--seed", type=int, default=1)
parser.add_argument("--gate-ms", type=float, default=500, help="that a cancel may take, p99")
options = parser.parse_args()
sys.argv[4:] = []

from batch_client import ENDED, BatchTest, bp, completion, joined  # noqa: E402
from cluster_under_test import INFERENCE, grpc, pb, wait_until  # noqa: E402

AT_A_TIME, STUCK_SECONDS = 6, 20
STEP_SECONDS, PREFILL_SECONDS = 0.002, 0.0002  # a token's
LONG = "A PROMPT THAT IS READ FOR A WHILE " * 12


class CancelSweep(BatchTest):
    def sweep(self, state, race):
        """Many races of one state, some at a time; each returns the seconds that its cancel has taken."""
        choose = random.Random("%s-%d" % (state, options.seed))
        delays = [choose.random() for _ in range(options.races)]
        with concurrent.futures.ThreadPoolExecutor(AT_A_TIME) as pool:
            taken = sorted(pool.map(lambda n: race("%s-%d" % (state, n), n, delays[n]), range(options.races)))
        p99 = taken[max(0, len(taken) * 99 // 100 - 1)] * 1e3
        stuck = sum(each >= STUCK_SECONDS for each in taken)
        passed = stuck == 0 and p99 <= options.gate_ms
        print("F20.%s races %d stuck %d stopped p50 %.0f p99 %.0f longest %.0f ms gate 0, %.0f ms %s seed %d" % (
            state, len(taken), stuck, taken[len(taken) // 2] * 1e3, p99, taken[-1] * 1e3, options.gate_ms,
            "PASS" if passed else "FAIL", options.seed), flush=True)
        self.passed = self.passed and passed

    def until(self, over):
        """Seconds until it is over; STUCK_SECONDS when it is not."""
        begin = time.monotonic()
        while time.monotonic() < begin + STUCK_SECONDS:
            if over():
                return time.monotonic() - begin
            time.sleep(0.002)
        return STUCK_SECONDS

    def is_listed(self, name):
        return any(request.request_id == name for request in self.cluster().requests)

    @staticmethod
    def read_to_end(call):
        try:
            for _ in call:
                pass
        except grpc.RpcError:
            pass
        return call.code()

    def cancel_request(self, call, name, number):
        """Every other one by its client's going away."""
        if number % 2:
            call.cancel()
            return self.until(lambda: not self.is_listed(name))
        begin = time.monotonic()
        codes = []  # gRPC tells the status of a stream when all before it is read
        reader = threading.Thread(target=lambda: codes.append(self.read_to_end(call)))
        reader.start()
        told = False
        while not told and not codes:
            try:
                self.unary(INFERENCE + "Cancel", pb.CancelRequest(request_id=name), pb.CancelResponse)
                told = True
            except grpc.RpcError as error:  # it has ended, or it has not come yet: again
                self.assertEqual(error.code(), grpc.StatusCode.NOT_FOUND, error.details())
        reader.join()
        self.assertIn(codes, ([grpc.StatusCode.OK], [grpc.StatusCode.CANCELLED]))
        return time.monotonic() - begin

    def race_request(self, name, number, delay, text="SHORT", tokens=1500, first=False):
        """Cancels after `delay` seconds, counted from the first token where `first`."""
        call = self.generate(text + name, request_id=name, max_tokens=tokens, timeout=120)
        if first:
            next(event for event in call if event.HasField("tokens"))
        time.sleep(delay)
        return self.cancel_request(call, name, number)

    def cancel_batch(self, made):
        try:
            self.call("CancelBatch", bp.CancelBatchRequest(name=made.name), bp.Batch)
        except grpc.RpcError as error:
            self.assertEqual(error.code(), grpc.StatusCode.FAILED_PRECONDITION, error.details())  # it has ended
        taken = self.until(lambda: self.get(made.name).state in ENDED)
        batch = self.get(made.name)
        counts = batch.counts
        if batch.state in ENDED:
            self.assertEqual(counts.completed + counts.failed + counts.cancelled + counts.expired, counts.total, batch)
            results = self.results(made.name)
            self.assertEqual(len({result.custom_id for result in results}), len(results), batch)
            self.assertEqual(len(results), counts.total, batch)
        return taken

    def lines(self, name, count=4, tokens=10):
        return [completion(str(n), "%s LINE %d" % (name, n), tokens) for n in range(count)]

    def race_upload(self, name, _, delay, last=False):
        made = self.create()
        data = joined(self.lines(name))
        self.upload(made.name, data if last else data[:len(data) // 2], last=last)
        time.sleep(delay * 0.01)
        return self.cancel_batch(made)

    def race_lines(self, name, _, delay):
        made = self.create(self.lines(name))
        time.sleep(delay)
        return self.cancel_batch(made)

    def hold_places(self, over):
        """One request after the other has the only place."""
        number = 0
        while not over.is_set():
            number += 1
            call = self.generate("HOLDER", request_id="holder-%d" % number, max_tokens=1900, timeout=300)
            threading.Thread(target=lambda: (over.wait(), call.cancel()), daemon=True).start()
            try:
                for _ in call:
                    pass
            except grpc.RpcError:
                pass

    def start_echo(self, places):
        self.start(self.store("%d" % places), "--log-level=warn", "--max-calls=256")
        self.echo("--group=g", "--places=%d" % places, "--again", "--step-us=%d" % (STEP_SECONDS * 1e6),
                  "--prefill-us-per-token=%d" % (PREFILL_SECONDS * 1e6), "--stage-tokens=64", "--prefix-panels=16")
        self.wait_ready()

    def check_empty(self):
        wait_until(lambda: not self.cluster().requests and self.cluster().groups[0].running_requests == 0, 20, "nobody holds anything")

    def test_work_is_cancelled_while_it_runs(self):
        self.passed = True
        self.start_echo(AT_A_TIME + 2)
        prefill, answer = len(LONG) * PREFILL_SECONDS, 12 * STEP_SECONDS
        self.sweep("prefill", lambda name, n, part: self.race_request(name, n, part * prefill, LONG))
        self.sweep("decode", lambda name, n, part: self.race_request(name, n, part * 0.03, first=True))
        self.sweep("ending", lambda name, n, part: self.race_request(name, n, part * 2 * answer, tokens=10))
        self.sweep("batch_uploading", self.race_upload)
        self.sweep("batch_validating", lambda name, n, part: self.race_upload(name, n, part, last=True))
        self.sweep("batch_running", lambda name, n, part: self.race_lines(name, n, part * 3 * answer))
        self.check_empty()
        self.assertTrue(self.passed)

    def test_work_is_cancelled_while_it_waits(self):
        self.passed = True
        self.start_echo(1)
        over = threading.Event()
        holder = threading.Thread(target=self.hold_places, args=(over,))
        holder.start()
        try:
            wait_until(lambda: self.cluster().groups[0].running_requests == 1, 20, "the place is taken")
            self.sweep("queued", lambda name, n, part: self.race_request(name, n, part * 0.02))
            self.sweep("batch_queued", lambda name, n, part: self.race_lines(name, n, part * 0.02))
        finally:
            over.set()
            holder.join(60)
        self.check_empty()
        self.assertTrue(self.passed)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
