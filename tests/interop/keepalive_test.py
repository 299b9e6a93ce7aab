"""Clients that wait for long and ping to see whether the coordinator lives, as gRPC's keepalive does."""
import sys
import threading
import time
import unittest

import http2_frames as http2
from cluster_under_test import INFERENCE, ClusterTest, pb

INTERVAL = 10  # seconds, from which on pings are welcome
PINGS = 5      # gRPC's own default cuts the connection off at the fourth


class Keepalive(ClusterTest):
    def ping(self, connection, answers):
        """Pings PINGS times; appends how many were answered, or what came instead."""
        for number in range(PINGS):
            payload = b"longhau%d" % number
            connection.send(http2.PING, 0, 0, payload)
            frame = connection.frames_until(
                lambda kind, flags, stream, data: kind == http2.GOAWAY or
                kind == http2.PING and flags & http2.ACK and data == payload)
            if frame is None or frame[0] == http2.GOAWAY:
                answers.append(frame)
                return
            time.sleep(INTERVAL)
        answers.append(PINGS)

    def test_pings_every_ten_seconds_keep_idle_and_waiting_clients(self):
        self.start()
        self.workers(1, "--prefill-ms=%d" % (1000 * INTERVAL * (PINGS + 1)))
        running, waiting, idle = (http2.Connection(self.address, timeout=30) for _ in range(3))
        request = pb.GenerateRequest(prompt=pb.Prompt(text="x", raw=True), max_tokens=2)
        for connection in (running, waiting):
            self.addCleanup(connection.close)
            connection.call(INFERENCE + "Generate", request.SerializeToString())
        self.addCleanup(idle.close)
        answers = []
        threads = [threading.Thread(target=self.ping, args=(connection, answers))
                   for connection in (running, waiting, idle)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [PINGS] * 3)

    def test_a_place_in_the_queue_is_told_again(self):
        self.start()
        self.workers(1, "--prefill-ms=30000")
        running = self.generate(timeout=60)
        next(running)
        waiting = self.generate(timeout=60)
        told = [next(waiting).queued.ahead for _ in range(3)]
        self.assertEqual(told, [1, 1, 1])
        waiting.cancel()
        running.cancel()


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
