"""Sessions by a stock client, with real workers: a document is read once, and whatever is asked of it says what it would
say without."""
import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
import unittest

from cluster_under_test import BIN, FOLDER, INFERENCE, ClusterTest, grpc, ids_of, pb, wait_until
from longhaul.v1 import sessions_pb2 as sp

SESSIONS = "/longhaul.v1.Sessions/"
DOCUMENT = "In the beginning there was a very long document. " * 12
MORE = "Then somebody went on writing it. " * 4
QUESTION = "What was in the beginning?"
PLAIN = ("--heartbeat=0.2", "--threads=1", "--kernels=reference")
METHODS = ("rope", "string:shift=64,local=16", "lm_infinite:window=128,sinks=4", "streaming_llm:window=128,sinks=4",
           "self_extend:window=64,group=4", "streaming_heads:heads=1,window=64,sinks=4")
LOAD_S = 60


def by(method):
    return pb.Method(spelling=method)


def usage_of(events):
    return events[-1].finished.usage


class Sessions(ClusterTest):
    def launch(self, *flags):
        self.start("--launch", *PLAIN, *flags)
        wait_until(lambda: any(g.state == pb.GROUP_STATE_READY for g in self.cluster().groups), LOAD_S, "the group is ready")

    def call(self, name, request, response=sp.Session, metadata=(), timeout=60):
        call = self.channel.unary_unary(SESSIONS + name, request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=response.FromString)
        return call(request, timeout=timeout, metadata=metadata)

    def create(self, document=DOCUMENT, session_id="", request_id="", metadata=(), raw=True, **fields):
        return self.call("CreateSession", sp.CreateSessionRequest(
            session=sp.Session(raw=raw, **fields), document=document, session_id=session_id, request_id=request_id),
            metadata=metadata)

    def append(self, name, text, request_id=""):
        return self.call("AppendToSession", sp.AppendToSessionRequest(name=name, text=text, request_id=request_id))

    def get(self, name, metadata=()):
        return self.call("GetSession", sp.GetSessionRequest(name=name), metadata=metadata)

    def list(self, metadata=(), **fields):
        return self.call("ListSessions", sp.ListSessionsRequest(**fields), sp.ListSessionsResponse, metadata)

    def delete(self, name, metadata=()):
        return self.call("DeleteSession", sp.DeleteSessionRequest(name=name), sp.DeleteSessionResponse, metadata)

    def ask(self, session, text=QUESTION, **fields):
        request = pb.GenerateRequest(session=session, prompt=pb.Prompt(text=text), max_tokens=20, **fields)
        return list(self.stream(INFERENCE + "Generate", request, pb.GenerateResponse, 60))

    def ask_anew(self, document, text=QUESTION, method="rope"):
        both = pb.Document(document=document, question=text)
        request = pb.GenerateRequest(prompt=pb.Prompt(document=both, raw=True), max_tokens=20, no_prefix_reuse=True,
                                     options=pb.PlanOptions(method=by(method)))
        return list(self.stream(INFERENCE + "Generate", request, pb.GenerateResponse, 60))

    def check_question(self, session, document, text=QUESTION):
        """Its answer, and that it passed the question alone."""
        asked, anew = self.ask(session.name, text), self.ask_anew(document, text, session.method.spelling)
        self.assertEqual(ids_of(asked), ids_of(anew), session.method.spelling)
        self.assertEqual(usage_of(asked).cached_tokens, session.tokens, session.method.spelling)
        self.assertEqual(usage_of(asked).prefilled_tokens, usage_of(anew).prompt_tokens - session.tokens)
        for rank in asked[-1].finished.ranks:
            self.assertEqual((rank.sent_bytes, rank.received_bytes),
                             (rank.predicted_sent_bytes, rank.predicted_received_bytes))

    def test_a_question_says_what_it_says_with_its_document(self):
        for flags in (("--workers=1",), ("--workers=2", "--transport=loopback"), ("--workers=3", "--transport=loopback")):
            self.launch(*flags)
            for method in METHODS:
                session = self.create(method=by(method))
                self.assertEqual(session.state, sp.SESSION_STATE_READY)
                self.assertGreater(session.tokens, len(DOCUMENT) // 8)
                self.assertGreater(session.held_bytes, 0)
                self.check_question(session, DOCUMENT)
                self.check_question(session, DOCUMENT, "1")
                session = self.append(session.name, MORE)
                self.check_question(session, DOCUMENT + MORE)
                self.delete(session.name)
            self.assertEqual(len(self.list().sessions), 0)
            self.coordinator.terminate()
            self.assertEqual(self.coordinator.wait(20), 0)

    def test_a_score_goes_on_where_the_document_ends(self):
        for workers, far in ((1, 0), (2, 3e-4)):  # several pass a short text otherwise than a long one
            self.launch("--workers=%d" % workers, "--transport=loopback")
            self.check_scores(self.create(), far)
            self.coordinator.terminate()
            self.assertEqual(self.coordinator.wait(20), 0)

    def check_scores(self, session, far):
        for end in (" and no more.", " or else.", "ly"):
            whole = [p for event in self.score(DOCUMENT + end, timeout=60) for p in event.scores.logprobs]
            events = list(self.score(end, timeout=60, session=session.name))
            scores = [event.scores for event in events if event.HasField("scores")]
            behind = [p for event in scores for p in event.logprobs]
            self.assertEqual(scores[0].first, session.tokens - 1)
            self.assertEqual(len(behind), len(whole[session.tokens - 1:]))
            for mine, its in zip(behind, whole[session.tokens - 1:]):
                self.assertAlmostEqual(mine, its, delta=far)
            self.assertEqual(events[-1].finished.usage.cached_tokens, session.tokens - 1)

    def test_what_a_method_forgets_is_not_held(self):
        self.launch("--workers=1")
        held = [self.create(DOCUMENT * times, method=by("lm_infinite:window=64,sinks=4")).held_bytes for times in (1, 2)]
        whole = [self.create(DOCUMENT * times).held_bytes for times in (1, 2)]
        self.assertEqual(held[0], held[1])
        self.assertGreater(whole[1], 1.8 * whole[0])
        self.assertLess(held[0], whole[0])

    def test_questions_at_once_share_the_document(self):
        self.launch("--workers=2", "--transport=loopback", "--group-requests=4")
        session = self.create()
        alone = [ids_of(self.ask_anew(DOCUMENT, "Question %d?" % n)) for n in range(6)]
        answers = [None] * 6

        def ask(n):
            answers[n] = ids_of(self.ask(session.name, "Question %d?" % n))
        threads = [threading.Thread(target=ask, args=(n,)) for n in range(6)]
        for thread in threads:
            thread.start()
        self.append(session.name, MORE)
        self.delete(session.name)
        for thread in threads:
            thread.join()
        self.assertEqual(answers, alone)
        self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: self.ask(session.name))

    def test_a_call_may_be_repeated(self):
        self.launch("--workers=1")
        first = self.create(request_id="make", session_id="mine")
        self.assertEqual(first.name, "sessions/mine")
        self.assertEqual(self.create(request_id="make", session_id="mine").created_us, first.created_us)
        self.expect_code(grpc.StatusCode.ALREADY_EXISTS, lambda: self.create(MORE, request_id="make"))
        self.expect_code(grpc.StatusCode.ALREADY_EXISTS, lambda: self.create(session_id="mine"))
        together = [None, None]

        def make(n):
            together[n] = self.create(DOCUMENT * 3, request_id="together")
        threads = [threading.Thread(target=make, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(together[0], together[1])
        self.assertEqual(together[0].state, sp.SESSION_STATE_READY)
        # One id is one call's: a session that was saved under it is not deleted by it.
        list(self.stream(SESSIONS + "SaveSession", sp.SaveSessionRequest(name=first.name, request_id="both"), sp.SavedPart, 60))
        self.expect_code(grpc.StatusCode.ALREADY_EXISTS, lambda: self.call(
            "DeleteSession", sp.DeleteSessionRequest(name=first.name, request_id="both"), sp.DeleteSessionResponse))
        self.assertEqual(self.get(first.name).state, sp.SESSION_STATE_READY)
        longer = self.append(first.name, MORE, request_id="grow")
        self.assertGreater(longer.tokens, first.tokens)
        self.assertEqual(self.append(first.name, MORE, request_id="grow").tokens, longer.tokens)
        self.expect_code(grpc.StatusCode.ALREADY_EXISTS, lambda: self.append(first.name, "else", request_id="grow"))

    def test_a_call_that_repeats_one_that_fails_fails_too(self):
        """The first one's client leaves while its text is read: nothing of it is in the session."""
        self.launch("--workers=1", "--context=8000")
        first = self.create()
        request = sp.AppendToSessionRequest(name=first.name, text=DOCUMENT * 6, request_id="grow")
        append = self.channel.unary_unary(SESSIONS + "AppendToSession", request_serializer=lambda m: m.SerializeToString(),
                                          response_deserializer=sp.Session.FromString)
        leaves = append.future(request, timeout=60)
        wait_until(lambda: self.get(first.name).state == sp.SESSION_STATE_READING, 20, "it is read")
        repeats = append.future(request, timeout=60)
        time.sleep(0.2)
        self.assertFalse(repeats.done())
        leaves.cancel()
        with self.assertRaises(grpc.RpcError) as failed:
            repeats.result()
        self.assertEqual(failed.exception.code(), grpc.StatusCode.UNAVAILABLE)
        self.assertEqual(self.get(first.name).tokens, first.tokens)
        self.assertGreater(append(request, timeout=60).tokens, first.tokens)

    def test_what_is_wrong_is_refused(self):
        self.launch("--workers=1")
        session = self.create()
        for field, call in (
                ("document", lambda: self.create("")),
                ("session_id", lambda: self.create(session_id="No")),
                ("session.expires_after_seconds", lambda: self.create(expires_after_seconds=9)),
                ("session.method", lambda: self.create(method=by("no"))),
                ("name", lambda: self.get("documents/x")),
                ("session", lambda: self.ask("x")),
                ("options.method", lambda: self.ask(session.name, options=pb.PlanOptions(method=by("string"))))):
            error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, call)
            self.assertIn(field.encode(), self.details_of(error))
        self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: self.ask("sessions/nobody"))
        self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: self.append("sessions/nobody", "more"))
        self.expect_code(grpc.StatusCode.OUT_OF_RANGE, lambda: self.create(DOCUMENT * 400))
        self.assertEqual([s.name for s in self.list().sessions], [session.name])

    def test_pages_tell_the_newest_first(self):
        self.launch("--workers=1")
        names = [self.create("Document %d says little." % n).name for n in range(5)]
        page = self.list(page_size=2)
        told = [s.name for s in page.sessions]
        while page.next_page_token:
            page = self.list(page_size=2, page_token=page.next_page_token)
            told += [s.name for s in page.sessions]
        self.assertEqual(told, names[::-1])

    def test_one_that_nobody_uses_expires(self):
        self.launch("--workers=1")
        session = self.create(expires_after_seconds=10)
        self.assertEqual(session.expires_us - session.used_us, 10000000)
        time.sleep(6)
        self.ask(session.name)
        time.sleep(6)
        self.assertEqual(self.get(session.name).questions, 1)
        wait_until(lambda: not self.list().sessions, 10, "it has expired")

    def test_a_lost_group_loses_it_until_it_is_read_again(self):
        self.launch("--workers=1", "--transport=mpi", "--heartbeat-timeout=2")
        session = self.create()
        os.kill(self.cluster().groups[0].ranks[0].pid, signal.SIGKILL)
        wait_until(lambda: self.get(session.name).state == sp.SESSION_STATE_LOST, LOAD_S, "it is lost")
        self.expect_code(grpc.StatusCode.FAILED_PRECONDITION, lambda: self.ask(session.name))
        wait_until(lambda: any(g.state == pb.GROUP_STATE_READY for g in self.cluster().groups), LOAD_S, "another group")
        again = self.append(session.name, "")
        self.assertEqual((again.state, again.tokens), (sp.SESSION_STATE_READY, session.tokens))
        self.check_question(again, DOCUMENT)

    def test_sessions_leave_half_of_the_memory_to_others(self):
        self.launch("--workers=1", "--group-requests=1")
        first = self.create(DOCUMENT * 2)
        error = self.expect_code(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda: self.create(DOCUMENT * 2))
        self.assertIn(b"QUOTA_EXCEEDED", self.details_of(error))
        self.assertTrue(ids_of(list(self.generate(DOCUMENT * 3, timeout=60))))
        self.delete(first.name)
        self.create(DOCUMENT * 2)

    def test_a_request_id_is_kept_longer_than_its_session(self):
        self.launch("--workers=1")
        first = self.create(session_id="once", request_id="make")
        grown = [self.append(first.name, MORE, "grow-%d" % n) for n in range(2)]
        delete_by = lambda request_id: self.call(
            "DeleteSession", sp.DeleteSessionRequest(name=first.name, request_id=request_id), sp.DeleteSessionResponse)
        self.assertEqual(self.append(first.name, MORE, "grow-0"), grown[0])
        delete_by("go")
        delete_by("go")
        self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: delete_by("another"))
        self.assertEqual(self.create(session_id="once", request_id="make"), first)
        self.assertEqual(self.append(first.name, MORE, "grow-1"), grown[1])
        self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: self.get(first.name))
        self.expect_code(grpc.StatusCode.ALREADY_EXISTS, lambda: self.create(session_id="other", request_id="make"))
        self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: self.append(first.name, MORE, "grow-2"))
        again = self.create(session_id="once")
        self.assertEqual(self.append(again.name, MORE, "grow-2").tokens, grown[0].tokens)

    def command(self, *words, code=0):
        result = subprocess.run([os.path.join(BIN, "longhaul"), "session", words[0], "--server", self.address, *words[1:]],
                                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60)
        self.assertEqual(result.returncode, code, result.stderr)
        return result.stdout

    def test_the_command_line_makes_asks_lists_and_forgets(self):
        self.launch("--workers=1")
        files = {"report": DOCUMENT, "more": MORE}
        for name, text in files.items():
            files[name] = os.path.join(FOLDER, "session-%s" % name)
            with open(files[name], "w", encoding="utf-8") as file:
                file.write(text)
        made = self.command("create", "--id=report", "--raw", "--method=string:shift=64,local=16", files["report"])
        self.assertEqual(made, "sessions/report\n")
        answer = self.command("ask", "--max-tokens=20", "report", QUESTION)
        for draft in ("none", "lookup"):
            self.assertEqual(self.command("ask", "--max-tokens=20", "--draft", draft, "report", QUESTION), answer)
        events = self.ask_anew(DOCUMENT, method="string:shift=64,local=16")
        self.assertEqual(answer.rstrip("\n"), "".join(event.tokens.text for event in events).rstrip("\n"))
        tokens = self.get("sessions/report").tokens
        self.assertEqual(self.command("append", "sessions/report", files["more"]), "sessions/report\n")
        self.assertGreater(self.get("sessions/report").tokens, tokens)
        row = self.command("list").splitlines()[1].split()
        self.assertEqual((row[0], row[1], row[4]), ("sessions/report", "ready", "3"))
        self.assertEqual(self.cluster().sessions.ready, 1)
        self.command("delete", "report")
        self.command("delete", "report", code=66)
        self.assertEqual(len(self.command("list").splitlines()), 1)

    def test_tenants_do_not_see_each_other(self):
        path = os.path.join(FOLDER, "access-%d" % os.getpid())
        secrets = {name: name * 16 for name in ("ada", "bob")}
        with open(path, "w", encoding="utf-8") as file:
            file.write("tenant ada session-tokens=%d\ntenant bob\n" % len(DOCUMENT))
            for name, secret in secrets.items():
                file.write("token %s sha256=%s scopes=inference\n" % (name, hashlib.sha256(secret.encode()).hexdigest()))
        os.chmod(path, 0o600)
        ada, bob = ((("authorization", "Bearer " + secrets[name]),) for name in ("ada", "bob"))
        self.start("--launch", *PLAIN, "--workers=1", "--access", path)
        wait_until(lambda: self.ready_for(ada), LOAD_S, "the group is ready")
        hers = self.create(session_id="hers", metadata=ada)
        for refused in (lambda: self.get(hers.name, bob), lambda: self.delete(hers.name, bob)):
            self.expect_code(grpc.StatusCode.NOT_FOUND, refused)
        self.assertEqual(len(self.list(bob).sessions), 0)
        self.assertEqual(self.create(session_id="hers", metadata=bob).name, hers.name)
        self.expect_code(grpc.StatusCode.RESOURCE_EXHAUSTED,
                         lambda: self.create("A document of hers. " * 25, metadata=ada))
        self.delete(hers.name, ada)
        self.create("A document of hers. " * 25, metadata=ada)

    def ready_for(self, metadata):
        call = self.channel.unary_unary(INFERENCE + "GetCluster", request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=pb.GetClusterResponse.FromString)
        return any(g.state == pb.GROUP_STATE_READY
                   for g in call(pb.GetClusterRequest(), timeout=10, metadata=metadata).groups)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:])
