"""A link that is slow is foretold: two hosts whose link carries 4 Mbit/s, and one that is late. Without what workers measure
when they load, the plan would be wrong by far more than its arithmetic.
Arguments: the folders of the programs and of the test programs."""
import sys
import unittest

import hosts as emulated
from cluster_on_hosts import ClusterOnHosts
from hosts import Hosts

PROGRAMS, TESTS = sys.argv[1:3]
RATE_MBIT, DELAY_US = 4, 20000
TOKENS = 2000
JOIN_SECONDS = 90
# The link is measured while all ranks send and receive; here one rank sends to the other, which may take half as long.
BOTH_WAYS = 2.5
WITHIN = 1.5  # of a token, on a machine whose cores others may want as well


class ForetoldOnHosts(unittest.TestCase):
    def setUp(self):
        self.hosts = self.enterContext(Hosts(2, "foretold", cores=1, tests=TESTS))
        # Left to choose, a planner may send an answer's keys home on the late link, or not: the two cost about the same.
        self.cluster = ClusterOnHosts(self.hosts, PROGRAMS, TESTS, "--context", str(TOKENS + 100), "--group-requests", "1",
                                      "--decode", "whole")

    def answer(self, tokens, *words):
        """With a prompt of about that many tokens, a letter each."""
        group = self.cluster.start_group([1, 2])
        # Measuring a megabyte on such a link takes two seconds by itself.
        self.cluster.wait_until(lambda: any(each["state"] == "ready" for each in self.cluster.status()["groups"]), JOIN_SECONDS,
                                "a group serves")
        result = self.cluster.answer("--prompt", "abcd" * (tokens // 4), "--max-tokens", "2", *words)
        self.assertEqual(self.cluster.end_group(group, [1, 2]), 143)
        return result

    def test_a_shaped_links_seconds_are_foretold(self):
        for host in (1, 2):
            self.hosts.shape(host, "%dmbit" % RATE_MBIT)
        result = self.answer(TOKENS)
        predicted, measured = result["plan"]["seconds"], result["seconds"]["prefill"]
        received = max(rank["received_bytes"] for rank in result["ranks"])
        print("a link of %d Mbit/s: %.1f s foretold, %.1f s measured, %.2f MB received" % (RATE_MBIT, predicted, measured, received / 1e6))
        least = received / (RATE_MBIT * 1e6 / 8)
        self.assertGreater(measured, 0.8 * least, "the link is what takes the time")
        self.assertGreater(predicted, 0.8 * least)
        self.assertLess(predicted, BOTH_WAYS * least)
        self.assertGreater(result["plan"]["parts"]["exchange"], 0.5 * predicted)

    def test_a_late_links_tokens_are_foretold(self):
        quick = self.answer(400)
        self.hosts.delay(DELAY_US)
        late = self.answer(400)
        print("a delay of %d us: a token in %.1f ms foretold, %.1f ms measured" % (
            DELAY_US, 1e3 * late["plan"]["token_seconds"], 1e3 * late["seconds"]["decode"]))
        self.assertGreater(late["plan"]["token_seconds"], DELAY_US * 1e-6)
        self.assertGreater(late["plan"]["token_seconds"], 10 * quick["plan"]["token_seconds"])
        self.assertLess(late["plan"]["token_seconds"], WITHIN * late["seconds"]["decode"])


if __name__ == "__main__":
    emulated.run_tests("mpirun")
