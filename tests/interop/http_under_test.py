"""A coordinator's HTTP port, by the standard library's client and by raw sockets."""
import http.client
import json
import os
import socket
import sys

from cluster_under_test import SOURCE, ClusterTest

sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))

JSON = {"Content-Type": "application/json"}
COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"


class HttpTest(ClusterTest):
    def start_http(self, *flags, echo=("--places=4", "--step-us=500"), **arguments):
        self.start("--http", "127.0.0.1:0", *flags, **arguments)
        if echo is not None:
            self.echo("--group=g", *echo)
            self.wait_ready()

    @property
    def http_port(self):
        return int(self.http_address.rsplit(":", 1)[1])

    def ask(self, method, path, body=None, headers=None, timeout=20):
        """(code, headers, body) of one request on a connection of its own; JSON is read."""
        connection = http.client.HTTPConnection("127.0.0.1", self.http_port, timeout=timeout)
        try:
            if isinstance(body, (dict, list)):
                body, headers = json.dumps(body), {**JSON, **(headers or {})}
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            text = answer.read()
        finally:
            connection.close()
        is_json = answer.getheader("Content-Type", "").startswith("application/json")
        return answer.status, answer.headers, json.loads(text) if is_json else text.decode()

    def get(self, path, **arguments):
        return self.ask("GET", path, **arguments)

    def post(self, path, body, **arguments):
        return self.ask("POST", path, body, **arguments)

    def expect(self, code, method, path, body=None, headers=None, says=""):
        """The error object of a request that must fail with this code."""
        got, _, answer = self.ask(method, path, body, headers)
        self.assertEqual(got, code, answer)
        error = answer["error"]
        self.assertEqual(set(error), {"message", "type", "param", "code"})
        self.assertIn(says, error["message"])
        return error

    # ---- raw ----

    def connect(self, receive_bytes=None):
        raw = socket.socket()
        self.addCleanup(raw.close)
        if receive_bytes:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        raw.settimeout(20)
        raw.connect(("127.0.0.1", self.http_port))
        return raw

    def raw(self, data):
        """What the server says until it closes the connection, or says nothing for half a second."""
        connection = self.connect()
        connection.sendall(data)
        connection.settimeout(0.5)
        said = b""
        try:
            while part := connection.recv(65536):
                said += part
        except (socket.timeout, ConnectionResetError):
            pass
        return said

    def begin_stream(self, path, body, receive_bytes=None, until=b"data: "):
        """A connection whose answer has begun."""
        connection = self.connect(receive_bytes)
        text = json.dumps({**body, "stream": True}).encode()
        connection.sendall(b"POST %s HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
                           % (path.encode(), len(text), text))
        said = b""
        while until not in said:
            part = connection.recv(4096)
            self.assertTrue(part, said)
            said += part
        return connection


def events_of(text):
    """The data of a stream's events, without its comments; the last is "[DONE]"."""
    parts = [part[len("data: "):] for part in text.split("\n\n") if part.startswith("data: ")]
    return [part if part == "[DONE]" else json.loads(part) for part in parts]
