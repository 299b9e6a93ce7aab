"""A request over two, three and four hosts: the tokens of a single host, and as many bytes as the plan foretold; and the
groups that deploy/run-group starts one after another.
Arguments: the folders of the programs and of the test programs."""
import os
import signal
import sys
import unittest

import hosts as emulated
from cluster_on_hosts import ClusterOnHosts
from hosts import Hosts

PROGRAMS, TESTS = sys.argv[1:3]
MOST = 4
# Panels for every rank, and an answer that the random model does not say by itself.
REQUEST = ("--prompt", "In the end " * 100, "--max-tokens", "24", "--temperature", "2", "--seed", "7")
METHODS = ("rope", "lm_infinite")


class RequestOnHosts(unittest.TestCase):
    def setUp(self):
        self.hosts = self.enterContext(Hosts(MOST, "requestt", cores=1))
        self.cluster = ClusterOnHosts(self.hosts, PROGRAMS, TESTS)

    def answers(self, count):
        on = list(range(1, count + 1))
        group = self.cluster.start_group(on)
        self.cluster.wait_serving()
        self.assertEqual({self.hosts.name(i) for i in on}, {rank["host"] for rank in self.cluster.status()["groups"][0]["ranks"]})
        answers = [self.cluster.answer(*REQUEST, "--method", method) for method in METHODS]
        self.assertEqual(self.cluster.end_group(group, on), 143)
        return answers

    def test_tokens_are_the_single_hosts_and_bytes_are_the_plans(self):
        alone = self.answers(1)
        self.assertGreater(len(set(alone[0]["token_ids"])), 5)
        for count in range(2, MOST + 1):
            for method, one, several in zip(METHODS, alone, self.answers(count)):
                with self.subTest(hosts=count, method=method):
                    self.assertEqual(several["token_ids"], one["token_ids"])
                    self.assertEqual(len(several["ranks"]), count)
                    for rank in several["ranks"]:
                        self.assertGreater(rank["sent_bytes"], 0)
                        self.assertEqual((rank["sent_bytes"], rank["received_bytes"]),
                                         (rank["predicted_sent_bytes"], rank["predicted_received_bytes"]))

    def test_a_lost_group_is_followed_by_the_next_until_the_coordinator_ends(self):
        on = [1, 2]
        group = self.cluster.start_group(on, lives=3)
        self.cluster.wait_serving()
        first = self.cluster.status()["groups"][0]
        os.kill(first["ranks"][1]["pid"], signal.SIGKILL)
        self.cluster.wait_until(lambda: any(each["group_id"] != first["group_id"] and each["state"] == "ready"
                                            for each in self.cluster.status()["groups"]), 20, "the next group serves")
        self.assertEqual(len(self.cluster.answer(*REQUEST)["token_ids"]), 24)
        self.cluster.coordinator.terminate()
        self.assertEqual(self.cluster.coordinator.wait(20), 0)
        self.assertEqual(group.wait(20), 0, "told by the coordinator")
        self.assertEqual(self.cluster.left_on([0, *on]), {})


if __name__ == "__main__":
    emulated.run_tests("mpirun")
