"""The HTTP port with plain clients: answers, streams, refusals, and what clients do wrong."""
import concurrent.futures
import json
import os
import signal
import socket
import subprocess
import time
import unittest

from cluster_under_test import BIN, FOLDER, MODEL, pb, wait_until
from longhaul.v1 import sessions_pb2 as sp
from http_under_test import CHAT, COMPLETIONS, JSON, HttpTest, events_of

import echo_oracle as oracle

LONG = 1900  # tokens of an answer that does not end by itself


class Answers(HttpTest):
    def setUp(self):
        super().setUp()
        self.start_http()

    def test_a_completion_is_what_the_worker_says(self):
        code, headers, answer = self.post(COMPLETIONS, {"model": "mine", "prompt": "HELLO", "max_tokens": 9})
        self.assertEqual(code, 200)
        self.assertEqual(headers["Content-Type"], "application/json")
        self.assertEqual(answer["object"], "text_completion")
        self.assertEqual(answer["model"], "mine")
        choice, = answer["choices"]
        self.assertEqual(choice, {"index": 0, "text": oracle.answer_text(oracle.raw_ids("HELLO"), 9),
                                  "logprobs": None, "finish_reason": "length"})
        self.assertEqual(answer["usage"], {
            "prompt_tokens": 5, "completion_tokens": 9, "total_tokens": 14,
            "prompt_tokens_details": {"cached_tokens": 0}, "prefilled_tokens": 5,
            "completion_tokens_details": {"accepted_prediction_tokens": 0, "rejected_prediction_tokens": 0}})
        self.assertIn(headers["X-Request-Id"], answer["id"])

    def test_a_prefix_that_was_read_before_is_told_as_cached(self):
        body = {"prompt": "P" * 200, "max_tokens": 1}
        first, second = (self.post(COMPLETIONS, body)[2]["usage"] for _ in range(2))
        self.assertEqual(first["prompt_tokens_details"]["cached_tokens"], 0)
        self.assertEqual(second["prompt_tokens_details"]["cached_tokens"], 192)
        self.assertEqual(second["prefilled_tokens"], 8)

    def test_a_stream_tells_the_same_piece_by_piece(self):
        for path, body in ((COMPLETIONS, {"prompt": "HELLO"}), (CHAT, {"messages": [{"role": "user", "content": "A"}]})):
            whole = self.post(path, {**body, "max_tokens": 9})[2]
            code, headers, text = self.post(path, {**body, "max_tokens": 9, "stream": True,
                                                   "stream_options": {"include_usage": True}})
            self.assertEqual(code, 200)
            self.assertEqual(headers["Content-Type"], "text/event-stream")
            *chunks, last, done = events_of(text)
            self.assertEqual(done, "[DONE]")
            self.assertEqual(last["choices"], [])
            self.assertEqual(last["usage"]["completion_tokens"], 9)
            self.assertGreater(len(chunks), 1)
            self.assertEqual({chunk["id"] for chunk in chunks}, {last["id"]})
            self.assertEqual(chunks[-1]["choices"][0]["finish_reason"], "length")
            if path == CHAT:
                self.assertEqual(chunks[0]["choices"][0]["delta"]["role"], "assistant")
                said = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks)
                self.assertEqual(said, whole["choices"][0]["message"]["content"])
            else:
                said = "".join(chunk["choices"][0]["text"] for chunk in chunks)
                self.assertEqual(said, whole["choices"][0]["text"])

    def test_a_text_and_a_question_stream_with_their_plan(self):
        body = {"text": "LONG TEXT", "question": "WHO", "raw": True, "max_tokens": 4, "stream": True}
        *events, done = events_of(self.post("/longhaul/v1/generate", body)[2])
        self.assertEqual(done, "[DONE]")
        plan, = (event["planned"] for event in events if "planned" in event)
        self.assertEqual(plan["method"], "rope")
        self.assertEqual(plan["prompt_tokens"], len("LONG TEXT\n\nWHO"))
        said = "".join(event["text"] for event in events if "text" in event)
        self.assertEqual(said, oracle.answer_text(oracle.raw_ids("LONG TEXT\n\nWHO"), 4))
        self.assertEqual(events[-1]["finish_reason"], "length")

    def test_log_probabilities_have_a_token_each(self):
        body = {"prompt": "HELLO", "max_tokens": 3, "logprobs": 2}
        logprobs = self.post(COMPLETIONS, body)[2]["choices"][0]["logprobs"]
        self.assertEqual("".join(logprobs["tokens"]), oracle.answer_text(oracle.raw_ids("HELLO"), 3))
        self.assertEqual(logprobs["text_offset"], [0, 1, 2])
        self.assertEqual([len(likely) for likely in logprobs["top_logprobs"]], [2, 2, 2])
        body = {"messages": [{"role": "user", "content": "A"}], "max_tokens": 3, "logprobs": True, "top_logprobs": 1}
        content = self.post(CHAT, body)[2]["choices"][0]["logprobs"]["content"]
        self.assertEqual([len(token["top_logprobs"]) for token in content], [1, 1, 1])
        self.assertEqual(bytes(content[0]["bytes"]).decode(), content[0]["token"])

    def test_several_answers_to_one_prompt_are_choices(self):
        """The echo's answers follow from the prompt, so all are alike."""
        said = oracle.answer_text(oracle.raw_ids("HELLO"), 5)
        body = {"prompt": "HELLO", "max_tokens": 5, "n": 3, "logprobs": 1}
        whole = self.post(COMPLETIONS, body)[2]
        self.assertEqual([(c["index"], c["text"], c["finish_reason"]) for c in whole["choices"]],
                         [(k, said, "length") for k in range(3)])
        self.assertEqual([len(c["logprobs"]["tokens"]) for c in whole["choices"]], [5] * 3)
        usage = whole["usage"]
        self.assertEqual((usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]), (5, 15, 20))
        chat = {"messages": [{"role": "user", "content": "HELLO"}], "max_tokens": 5, "n": 2, "stream": True,
                "stream_options": {"include_usage": True}}
        *chunks, done = events_of(self.post(CHAT, chat)[2])
        self.assertEqual((done, chunks[-1]["usage"]["completion_tokens"]), ("[DONE]", 10))
        alone = self.post(CHAT, {"messages": chat["messages"], "max_tokens": 5})[2]["choices"][0]["message"]["content"]
        choices = [choice for chunk in chunks for choice in chunk["choices"]]
        for k in range(2):
            own = [choice for choice in choices if choice["index"] == k]
            self.assertEqual(own[0]["delta"]["role"], "assistant")
            self.assertEqual("".join(choice["delta"].get("content", "") for choice in own), alone)
            self.assertEqual(own[-1]["finish_reason"], "length")

    def test_a_session_is_asked(self):
        create = self.channel.unary_unary("/longhaul.v1.Sessions/CreateSession",
                                          request_serializer=lambda m: m.SerializeToString(),
                                          response_deserializer=sp.Session.FromString)
        create(sp.CreateSessionRequest(session_id="asked", document="LONG TEXT", session=sp.Session(raw=True)), timeout=20)
        body = {"session": "sessions/asked", "question": "WHO", "max_tokens": 4}
        said = self.post("/longhaul/v1/generate", body)[2]["text"]
        self.assertEqual(said, oracle.answer_text(oracle.raw_ids("LONG TEXT\n\nWHO"), 4))
        self.assertEqual(self.get("/longhaul/v1/state")[2]["sessions"]["ready"], 1)
        for more, field in (({"text": "A"}, "session"), ({"raw": True}, "session"), ({"question": ""}, "question")):
            self.assertEqual(self.expect(400, "POST", "/longhaul/v1/generate", {**body, **more})["param"], field)
        self.expect(404, "POST", "/longhaul/v1/generate", {**body, "session": "sessions/none"}, says="no such session")

    def test_the_model_is_listed_and_found(self):
        model, = self.get("/v1/models")[2]["data"]
        self.assertEqual(model["object"], "model")
        self.assertEqual(self.get("/v1/models/tiny%20random%20model")[2], model)
        self.expect(404, "GET", "/v1/models/other", says="other is not served")

    def test_what_is_not_supported_is_named(self):
        chat = {"messages": [{"role": "user", "content": "A"}]}
        for field, value in (("tools", [{"type": "function", "function": {"name": "f"}}]),
                             ("response_format", {"type": "json_object"}), ("n", 17)):
            error = self.expect(400, "POST", CHAT, {**chat, field: value}, says=field)
            self.assertEqual((error["param"], error["type"]), (field, "invalid_request_error"))
        self.expect(400, "POST", COMPLETIONS, {"prompt": "A", "temperatur": 1}, says="temperatur")
        self.assertEqual(self.expect(400, "POST", COMPLETIONS, {"prompt": "A", "top_p": 7})["param"], "top_p")
        self.assertEqual(self.expect(400, "POST", COMPLETIONS, {"prompt": "A" * 3000})["code"], "context_length_exceeded")
        self.expect(400, "POST", COMPLETIONS, body="{", says="JSON")
        self.expect(400, "POST", COMPLETIONS, says="JSON")

    def test_a_stream_that_cannot_begin_has_an_errors_code(self):
        self.expect(400, "POST", COMPLETIONS, {"prompt": "A", "top_p": 7, "stream": True})

    def test_paths_and_methods_that_are_not_there(self):
        self.expect(404, "GET", "/v1/embeddings", says="/v1/embeddings")
        self.expect(405, "GET", COMPLETIONS)
        self.assertEqual(self.ask("DELETE", COMPLETIONS)[1]["Allow"], "POST")
        code, headers, body = self.ask("HEAD", "/healthz")
        self.assertEqual((code, headers["Content-Length"], body), (200, "6", ""))

    def test_a_page_of_another_site_may_not_ask(self):
        body = {"prompt": "A", "max_tokens": 1}
        self.expect(403, "POST", COMPLETIONS, body, {"Origin": "http://evil.example"}, says="evil.example")
        self.expect(403, "POST", COMPLETIONS, body, {"Host": "evil.example:80"}, says="evil.example")
        own = "127.0.0.1:%d" % self.http_port
        for headers in ({"Origin": "http://" + own}, {"Host": "localhost"}, {"Host": "[::1]:8"}):
            self.assertEqual(self.post(COMPLETIONS, body, headers=headers)[0], 200, headers)

    def test_a_name_of_the_clients_is_the_requests(self):
        headers = self.post(COMPLETIONS, {"prompt": "A", "max_tokens": 1}, headers={"X-Request-Id": "mine"})[1]
        self.assertEqual(headers["X-Request-Id"], "mine")
        self.wait_logged(self.coordinator, r'http request ended" request=mine .*path=/v1/completions code=200')

    def test_many_connections_are_answered_at_the_same_time(self):
        prompts = ["PROMPT %d" % n for n in range(24)]
        with concurrent.futures.ThreadPoolExecutor(24) as pool:
            answers = pool.map(lambda prompt: self.post(COMPLETIONS, {"prompt": prompt, "max_tokens": 8}), prompts)
        for prompt, (code, _, answer) in zip(prompts, answers):
            self.assertEqual(code, 200, answer)
            self.assertEqual(answer["choices"][0]["text"], oracle.answer_text(oracle.raw_ids(prompt), 8))


class Wrong(HttpTest):
    """Bytes that are no good requests: an answer or an end, and the next client is served."""

    def setUp(self):
        super().setUp()
        self.start_http()

    def expect_raw(self, code, data):
        said = self.raw(data)
        self.assertTrue(said.startswith(b"HTTP/1.1 %d " % code), (data[:200], said[:300]))
        self.assertEqual(self.get("/healthz")[0], 200)

    def test_heads_that_can_be_read_in_two_ways(self):
        post = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\n"
        body = b'{"prompt": "A"}'
        for head in (b"Content-Length: 15\r\nContent-Length: 16\r\n",
                     b"Content-Length: 15\r\nTransfer-Encoding: chunked\r\n",
                     b"Transfer-Encoding: gzip\r\n",
                     b"Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n",
                     b"Content-Length: -1\r\n", b"Content-Length: 0x10\r\n"):
            said = self.raw(post + head + b"\r\n" + body)
            self.assertRegex(said, rb"^HTTP/1\.1 400 ", head)
            self.assertNotIn(b"200 OK", said, head)
            self.assertEqual(self.get("/healthz")[0], 200)

    def test_bytes_that_are_no_http(self):
        for data in (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200), b"GET\r\n\r\n",
                     b"\r\n" * 200, bytes(range(256)) * 20, b"GET / HTTP/9.9\r\n\r\n",
                     b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
            self.assertNotIn(b"200 OK", self.raw(data))
            self.assertEqual(self.get("/healthz")[0], 200)

    def test_a_host_is_needed(self):
        self.expect_raw(400, b"GET /healthz HTTP/1.1\r\n\r\n")

    def test_heads_that_are_too_long(self):
        self.assertRegex(self.raw(b"GET /" + b"a" * 70000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"), rb"^(HTTP/1\.1 414|$)")
        self.assertRegex(self.raw(b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 70000 + b"\r\n\r\n"),
                         rb"^(HTTP/1\.1 4(13|31)|$)")
        self.assertEqual(self.get("/healthz")[0], 200)

    def test_bodies_that_are_too_long(self):
        self.expect_raw(413, b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999\r\n\r\n")
        self.expect_raw(413, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nContent-Length: 3\r\n\r\nabc")

    def test_chunks_that_are_broken(self):
        post = b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
        for chunks in (b"zz\r\n", b"ffffffffffffffffff\r\n", b"-5\r\nabcde\r\n", b"5\r\nabcdefgh\r\n0\r\n\r\n"):
            self.assertNotIn(b"200 OK", self.raw(post + chunks))
            self.assertEqual(self.get("/healthz")[0], 200)

    def test_a_body_in_chunks_is_read(self):
        said = self.raw(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n"
                        b'8\r\n{"prompt\r\n1d\r\n": "HELLO", "max_tokens": 3}\r\n0\r\n\r\n')
        self.assertIn(oracle.answer_text(oracle.raw_ids("HELLO"), 3).encode(), said)

    def test_two_requests_in_one_packet_are_answered_in_turn(self):
        said = self.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
                        b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertEqual(said.count(b"HTTP/1.1 200 OK"), 2)

    def test_a_client_may_ask_before_it_sends_its_body(self):
        connection = self.connect()
        connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 35\r\n"
                           b"Expect: 100-continue\r\n\r\n")
        self.assertIn(b"100 Continue", connection.recv(4096))
        connection.sendall(b'{"prompt": "HELLO", "max_tokens":3')
        connection.settimeout(0.2)
        with self.assertRaises(socket.timeout):
            connection.recv(4096)  # a byte is missing
        connection.settimeout(20)


class Slow(HttpTest):
    def running(self):
        return sum(request.state == pb.REQUEST_STATE_RUNNING for request in self.cluster().requests)

    def test_a_client_that_goes_ends_its_request(self):
        self.start_http(echo=("--places=1", "--step-us=20000"))
        body = {"prompt": "A", "max_tokens": LONG}
        for stream in (True, False):
            connection = self.connect()
            text = json.dumps({**body, "stream": stream}).encode()
            connection.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n%s"
                               % (len(text), text))
            wait_until(lambda: self.running() == 1, 10, "it runs")
            waiting = self.begin_stream(COMPLETIONS, body, until=b": waiting")
            waiting.close()
            wait_until(lambda: len(self.cluster().requests) == 1, 5, "who waited is forgotten")
            begin = time.monotonic()
            connection.close()
            wait_until(lambda: not self.cluster().requests, 5, "it has ended")
            self.assertLess(time.monotonic() - begin, 1.5, "within a step and a look")

    def test_a_client_that_reads_nothing_loses_its_request(self):
        # More bytes than what is kept for it, and so slow that the run is not over before.
        self.start_http("--stall-timeout=1", echo=("--places=1", "--step-us=4000"))
        chat = {"messages": [{"role": "user", "content": "A"}], "max_tokens": LONG, "logprobs": True, "top_logprobs": 20}
        reader = self.begin_stream(CHAT, chat, receive_bytes=2048)
        wait_until(lambda: not self.cluster().requests, 60, "it has ended")
        self.wait_logged(self.coordinator, "the client has read nothing for")
        self.assertEqual(self.post(COMPLETIONS, {"prompt": "A", "max_tokens": 1})[0], 200)
        said = b""
        try:
            while part := reader.recv(1 << 16):
                said += part
        except ConnectionResetError:
            pass
        self.assertNotIn(b"[DONE]", said)

    def test_heads_and_bodies_that_come_too_slowly_are_cut(self):
        self.start_http()
        silent, head, idle = self.connect(), self.connect(), self.connect()
        head.sendall(b"GET /healthz HTTP/1.1\r\nHo")
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertIn(b"alive", idle.recv(4096))
        body = self.connect()
        body.sendall(b"POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n{")
        begin = time.monotonic()
        ends = {}
        while len(ends) < 3 and time.monotonic() < begin + 50:
            for name, connection, dribble in (("silent", silent, b""), ("head", head, b"a"), ("body", body, b" ")):
                if name in ends:
                    continue
                connection.settimeout(0.3)
                try:
                    connection.sendall(dribble)
                    if not connection.recv(4096):
                        ends[name] = time.monotonic() - begin
                except socket.timeout:
                    pass
                except OSError:
                    ends[name] = time.monotonic() - begin
        self.assertEqual(set(ends), {"silent", "head", "body"})
        self.assertLess(max(ends["silent"], ends["head"]), 25, ends)
        self.assertGreater(min(ends["silent"], ends["head"]), 10, ends)
        self.assertGreater(ends["body"], 25, ends)
        idle.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        self.assertIn(b"alive", idle.recv(4096), "a connection that rests longer is no slow one")


class Tokens(HttpTest):
    """Two tenants, and a token that may only read metrics."""

    def setUp(self):
        super().setUp()
        self.access = os.path.join(FOLDER, "access-%d" % time.monotonic_ns())
        self.tokens = {}
        lines = ["tenant alpha", self.make_token("alpha"), "tenant beta", self.make_token("beta"), "tenant ops",
                 self.make_token("ops", "--scopes", "metrics")]
        with open(os.open(self.access, os.O_WRONLY | os.O_CREAT, 0o600), "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        self.start_http("--access-file", self.access, "--store", self.access + ".store", echo=None)

    def make_token(self, tenant, *flags):
        path = self.access + "." + tenant
        made = subprocess.run([os.path.join(BIN, "longhaul"), "token", tenant, "--token-file", path, *flags], check=True,
                              capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        with open(path, encoding="ascii") as file:
            self.tokens[tenant] = {"Authorization": "Bearer " + file.read().strip()}
        return made.stdout.strip()

    def test_a_token_says_who_asks_and_for_what(self):
        for headers in ({}, {"Authorization": "Bearer " + "x" * 43}, {"Authorization": "Basic eDp5"}):
            error = self.expect(401, "GET", "/v1/models", headers=headers)
            self.assertEqual(error["type"], "authentication_error")
        self.assertEqual(self.get("/v1/models")[1]["WWW-Authenticate"], "Bearer")
        self.assertEqual(self.get("/v1/models", headers=self.tokens["alpha"])[0], 200)
        self.expect(403, "GET", "/v1/models", headers=self.tokens["ops"])
        self.expect(403, "GET", "/metrics", headers=self.tokens["alpha"])
        self.assertEqual(self.get("/metrics", headers=self.tokens["ops"])[0], 200)
        for path in ("/healthz", "/readyz"):
            self.assertIn(self.get(path)[0], (200, 503))

    def upload(self, tenant, name, data, purpose):
        """(code, answer) of an upload."""
        form = b"".join(b'--edge\r\nContent-Disposition: form-data; name="%s"\r\n\r\n%s\r\n' % part for part in (
            (b"purpose", purpose), (b'file"; filename="%s' % name, data))) + b"--edge--\r\n"
        return self.ask("POST", "/v1/files", form, {"Content-Type": "multipart/form-data; boundary=edge", **self.tokens[tenant]})

    def test_files_and_batches_are_each_tenants_own(self):
        code, _, file = self.upload("alpha", b"in.jsonl", b'{"custom_id": "a"}\n', b"batch")
        self.assertEqual(code, 200, file)
        body = {"input_file_id": file["id"], "endpoint": "/v1/completions", "completion_window": "24h"}
        code, _, batch = self.post("/v1/batches", body, headers=self.tokens["alpha"])
        self.assertEqual(code, 200, batch)
        self.expect(404, "POST", "/v1/batches", body, self.tokens["beta"])
        for path in ("/v1/files/" + file["id"], "/v1/files/%s/content" % file["id"], "/v1/batches/" + batch["id"],
                     "/v1/files/file-output_" + batch["id"][len("batch_"):]):
            self.assertEqual(self.get(path, headers=self.tokens["alpha"])[0], 200, path)
            self.expect(404, "GET", path, headers=self.tokens["beta"])
            self.expect(403, "GET", path, headers=self.tokens["ops"])
        self.expect(404, "DELETE", "/v1/files/" + file["id"], headers=self.tokens["beta"])
        self.expect(404, "POST", "/v1/batches/%s/cancel" % batch["id"], headers=self.tokens["beta"])
        for path in ("/v1/files", "/v1/batches"):
            self.assertEqual(len(self.get(path, headers=self.tokens["alpha"])[2]["data"]), 1)
            self.assertEqual(self.get(path, headers=self.tokens["beta"])[2]["data"], [])
        state = self.get("/longhaul/v1/state", headers=self.tokens["ops"])[2]
        self.assertEqual((state["batches"], state["requests"]), ([], []))

    def test_uploads_that_are_no_forms(self):
        for name, data, purpose in ((b"", b"A", b"nothing"), (b"a", b"\xff", b"batch")):
            self.assertEqual(self.upload("alpha", name, data, purpose)[0], 400)
        headers = {"Content-Type": "multipart/form-data; boundary=edge", **self.tokens["alpha"]}
        self.expect(400, "POST", "/v1/files", b"--edge\r\n", headers, says="last boundary")
        self.expect(400, "POST", "/v1/files", b"{}", {**JSON, **self.tokens["alpha"]}, says="multipart/form-data")
        self.assertEqual(self.get("/v1/files", headers=self.tokens["alpha"])[2]["data"], [])

    def test_a_name_is_each_tenants_own(self):
        self.echo("--group=g", "--places=2", "--step-us=20000")
        wait_until(lambda: self.get("/readyz")[0] == 200, 15, "it is ready")
        body = {"prompt": "A", "max_tokens": 100}
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            asked = [pool.submit(self.post, COMPLETIONS, body, headers={"X-Request-Id": "same", **self.tokens[tenant]})
                     for tenant in ("alpha", "beta", "alpha")]
            self.assertEqual(sorted(answer.result()[0] for answer in asked), [200, 200, 409])


class States(HttpTest):
    def test_ready_is_when_a_group_serves(self):
        self.start_http(echo=None)
        self.assertEqual(self.get("/healthz")[0], 200)
        self.assertEqual(self.get("/readyz")[::2], (503, "no worker group serves\n"))
        error = self.expect(503, "POST", COMPLETIONS, {"prompt": "A"})
        self.assertEqual(error["code"], "no_workers")
        self.assertEqual(self.post(COMPLETIONS, {"prompt": "A"})[1]["Retry-After"], "2")
        self.echo("--group=g")
        wait_until(lambda: self.get("/readyz")[0] == 200, 15, "it is ready")

    def test_metrics_count_what_is_answered(self):
        self.start_http()
        self.post(COMPLETIONS, {"prompt": "A", "max_tokens": 3})
        self.get("/nothing")
        wait_until(lambda: 'path="",code="404"} 1' in self.get("/metrics")[2], 5, "it is counted")
        code, headers, text = self.get("/metrics")
        self.assertEqual((code, headers["Content-Type"]), (200, "text/plain; version=0.0.4; charset=utf-8"))
        self.assertIn('longhaul_http_requests_total{path="/v1/completions",code="200"} 1\n', text)
        self.assertRegex(text, r"longhaul_http_connections [1-9]\n")
        code, headers, text = self.get("/metrics", headers={"Accept": "application/openmetrics-text"})
        self.assertTrue(headers["Content-Type"].startswith("application/openmetrics-text"))
        self.assertTrue(text.endswith("# EOF\n"))

    def test_a_drain_lets_what_runs_finish(self):
        self.start_http("--drain-time=20", echo=("--places=2", "--step-us=20000"))
        running = self.begin_stream(COMPLETIONS, {"prompt": "A", "max_tokens": 60})
        self.coordinator.send_signal(signal.SIGTERM)
        wait_until(lambda: self.get("/readyz")[2] == "draining\n", 5, "it drains")
        self.expect(503, "POST", COMPLETIONS, {"prompt": "A"}, says="draining")
        said = b""
        while part := running.recv(4096):
            said += part
            if b"[DONE]" in said:
                break
        self.assertIn(b'"finish_reason": "length"', said)
        running.close()
        self.assertEqual(self.coordinator.wait(20), 0)

    def test_an_end_cuts_what_runs_and_says_so(self):
        self.start_http("--drain-time=0", echo=("--places=2", "--step-us=20000"))
        running = self.begin_stream(COMPLETIONS, {"prompt": "A", "max_tokens": LONG})
        self.coordinator.send_signal(signal.SIGTERM)
        said = b""
        try:
            while part := running.recv(4096):
                said += part
        except ConnectionResetError:
            pass
        self.assertIn(self.coordinator.wait(20), (0, 75))
        self.assertNotIn(b'"finish_reason": "length"', said)

    def test_connections_beyond_the_limit_are_closed(self):
        self.start_http("--max-http-connections=4", echo=None)
        held = [self.connect() for _ in range(4)]
        for connection in held:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            self.assertIn(b"alive", connection.recv(4096))
        self.assertEqual(self.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), b"")
        held.pop().close()
        wait_until(lambda: b"alive" in self.raw(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"), 5,
                   "there is room again")

    def test_other_hosts_are_for_those_who_say_so(self):
        self.coordinator = self.spawn("coordinator", os.path.join(BIN, "longhaul-coordinator"), "--model", MODEL, "--listen", "127.0.0.1:0",
                                      "--http", "0.0.0.0:0")
        self.assertEqual(self.coordinator.wait(20), 65)
        self.assertIn("--insecure-bind", self.log_of(self.coordinator))


if __name__ == "__main__":
    unittest.main(argv=["http_test"])
