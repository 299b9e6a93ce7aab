"""What tenants get of one group when they ask for more than there is, by the figures of the contract: F24 (a greedy tenant
beside normal ones) and F16 (four times the load that the group can take)."""
import os
import random
import subprocess
import threading
import time
import unittest

from cluster_under_test import BIN, FOLDER, INFERENCE, ClusterTest, grpc, pb

PLACES = 8
STEP_US = 5000
TOKENS = 30  # an answer takes 0.15 s and more
NORMAL = ["normal-%d" % n for n in range(4)]


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


class Shares(ClusterTest):
    def serve(self, *flags):
        folder = os.path.join(FOLDER, "access-%d" % time.monotonic_ns())
        os.mkdir(folder)
        self.tokens, lines = {}, []
        for tenant in ["greedy", *NORMAL, "ops"]:
            file = os.path.join(folder, tenant)
            made = subprocess.run([os.path.join(BIN, "longhaul"), "token", tenant, "--token-file", file, "--scopes",
                                   "inference,admin" if tenant == "ops" else "inference"],
                                  capture_output=True, text=True, timeout=30, check=True)
            lines += ["tenant " + tenant, made.stdout.strip()]
            with open(file, encoding="ascii") as text:
                self.tokens[tenant] = text.read().strip()
        access = os.path.join(folder, "access")
        with open(access, "w", encoding="ascii") as text:
            text.write("\n".join(lines) + "\n")
        os.chmod(access, 0o600)
        self.start("--access-file", access, *flags)
        self.echo("--group=g", "--ranks=1", "--places=%d" % PLACES, "--step-us=%d" % STEP_US)
        self.wait_ready()

    def unary(self, path, request, response, timeout=20):
        call = self.channel.unary_unary(path, request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=response.FromString)
        return call(request, timeout=timeout, metadata=self.metadata("ops"))

    def metadata(self, tenant):
        return [("authorization", "Bearer " + self.tokens[tenant])]

    def ask(self, tenant, text):
        """Seconds, and the error of a request that was refused."""
        call = self.channel.unary_stream(INFERENCE + "Generate", request_serializer=lambda m: m.SerializeToString(),
                                         response_deserializer=pb.GenerateResponse.FromString)
        request = pb.GenerateRequest(prompt=pb.Prompt(text=text, raw=True), max_tokens=TOKENS)
        begin = time.monotonic()
        try:
            events = list(call(request, timeout=120, metadata=self.metadata(tenant)))
        except grpc.RpcError as error:
            return time.monotonic() - begin, error
        self.assertEqual(events[-1].WhichOneof("event"), "finished")
        return time.monotonic() - begin, None

    def closed_loop(self, tenant, count, seconds, failed):
        for n in range(count):
            took, error = self.ask(tenant, "%s asks for the %d. time" % (tenant, n))
            if error:
                failed.append(error)
            seconds.append(took)

    def together(self, jobs):
        threads = [threading.Thread(target=job[0], args=job[1:]) for job in jobs]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def test_a_greedy_tenant_does_not_slow_the_others(self):
        self.serve("--queue-length=256")
        count, failed = 40, []
        alone, beside = [], []
        self.closed_loop(NORMAL[0], count, alone, failed)
        stop = threading.Event()
        begun = [0]

        def greed(number):
            while not stop.is_set():
                begun[0] += 1
                _, error = self.ask("greedy", "more and more, %d.%d" % (number, begun[0]))
                if error and error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                    failed.append(error)
        greedy = [threading.Thread(target=greed, args=(number,)) for number in range(4 * PLACES)]
        for thread in greedy:
            thread.start()
        time.sleep(1)
        self.together([(self.closed_loop, tenant, count, beside, failed) for tenant in NORMAL])
        stop.set()
        for thread in greedy:
            thread.join()
        self.assertEqual([error.details() for error in failed], [])
        solo, normal = percentile(alone, 0.99), percentile(beside, 0.99)
        good = normal <= 2 * solo
        print("F24 normal_p99_s=%.3f solo_p99_s=%.3f ratio=%.2f gate=2 greedy_requests=%d %s" %
              (normal, solo, normal / solo, begun[0], "PASS" if good else "FAIL"), flush=True)
        self.assertTrue(good)

    def resident_bytes(self):
        with open("/proc/%d/statm" % self.coordinator.pid, encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def test_four_times_the_load_is_refused_early_and_the_rest_goes_on(self):
        self.serve("--queue-length=16")
        peak, failed = [], []
        begin = time.monotonic()
        self.together([(self.closed_loop, "greedy", 30, peak, failed) for _ in range(PLACES)])
        capacity = len(peak) / (time.monotonic() - begin)
        self.assertEqual(failed, [])
        rate, seconds = 4 * capacity, 8
        chance = random.Random(16)
        lock, admitted, refused, without = threading.Lock(), [], [], []
        threads = []

        def one(number):
            took, error = self.ask("greedy", "one of too many, %d" % number)
            with lock:
                (refused if error else admitted).append(took)
                if error and (error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED or
                              b"RetryInfo" not in self.details_of(error)):
                    without.append(error)
        before = self.resident_bytes()
        begin = next_at = time.monotonic()
        while time.monotonic() < begin + seconds:  # arrivals wait for nobody
            next_at += chance.expovariate(rate)
            time.sleep(max(0, next_at - time.monotonic()))
            thread = threading.Thread(target=one, args=(len(threads),))
            thread.start()
            threads.append(thread)
        for thread in threads:
            thread.join()
        took = time.monotonic() - begin
        goodput, p99 = len(admitted) / took, percentile(refused, 0.99)
        good = goodput >= 0.9 * capacity and p99 <= 0.05 and not without
        print("F16 offered_per_s=%.0f peak_per_s=%.1f goodput_per_s=%.1f share=%.2f gate=0.9 refused=%d refused_p99_ms=%.1f "
              "gate_ms=50 admitted_p99_s=%.2f without_retry=%d resident_growth_mib=%.1f %s" %
              (len(threads) / seconds, capacity, goodput, goodput / capacity, len(refused), 1000 * p99,
               percentile(admitted, 0.99), len(without), (self.resident_bytes() - before) / 2**20,
               "PASS" if good else "FAIL"), flush=True)
        self.assertTrue(good)


if __name__ == "__main__":
    unittest.main(argv=["shares_test"])
