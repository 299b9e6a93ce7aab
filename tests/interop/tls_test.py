"""TLS at the clients' port: who is believed, by clients and by the coordinator, and which files are taken."""
import os
import socket
import ssl
import subprocess
import time
import unittest
import urllib.error
import urllib.request

from cluster_under_test import BIN, FOLDER, INFERENCE, MODEL, ClusterTest, grpc, ids_of

CERTIFICATES = os.path.join(FOLDER, "certificates")


def openssl(*arguments):
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, timeout=60, cwd=CERTIFICATES)


def make_authority(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", "/CN=" + name, "-keyout", name + ".key", "-out", name + ".pem")


def make_certificate(name, authority):
    """Of 127.0.0.1 and localhost, signed by the authority."""
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-subj", "/CN=" + name,
            "-keyout", name + ".key", "-out", name + ".request")
    with open(os.path.join(CERTIFICATES, "extensions"), "w", encoding="ascii") as file:
        file.write("subjectAltName=IP:127.0.0.1,DNS:localhost\n")
    openssl("x509", "-req", "-in", name + ".request", "-CA", authority + ".pem", "-CAkey", authority + ".key",
            "-CAcreateserial", "-days", "2", "-extfile", "extensions", "-out", name + ".pem")


def path(name):
    return os.path.join(CERTIFICATES, name)


def content(name):
    with open(path(name), "rb") as file:
        return file.read()


def setUpModule():
    os.mkdir(CERTIFICATES)
    for authority in ("ours", "foreign"):
        make_authority(authority)
    for name, authority in (("server", "ours"), ("client", "ours"), ("stranger", "foreign")):
        make_certificate(name, authority)


SERVER = ("--tls-cert", path("server.pem"), "--tls-key", path("server.key"))


class Tls(ClusterTest):
    def connect(self, authority="ours", certificate=None):
        credentials = grpc.ssl_channel_credentials(content(authority + ".pem"),
                                                   content(certificate + ".key") if certificate else None,
                                                   content(certificate + ".pem") if certificate else None)
        channel = grpc.secure_channel(self.address, credentials, options=[("grpc.enable_http_proxy", 0)])
        self.addCleanup(channel.close)
        return channel

    def serve(self, *flags, certificate=None):
        self.start(*SERVER, *flags)
        self.channel = self.connect(certificate=certificate)
        self.workers(1)

    def refused(self, channel):
        """A call by this channel gets no answer."""
        self.channel = channel
        self.expect_code(grpc.StatusCode.UNAVAILABLE, self.cluster)

    def status(self, *flags, address=None):
        return subprocess.run([os.path.join(BIN, "longhaul"), "status", "--timeout=5", "--server", address or self.address,
                               *flags], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL,
                              env={**os.environ, "GRPC_DNS_RESOLVER": "native"})  # c-ares leaks what "localhost" takes

    def https(self, place, authority="ours"):
        context = ssl.create_default_context(cafile=path(authority + ".pem"))
        with urllib.request.urlopen("https://%s%s" % (self.http_address, place), timeout=20, context=context) as answer:
            return answer.status, answer.read().decode()

    def test_http_is_under_tls_too(self):
        self.serve("--http", "127.0.0.1:0")
        self.assertEqual(self.https("/healthz"), (200, "alive\n"))
        self.assertIn('"object"', self.https("/v1/models")[1])
        self.assertIn("longhaul_serving 1", self.https("/metrics")[1])
        with self.assertRaises(urllib.error.URLError):
            self.https("/healthz", "foreign")
        with self.assertRaises(Exception):  # in plain text
            urllib.request.urlopen("http://%s/healthz" % self.http_address, timeout=5)
        context = ssl.create_default_context(cafile=path("ours.pem"))
        context.maximum_version = ssl.TLSVersion.TLSv1_1
        with self.assertRaises((urllib.error.URLError, ssl.SSLError)):
            urllib.request.urlopen("https://%s/healthz" % self.http_address, timeout=5, context=context)
        self.assertEqual(self.https("/readyz")[0], 200, "and serves on")

    def test_http_is_open_to_other_hosts_under_tls_alone(self):
        def refused(*flags):
            return subprocess.run([os.path.join(BIN, "longhaul-coordinator"), "--model", MODEL, "--listen", "127.0.0.1:0", "--http",
                                   "0.0.0.0:0", *flags], capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        self.assertIn("--insecure-bind", refused().stderr)
        self.assertIn("--insecure-bind", refused(*SERVER, "--tls-client-ca", path("ours.pem")).stderr)
        self.start(*SERVER, "--http", "0.0.0.0:0")
        self.http_address = "127.0.0.1:" + self.http_address.rsplit(":", 1)[1]
        self.assertEqual(self.https("/healthz")[0], 200)

    def test_clients_that_trust_its_authority_are_served(self):
        self.serve()
        self.assertEqual(len(ids_of(self.generate())), 12)
        self.wait_logged(self.coordinator, r"method=Generate peer=ipv4:127.0.0.1:\d+ code=OK")

    def test_nobody_else_is(self):
        self.serve()
        self.refused(grpc.insecure_channel(self.address, options=[("grpc.enable_http_proxy", 0)]))
        self.refused(self.connect(authority="foreign"))
        self.channel = self.connect()
        self.assertEqual(len(ids_of(self.generate())), 12, "it serves on")

    def test_clients_need_a_certificate_where_one_is_asked_for(self):
        self.serve("--tls-client-ca", path("ours.pem"), certificate="client")
        self.assertEqual(len(ids_of(self.generate())), 12)
        self.refused(self.connect())
        self.refused(self.connect(certificate="stranger"))
        for flags, code in ((["--tls-cert", path("client.pem"), "--tls-key", path("client.key")], 0), ([], 69)):
            result = self.status("--tls-ca", path("ours.pem"), *flags)
            self.assertEqual(result.returncode, code, result.stderr)

    def test_commands_ask_under_tls(self):
        self.serve()
        for address in (self.address, self.address.replace("127.0.0.1", "localhost")):
            result = self.status("--tls-ca", path("ours.pem"), address=address)
            self.assertEqual(result.returncode, 0, result.stderr)
            self.assertIn("READY", result.stdout.upper())
        for flags in ([], ["--tls-ca", path("foreign.pem")]):
            self.assertEqual(self.status(*flags).returncode, 69)
        for flags, word in ((["--tls-cert", path("client.pem")], "--tls-ca"),
                            (["--tls-ca", path("ours.pem"), "--tls-cert", path("client.pem")], "--tls-key"),
                            (["--tls-ca", path("ours.key")], "no certificate in PEM"),
                            (["--tls-ca", path("not-there.pem")], "No such file")):
            result = self.status(*flags)
            self.assertNotIn(result.returncode, (0, 69), flags)
            self.assertIn(word, result.stderr)

    def test_the_workers_port_stays_as_it_is(self):
        self.serve()
        with grpc.insecure_channel(self.worker_address, options=[("grpc.enable_http_proxy", 0)]) as channel:
            self.expect_code(grpc.StatusCode.UNIMPLEMENTED,
                             lambda: channel.unary_unary(INFERENCE + "GetCluster")(b"", timeout=10))

    def test_with_tls_other_hosts_may_be_listened_to(self):
        self.start(*SERVER, "--listen=0.0.0.0:0", "--worker-listen=127.0.0.1:0")
        self.channel = self.connect()
        self.assertFalse(self.cluster().draining)

    def test_a_client_that_shows_nothing_is_dropped(self):
        self.serve()
        host, port = self.address.rsplit(":", 1)
        with socket.create_connection((host, int(port)), timeout=30) as silent:
            begin = time.monotonic()
            self.assertEqual(silent.recv(1), b"")
            self.assertLess(time.monotonic() - begin, 20)
        self.assertEqual(len(ids_of(self.generate())), 12)

    def test_running_calls_end_with_a_drain(self):
        self.serve()
        call = self.generate(max_tokens=40, timeout=60)
        next(call)
        self.coordinator.terminate()
        self.assertEqual(list(call)[-1].WhichOneof("event"), "finished")
        self.assertEqual(self.coordinator.wait(20), 0)

    def test_files_that_cannot_be_right_are_told_before_it_listens(self):
        open_key = path("open.key")
        with open(open_key, "wb") as file:
            file.write(content("server.key"))
        os.chmod(open_key, 0o640)
        openssl("ec", "-in", "server.key", "-aes256", "-passout", "pass:word", "-out", "locked.key")
        for flags, code, word in (
                (["--tls-cert", path("server.pem")], 65, "--tls-key"),
                (["--tls-key", path("server.key")], 65, "--tls-cert"),
                (["--tls-client-ca", path("ours.pem")], 65, "--tls-cert"),
                (["--tls-cert", path("server.pem"), "--tls-key", path("client.key")], 65, "is not of the certificate"),
                (["--tls-cert", path("server.pem"), "--tls-key", open_key], 78, "mode 0640"),
                (["--tls-cert", path("server.pem"), "--tls-key", path("locked.key")], 65, "without a password"),
                (["--tls-cert", path("server.key"), "--tls-key", path("server.key")], 65, "no certificate in PEM"),
                (["--tls-cert", CERTIFICATES, "--tls-key", path("server.key")], 65, "regular file"),
                (["--tls-cert", path("none.pem"), "--tls-key", path("server.key")], 66, "No such file"),
                ([*SERVER, "--tls-client-ca", path("server.key")], 65, "no certificate in PEM")):
            result = subprocess.run([os.path.join(BIN, "longhaul-coordinator"), "--model", MODEL, "--listen",
                                     "127.0.0.1:0", *flags], capture_output=True, text=True, timeout=30,
                                    stdin=subprocess.DEVNULL)
            self.assertEqual(result.returncode, code, (flags, result.stderr))
            self.assertIn(word, result.stderr)

    def test_a_port_in_use_is_told(self):
        self.start()
        result = subprocess.run([os.path.join(BIN, "longhaul-coordinator"), "--model", MODEL, "--listen", self.address,
                                 "--worker-listen", "127.0.0.1:0", *SERVER], capture_output=True, text=True, timeout=30,
                                stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, 69, result.stderr)
        self.assertIn(self.address, result.stderr)


if __name__ == "__main__":
    unittest.main(argv=["tls_test"])
