"""deploy/haproxy.cfg before a coordinator: clients are served through it under TLS, and go on being served while other
addresses flood it with connections and with streams that they reset at once. Prints one line a figure."""
import os
import shutil
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time
import unittest

import http2_frames as http2
from cluster_under_test import BIN, FOLDER, INFERENCE, SOURCE, ClusterTest, grpc, ids_of, pb, wait_until

SECONDS = float(os.environ.get("LONGHAUL_ATTACK_SECONDS", "5"))  # 60 for a campaign
ATTACKER = "127.0.0.2"
REQUESTS_A_SECOND = 200  # of one address, as deploy/haproxy.cfg bounds them
CALLS_A_SECOND = 50  # of the victims, who keep to the bounds


def percentile(values, part):
    return sorted(values)[min(len(values) - 1, int(part * len(values)))]


def free_port():
    with socket.socket() as any_port:
        any_port.bind(("127.0.0.1", 0))
        return any_port.getsockname()[1]


class Proxy(ClusterTest):
    def setUp(self):
        super().setUp()
        self.folder = os.path.join(FOLDER, "proxy-%d" % time.monotonic_ns())
        os.mkdir(self.folder)
        certificate, key = (os.path.join(self.folder, name) for name in ("cert.pem", "key.pem"))
        subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
                        "-days", "2", "-subj", "/CN=proxy", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", key,
                        "-out", certificate], check=True, capture_output=True, timeout=60)
        both = os.path.join(self.folder, "both.pem")
        with open(both, "wb") as file:
            for part in (certificate, key):
                with open(part, "rb") as text:
                    file.write(text.read())
        with open(certificate, "rb") as text:
            self.authority = text.read()
        self.token = None
        self.start("--access-file", self.make_access())
        self.workers(1, "--token-ms=1", "--places=8")
        self.proxy_port = free_port()
        self.proxy = self.spawn(
            "haproxy", shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin"), "-db", "-f",
            os.path.join(SOURCE, "deploy", "haproxy.cfg"),
            environment={**os.environ, "LONGHAUL_LISTEN": "127.0.0.1:%d" % self.proxy_port,
                         "LONGHAUL_COORDINATOR": self.address, "LONGHAUL_CERT": both})
        self.address_of_proxy = "127.0.0.1:%d" % self.proxy_port
        wait_until(self.answers, 10, "HAProxy listens")
        self.direct, self.channel = self.channel, self.connect()

    def make_access(self):
        """One tenant, whose token the victims show; the attackers have none."""
        file, access = (os.path.join(self.folder, name) for name in ("token", "access"))
        made = subprocess.run([os.path.join(BIN, "longhaul"), "token", "victim", "--token-file", file, "--scopes",
                               "inference,admin"], capture_output=True, text=True, timeout=30, check=True)
        with open(access, "w", encoding="ascii") as text:
            text.write("tenant victim\n" + made.stdout)
        os.chmod(access, 0o600)
        with open(file, encoding="ascii") as text:
            self.token = text.read().strip()
        return access

    def unary(self, path, request, response, timeout=20):
        call = self.channel.unary_unary(path, request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=response.FromString)
        return call(request, timeout=timeout, metadata=[("authorization", "Bearer " + self.token)])

    def stream(self, path, request, response, timeout=None):
        call = self.channel.unary_stream(path, request_serializer=lambda m: m.SerializeToString(),
                                         response_deserializer=response.FromString)
        return call(request, timeout=timeout, metadata=[("authorization", "Bearer " + self.token)])

    def connect(self):
        channel = grpc.secure_channel(self.address_of_proxy, grpc.ssl_channel_credentials(self.authority),
                                      options=[("grpc.enable_http_proxy", 0), ("grpc.use_local_subchannel_pool", 1)])
        self.addCleanup(channel.close)
        return channel

    def answers(self):
        self.assertIsNone(self.proxy.poll(), self.log_of(self.proxy))
        try:
            socket.create_connection(("127.0.0.1", self.proxy_port), 1).close()
        except OSError:
            return False
        return True

    def resident_bytes(self):
        total = 0
        for process in (self.coordinator, self.proxy):
            with open("/proc/%d/statm" % process.pid, encoding="ascii") as file:
                total += int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
        return total

    # ---- attacks ----

    def secure_socket(self):
        """A connection of the attacker's, through the handshake; None where it is refused."""
        context = ssl.create_default_context(cadata=self.authority.decode())
        context.set_alpn_protocols(["h2"])
        try:
            raw = socket.create_connection(("127.0.0.1", self.proxy_port), 5, (ATTACKER, 0))
            return context.wrap_socket(raw, server_hostname="127.0.0.1")
        except OSError:
            return None

    def flood_with_resets(self, until, counts, a_second=None):
        """Opens streams and resets each at once, so many a second or as fast as the socket takes them."""
        fields = http2.headers("/longhaul.v1.Inference/Generate")
        while time.monotonic() < until:
            connection = self.secure_socket()
            if not connection:
                counts["refused"] += 1
                time.sleep(0.05)
                continue
            try:
                connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, http2.SETTINGS, 0, 0, 0, 0, 0]))
                stream = 1
                while time.monotonic() < until:
                    frames = bytearray()
                    for _ in range(200):
                        frames += struct.pack(">I", len(fields))[1:] + bytes([http2.HEADERS, http2.END_HEADERS])
                        frames += struct.pack(">I", stream) + fields
                        frames += bytes([0, 0, 4, http2.RST_STREAM, 0]) + struct.pack(">II", stream, 8)
                        stream += 2
                    connection.sendall(frames)
                    counts["resets"] += 200
                    if a_second:
                        time.sleep(200 / a_second)
            except OSError:
                counts["cut"] += 1
            finally:
                connection.close()

    def flood_with_connections(self, until, counts):
        """Ten times as many as one address may have, half of them silent, half through the handshake."""
        kept = []
        while time.monotonic() < until:
            try:
                raw = socket.create_connection(("127.0.0.1", self.proxy_port), 5, (ATTACKER, 0))
                raw.settimeout(0.2)
                kept.append(raw)
                counts["opened"] += 1
            except OSError:
                counts["refused"] += 1
            if len(kept) >= 160:  # four threads of it
                kept.pop(0).close()
        for raw in kept:
            raw.close()

    # ---- victims ----

    def call_for(self, seconds):
        """Seconds that calls took, and the errors of those that failed."""
        took, failed = [], []
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            begin = time.monotonic()
            try:
                self.assertEqual(len(ids_of(self.generate(max_tokens=4, timeout=20))), 4)
            except grpc.RpcError as error:
                failed.append("%s: %s" % (error.code(), error.details()))
            took.append(time.monotonic() - begin)
            time.sleep(max(0, begin + 1 / CALLS_A_SECOND - time.monotonic()))
        return took, failed

    def under(self, attack, threads, name, ratio_most=None):
        baseline, failed = self.call_for(2)
        self.assertEqual(failed, [])
        before = self.resident_bytes()
        counts = dict.fromkeys(("resets", "cut", "refused", "opened"), 0)
        until = time.monotonic() + SECONDS
        attackers = [threading.Thread(target=attack, args=(until, counts)) for _ in range(threads)]
        for attacker in attackers:
            attacker.start()
        took, failed = self.call_for(SECONDS)
        for attacker in attackers:
            attacker.join()
        begin = time.monotonic()
        self.channel = self.connect()  # a newcomer
        self.assertEqual(len(ids_of(self.generate(max_tokens=4, timeout=20))), 4)
        recovery = time.monotonic() - begin
        growth = self.resident_bytes() - before
        solo, under = percentile(baseline, 0.99), percentile(took, 0.99)
        slow = ratio_most and under > ratio_most * solo
        good = not failed and not slow and growth <= 64 << 20 and recovery <= 2
        print("F15 attack=%s seconds=%.0f victims=%d failed=%d gate=0 p99_ms=%.1f baseline_p99_ms=%.1f ratio=%.2f gate=%s "
              "resident_growth_mib=%.1f gate_mib=64 recovery_s=%.2f gate_s=2 %s %s" %
              (name, SECONDS, len(took), len(failed), 1000 * under, 1000 * solo, under / solo, ratio_most or "none",
               growth / 2**20, recovery,
               " ".join("%s=%d" % item for item in counts.items() if item[1]), "PASS" if good else "FAIL"), flush=True)
        self.assertEqual(failed, [])
        self.assertFalse(slow)
        self.assertLessEqual(growth, 64 << 20)
        self.assertLessEqual(recovery, 2)
        return counts

    # ---- tests ----

    def test_clients_are_served_through_it(self):
        self.assertEqual(len(ids_of(self.generate())), 12)
        text = "a long prompt " * 100000  # 1.4 MB
        reply = self.unary(INFERENCE + "Tokenize", pb.TokenizeRequest(text=text), pb.TokenizeResponse)
        self.assertGreater(len(reply.token_ids), 10000)
        error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT,
                                 lambda: list(self.generate(sampling=pb.Sampling(temperature=-1))))
        self.assertIn(b"sampling.temperature", self.details_of(error))
        call = self.generate(max_tokens=1900)
        next(call)
        call.cancel()
        wait_until(lambda: self.cluster().groups[0].running_requests == 0, 5, "the cancel arrives")
        plain = grpc.insecure_channel(self.address_of_proxy, options=[("grpc.enable_http_proxy", 0)])
        self.addCleanup(plain.close)
        self.channel = plain
        self.expect_code(grpc.StatusCode.UNAVAILABLE, self.cluster)

    def test_it_holds_under_streams_that_are_reset(self):
        """Ten times as many as one address may open."""
        def attack(until, counts):
            self.flood_with_resets(until, counts, 10 * REQUESTS_A_SECOND / 4)
        counts = self.under(attack, 4, "rapid_reset_at_10_times", 3)
        self.assertGreater(counts["resets"], 10 * REQUESTS_A_SECOND)

    def test_it_holds_under_all_the_resets_that_there_is_time_for(self):
        """The attackers take these cores, so calls may take longer; they are answered."""
        counts = self.under(self.flood_with_resets, 4, "rapid_reset")
        self.assertGreater(counts["resets"], 100 * REQUESTS_A_SECOND)

    def test_it_holds_under_a_flood_of_connections(self):
        counts = self.under(self.flood_with_connections, 4, "connections", 3)
        self.assertGreater(counts["opened"] + counts["refused"], 640)


if __name__ == "__main__":
    if not shutil.which("haproxy", path=os.environ["PATH"] + ":/usr/sbin"):
        print("haproxy is not installed", file=sys.stderr)
        sys.exit(77)
    unittest.main(argv=["proxy_test"])
