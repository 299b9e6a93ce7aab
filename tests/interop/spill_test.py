"""--spill by a stock client, with real workers: sessions that others need the memory of go to files and come back, whole,
with none of their tokens passed again; also after the workers or the coordinator were killed."""
import glob
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import unittest
import urllib.request

from cluster_under_test import BIN, FOLDER, INFERENCE, ClusterTest, grpc, ids_of, pb, wait_until
from longhaul.v1 import sessions_pb2 as sp

SESSIONS = "/longhaul.v1.Sessions/"
SENTENCE = "In the beginning there was document %d, and it was long. "
QUESTION = "What was in the beginning?"
PLAIN = ("--heartbeat=0.2", "--threads=1", "--kernels=reference")
METHODS = ("rope", "string:shift=64,local=16", "lm_infinite:window=128,sinks=4")
LOAD_S = 60
MOST = 12


def document(number):
    return SENTENCE % number * 7


class Spill(ClusterTest):
    def setUp(self):
        super().setUp()
        self.folder = tempfile.mkdtemp(dir=FOLDER)

    def launch(self, *flags, workers=1):
        self.start("--launch", "--workers=%d" % workers, "--transport=loopback", "--spill", self.folder, *PLAIN, *flags)
        wait_until(lambda: any(g.state == pb.GROUP_STATE_READY for g in self.cluster().groups), LOAD_S, "the group is ready")

    def end(self, with_signal):
        self.coordinator.send_signal(with_signal)
        self.coordinator.wait(20)

    def call(self, name, request, response=sp.Session):
        call = self.channel.unary_unary(SESSIONS + name, request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=response.FromString)
        return call(request, timeout=60)

    def create(self, number, method="rope"):
        return self.call("CreateSession", sp.CreateSessionRequest(
            session=sp.Session(raw=True, method=pb.Method(spelling=method)), document=document(number)))

    def get(self, session):
        return self.call("GetSession", sp.GetSessionRequest(name=session.name))

    def delete(self, session):
        self.call("DeleteSession", sp.DeleteSessionRequest(name=session.name), sp.DeleteSessionResponse)

    def stream_ids(self, request):
        events = list(self.stream(INFERENCE + "Generate", request, pb.GenerateResponse, 60))
        return ids_of(events), events[-1].finished.usage

    def ask(self, session):
        return self.stream_ids(pb.GenerateRequest(session=session.name, prompt=pb.Prompt(text=QUESTION), max_tokens=12))

    def ask_anew(self, number, method="rope"):
        prompt = pb.Prompt(document=pb.Document(document=document(number), question=QUESTION), raw=True)
        return self.stream_ids(pb.GenerateRequest(prompt=prompt, max_tokens=12, no_prefix_reuse=True,
                                                  options=pb.PlanOptions(method=pb.Method(spelling=method))))

    def check(self, session, ids, prompt_tokens):
        answer, usage = self.ask(session)
        self.assertEqual(answer, ids)
        self.assertEqual((usage.cached_tokens, usage.prefilled_tokens), (session.tokens, prompt_tokens - session.tokens))
        self.assertEqual(self.get(session).state, sp.SESSION_STATE_READY)

    def files(self):
        return sorted(glob.glob(os.path.join(self.folder, "*.keys")))

    def fill(self, method="rope"):
        """Sessions until one of them is in a file: the first, which was used longest ago."""
        sessions = []
        while not sessions or self.get(sessions[0]).state == sp.SESSION_STATE_READY:
            self.assertLess(len(sessions), MOST)
            sessions.append(self.create(len(sessions), method))
        self.assertEqual(self.get(sessions[0]).state, sp.SESSION_STATE_SPILLED)
        self.assertEqual(self.get(sessions[0]).held_bytes, 0)
        return sessions

    def test_what_does_not_fit_goes_to_a_file_and_comes_back(self):
        for workers, flags in ((1, ()), (3, ("--cache=int8",))):
            self.launch("--group-requests=2", "--context=1024", *flags, workers=workers)
            for method in METHODS:
                sessions = self.fill(method)
                anew = [self.ask_anew(n, method) for n in range(len(sessions))]
                for _ in range(2):
                    for session, (ids, usage) in zip(sessions, anew):
                        self.check(session, ids, usage.prompt_tokens)
                longer = self.call("AppendToSession", sp.AppendToSessionRequest(name=sessions[0].name, text="It ended. "))
                self.assertGreater(longer.tokens, sessions[0].tokens)
                for session in sessions:
                    self.delete(session)
                self.assertEqual(self.files(), [], "a session's file goes with it")
            self.end(signal.SIGTERM)

    def test_answers_go_on_meanwhile(self):
        self.launch("--group-requests=2", "--context=1024")
        sessions = self.fill()
        alone = self.ask(sessions[-1])[0]
        request = pb.GenerateRequest(prompt=pb.Prompt(text="Once", raw=True), max_tokens=600, ignore_end=True)
        whole = self.stream_ids(request)[0]
        answer = self.stream(INFERENCE + "Generate", request, pb.GenerateResponse, 60)
        events = []
        while not events or not events[-1].HasField("tokens"):
            events.append(next(answer))
        self.ask(sessions[0])  # one goes out, this one comes back
        self.assertEqual(self.ask(sessions[-1])[0], alone)
        events += list(answer)
        self.assertEqual(ids_of(events), whole)

    def test_workers_that_are_killed_take_nothing_with_them_that_a_file_has(self):
        self.launch("--group-requests=1", "--context=1024")
        sessions = self.fill()
        ids, usage = self.ask(sessions[0])
        os.kill(self.cluster().groups[0].ranks[0].pid, signal.SIGKILL)
        wait_until(lambda: self.get(sessions[0]).state == sp.SESSION_STATE_SPILLED, LOAD_S, "it is in its file alone")
        self.assertIn(sp.SESSION_STATE_LOST, [self.get(session).state for session in sessions])
        wait_until(lambda: any(g.state == pb.GROUP_STATE_READY for g in self.cluster().groups), LOAD_S, "another group")
        self.check(sessions[0], ids, usage.prompt_tokens)

    def test_a_coordinator_takes_over_what_another_left(self):
        self.launch("--group-requests=1", "--context=1024")
        session = self.fill()[0]
        ids, usage = self.ask(session)
        self.end(signal.SIGKILL)
        left = self.files()
        shutil.copy(left[0], left[0].replace(".keys", ".keys.unfinished"))
        with open(left[-1].replace(".keys", "")[:-8] + "00000000.keys", "wb") as file:
            file.write(b"LHCACHE\n")
        with open(os.path.join(self.folder, "notes.txt"), "w", encoding="utf-8") as file:
            file.write("somebody's own")
        self.launch("--group-requests=1", "--context=1024", workers=2)
        self.assertEqual(self.files(), left)
        self.assertEqual(len(glob.glob(os.path.join(self.folder, "*"))), len(left) + 2)
        self.wait_logged(self.coordinator, 'event="spilled file removed".*it was never finished')
        self.wait_logged(self.coordinator, r'event="spilled file removed".*\[truncated\]')
        prompt = pb.Prompt(document=pb.Document(document=document(0), question=QUESTION), raw=True)
        answer, used = self.stream_ids(pb.GenerateRequest(prompt=prompt, max_tokens=12))
        self.assertEqual(answer, ids)
        self.assertEqual((used.cached_tokens, used.prefilled_tokens), (usage.cached_tokens, usage.prefilled_tokens))
        self.assertEqual(self.create(0).tokens, session.tokens)
        self.wait_logged(self.coordinator, "kind=restore")
        self.assertNotIn("kind=read", self.log_of(self.coordinator))

    def test_a_damaged_file_is_removed_and_its_document_is_told_as_lost(self):
        self.launch("--group-requests=1", "--context=1024")
        sessions = self.fill()
        for path in self.files():
            with open(path, "r+b") as file:
                file.seek(os.path.getsize(path) // 2)
                byte = file.read(1)
                file.seek(-1, os.SEEK_CUR)
                file.write(bytes([byte[0] ^ 1]))
        error = self.expect_code(grpc.StatusCode.FAILED_PRECONDITION, lambda: self.ask(sessions[0]))
        self.assertIn(b"SESSION_LOST", self.details_of(error))
        self.wait_logged(self.coordinator, r'event="spilled file removed".*\[digest\]')
        again = self.call("AppendToSession", sp.AppendToSessionRequest(name=sessions[0].name))
        self.assertEqual((again.state, again.tokens), (sp.SESSION_STATE_READY, sessions[0].tokens))
        ids, usage = self.ask_anew(0)
        self.check(again, ids, usage.prompt_tokens)

    def test_beginnings_of_prompts_go_to_files_too(self):
        """From the second time on that one comes."""
        self.launch("--group-requests=1", "--context=1024")

        def ask(number, question):
            return self.stream_ids(pb.GenerateRequest(
                prompt=pb.Prompt(text=document(number) + question, raw=True), max_tokens=12))
        ask(0, "One?")
        ids, usage = ask(0, "And two?")
        self.assertGreaterEqual(usage.cached_tokens, 256)
        for number in range(1, 5):
            ask(number, "One?")
            ask(number, "And two?")
        self.assertGreater(len(self.files()), 0)
        self.assertEqual(len(self.call("ListSessions", sp.ListSessionsRequest(), sp.ListSessionsResponse).sessions), 0)
        answer, used = ask(0, "And two?")
        self.assertEqual((answer, used.cached_tokens), (ids, usage.cached_tokens))
        self.end(signal.SIGKILL)
        self.launch("--group-requests=1", "--context=1024", workers=2)
        answer, used = ask(0, "And two?")
        self.assertEqual((answer, used.cached_tokens), (ids, usage.cached_tokens))

    def test_equal_prompts_that_come_at_once_keep_one_beginning(self):
        self.launch("--group-requests=4", "--context=1024", "--http=127.0.0.1:0")
        answers = []

        def ask(question):
            answers.append(self.stream_ids(pb.GenerateRequest(
                prompt=pb.Prompt(text=document(0) + question, raw=True), max_tokens=12))[0])
        ask("And two?")
        threads = [threading.Thread(target=ask, args=("And two?",)) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(answers, [answers[0]] * 5)
        with urllib.request.urlopen("http://%s/metrics" % self.http_address, timeout=20) as metrics:
            self.assertRegex(metrics.read().decode(), r"(?m)^longhaul_kept_beginnings 1$")

    def ask_beginning(self, number):
        """Twice: what comes a second time is kept."""
        for question in ("One?", "And two?"):
            answer = self.stream_ids(pb.GenerateRequest(
                prompt=pb.Prompt(text=document(number) + question, raw=True), max_tokens=12))
        return answer[0]

    def test_a_beginning_that_came_from_a_file_goes_to_another(self):
        """Once its own has made room for others."""
        self.launch("--group-requests=1", "--context=1024")
        ids = self.ask_beginning(0)
        number = 0
        while not self.files():
            number += 1
            self.ask_beginning(number)
        first = self.files()[0]
        self.end(signal.SIGKILL)
        self.launch("--group-requests=1", "--context=1024", "--spill-bytes=%d" % (1 << 20))
        while os.path.exists(first):
            number += 1
            self.assertLess(number, 60)
            self.ask_beginning(number)
            self.assertEqual(self.ask_beginning(0), ids)
        for number in range(100, 100 + MOST):
            self.ask_beginning(number)
        self.assertEqual(self.ask_beginning(0), ids)
        self.assertIsNone(self.coordinator.poll())
        self.assertNotIn("session not spilled", self.log_of(self.coordinator))

    def test_workers_of_other_keys_leave_files_alone(self):
        self.launch("--group-requests=1", "--context=1024")
        self.fill()
        self.end(signal.SIGKILL)
        left = self.files()
        self.launch("--group-requests=1", "--context=1024", "--cache=int8")
        prompt = pb.Prompt(document=pb.Document(document=document(0), question=QUESTION), raw=True)
        self.stream_ids(pb.GenerateRequest(prompt=prompt, max_tokens=12))
        self.wait_logged(self.coordinator, 'event="prompt read anew"')
        self.assertEqual(self.files(), left)

    def test_what_makes_room_takes_no_part_of_the_queue(self):
        """A save that stood in the queue behind the document that it is for would wait for it, or be refused."""
        self.launch("--group-requests=1", "--context=1024", "--queue-length=1")
        sessions = self.fill()
        ids, usage = self.ask_anew(0)
        self.check(sessions[0], ids, usage.prompt_tokens)

    def tenants(self, *names):
        """An access file, and what each tenant's calls show."""
        lines, shown = [], {}
        for name in names:
            token = os.path.join(self.folder, name + ".token")
            made = subprocess.run([os.path.join(BIN, "longhaul"), "token", name, "--token-file", token], capture_output=True,
                                  text=True, timeout=30, check=True)
            lines += ["tenant " + name, made.stdout.strip()]
            with open(token, encoding="ascii") as file:
                shown[name] = [("authorization", "Bearer " + file.read().strip())]
        access = os.path.join(self.folder, "access")
        with open(access, "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
            file.write("\n".join(lines) + "\n")
        return access, shown

    def test_no_tenant_sees_what_goes_out_for_it(self):
        """Sessions of one go to files for documents of another, whose calls see its own requests alone."""
        access, shown = self.tenants("before", "after")
        self.start("--launch", "--workers=1", "--transport=loopback", "--spill", os.path.join(self.folder, "files"), *PLAIN,
                   "--group-requests=1", "--context=1024", "--access-file", access)
        unary = lambda path, request, response, name: self.channel.unary_unary(
            path, request_serializer=lambda m: m.SerializeToString(), response_deserializer=response.FromString)(
                request, timeout=60, metadata=shown[name])
        cluster = lambda name: unary(INFERENCE + "GetCluster", pb.GetClusterRequest(), pb.GetClusterResponse, name)
        create = lambda name, text: unary(SESSIONS + "CreateSession", sp.CreateSessionRequest(
            session=sp.Session(raw=True), document=text), sp.Session, name)
        wait_until(lambda: any(g.state == pb.GROUP_STATE_READY for g in cluster("after").groups), LOAD_S, "the group is ready")
        seen, over = set(), threading.Event()

        def look():
            while not over.is_set():
                seen.update(request.prompt_tokens for request in cluster("after").requests)
        own = [create("before", document(n)) for n in range(2)]
        looking = threading.Thread(target=look)
        looking.start()
        try:
            other = [create("after", document(n) * 2) for n in range(8)]
        finally:
            over.set()
            looking.join()
        self.assertEqual(unary(SESSIONS + "GetSession", sp.GetSessionRequest(name=own[0].name), sp.Session, "before").state,
                         sp.SESSION_STATE_SPILLED)
        self.assertEqual(seen & {session.tokens for session in own}, set())
        self.assertTrue(seen & {session.tokens for session in other}, "its own are seen")

    def test_files_keep_to_their_limit(self):
        self.launch("--group-requests=1", "--context=1024", "--spill-bytes=%d" % (1 << 20))
        sessions = self.fill()
        size = os.path.getsize(self.files()[0])
        while len(sessions) * size < 3 << 20 and len(sessions) < 60:
            sessions.append(self.create(len(sessions)))
            self.assertLessEqual(sum(map(os.path.getsize, self.files())), 1 << 20)
        states = [self.get(session).state for session in sessions]
        self.assertEqual(states[0], sp.SESSION_STATE_LOST, "its file was used longest ago")
        self.assertIn(sp.SESSION_STATE_SPILLED, states)
        other = subprocess.run([os.path.join(BIN, "longhaul-coordinator"), "--model", os.path.join(FOLDER, "tiny.gguf"),
                                "--listen=127.0.0.1:0", "--spill", self.folder], capture_output=True, text=True, timeout=30)
        self.assertEqual(other.returncode, 78, other.stderr)
        self.assertIn("is in use by another coordinator", other.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=2)
