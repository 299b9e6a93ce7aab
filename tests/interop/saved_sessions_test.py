"""Sessions that become files and come back, by a stock client and by the command line, with real workers: on another
number of them, by every method, an answer is the same, and none of the document's tokens is computed again."""
import json
import os
import subprocess
import sys
import unittest

from cluster_under_test import BIN, FOLDER, INFERENCE, ClusterTest, grpc, ids_of, pb, wait_until
from longhaul.v1 import sessions_pb2 as sp

SESSIONS = "/longhaul.v1.Sessions/"
DOCUMENT = "In the beginning there was a very long document. " * 12
QUESTION = "What was in the beginning?"
PLAIN = ("--heartbeat=0.2", "--threads=1", "--kernels=reference")
METHODS = ("rope", "string:shift=64,local=16", "lm_infinite:window=128,sinks=4", "streaming_llm:window=128,sinks=4",
           "self_extend:window=64,group=4", "streaming_heads:heads=1,window=64,sinks=4")
LOAD_S = 60


class SavedSessions(ClusterTest):
    def launch(self, workers, *flags):
        self.start("--launch", "--workers=%d" % workers, "--transport=loopback", *PLAIN, *flags)
        wait_until(lambda: any(g.state == pb.GROUP_STATE_READY for g in self.cluster().groups), LOAD_S, "the group is ready")

    def relaunch(self, workers, *flags):
        self.coordinator.terminate()
        self.assertEqual(self.coordinator.wait(20), 0)
        self.launch(workers, *flags)

    def call(self, name, request, response=sp.Session):
        call = self.channel.unary_unary(SESSIONS + name, request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=response.FromString)
        return call(request, timeout=60)

    def create(self, method="rope", session_id="", raw=True, document=DOCUMENT):
        return self.call("CreateSession", sp.CreateSessionRequest(
            session=sp.Session(raw=raw, method=pb.Method(spelling=method)), document=document, session_id=session_id))

    def save(self, name, **fields):
        return list(self.stream(SESSIONS + "SaveSession", sp.SaveSessionRequest(name=name, **fields), sp.SavedPart, 60))

    def restore(self, parts, session_id="", **fields):
        def requests():
            yield sp.RestoreSessionRequest(session=sp.RestoredSession(session_id=session_id, header=parts[0].header, **fields))
            for part in parts[1:]:
                yield sp.RestoreSessionRequest(block=part.block)
        call = self.channel.stream_unary(SESSIONS + "RestoreSession", request_serializer=lambda m: m.SerializeToString(),
                                         response_deserializer=sp.Session.FromString)
        return call(requests(), timeout=60)

    def ask(self, session):
        request = pb.GenerateRequest(session=session.name, prompt=pb.Prompt(text=QUESTION), max_tokens=20)
        events = list(self.stream(INFERENCE + "Generate", request, pb.GenerateResponse, 60))
        return ids_of(events), events[-1].finished.usage

    def longhaul(self, *arguments):
        return subprocess.run([os.path.join(BIN, "longhaul"), *arguments], capture_output=True, text=True, timeout=60)

    def test_a_session_comes_back_on_any_number_of_workers(self):
        saved = []
        self.launch(2)
        for method in METHODS:
            session = self.create(method)
            saved.append((session, self.save(session.name), self.ask(session)))
        for workers in (1, 3):
            self.relaunch(workers)
            for session, parts, (ids, usage) in saved:
                restored = self.restore(parts)
                self.assertEqual((restored.tokens, restored.method.spelling, restored.raw, restored.state),
                                 (session.tokens, session.method.spelling, True, sp.SESSION_STATE_READY))
                answer, used = self.ask(restored)
                self.assertEqual(answer, ids, session.method.spelling)
                self.assertEqual((used.prefilled_tokens, used.cached_tokens),
                                 (usage.prompt_tokens - session.tokens, session.tokens), session.method.spelling)
                again = self.save(restored.name)
                self.assertEqual({p.block.number: p.block.stored for p in again[1:]},
                                 {p.block.number: p.block.stored for p in parts[1:]}, session.method.spelling)
                self.call("DeleteSession", sp.DeleteSessionRequest(name=restored.name), sp.DeleteSessionResponse)

    def test_by_the_command_line(self):
        path = os.path.join(FOLDER, "report.keys")
        self.launch(3)
        session = self.create(session_id="report")
        ids, usage = self.ask(session)
        result = self.longhaul("session", "save", "--server", self.address, "report", "-o", path)
        self.assertEqual((result.returncode, result.stdout), (0, ""), result.stderr)
        facts = json.loads(self.longhaul("session", "inspect", "--json", path).stdout)
        self.assertEqual((facts["tokens"], facts["document_bytes"]), (session.tokens, len(DOCUMENT)))
        self.relaunch(2)
        result = self.longhaul("session", "restore", "--server", self.address, "--id", "again", path)
        self.assertEqual((result.returncode, result.stdout), (0, "sessions/again\n"), result.stderr)
        answer, used = self.ask(sp.Session(name="sessions/again"))
        self.assertEqual(answer, ids)
        self.assertEqual(used.prefilled_tokens, usage.prompt_tokens - session.tokens)
        result = self.longhaul("session", "save", "--server", self.address, "nothing", "-o", path + "2")
        self.assertEqual(result.returncode, 66, result.stderr)
        self.assertFalse(os.path.exists(path + "2") or os.path.exists(path + "2.unfinished"))
        with open(path, "r+b") as file:
            file.seek(-1000, os.SEEK_END)
            file.write(b"?")
        result = self.longhaul("session", "restore", "--server", self.address, path)
        self.assertEqual(result.returncode, 65, result.stderr)
        self.assertRegex(result.stderr, r"offset \d+: .* \[digest\]")

    def test_what_is_no_session_of_these_workers_is_refused(self):
        """Each leaves a coordinator that restores the whole file afterwards."""
        self.launch(2, "--context=1024")
        parts = self.save(self.create().name)
        header = bytearray(parts[0].header)
        header[-9] ^= 1
        broken = [sp.SavedPart(header=bytes(header))] + parts[1:]
        error = self.expect_code(grpc.StatusCode.DATA_LOSS, lambda: self.restore(broken))
        self.assertRegex(error.details(), r"offset \d+: .*\[digest\]")
        error = self.expect_code(grpc.StatusCode.DATA_LOSS, lambda: self.restore(parts[:-1]))
        self.assertIn("of %d blocks only %d came" % (len(parts) - 1, len(parts) - 2), error.details())
        twice = parts[:-1] + parts[1:2]
        error = self.expect_code(grpc.StatusCode.DATA_LOSS, lambda: self.restore(twice))
        self.assertIn("twice", error.details())
        damaged = sp.SavedPart()
        damaged.CopyFrom(parts[3])
        damaged.block.stored = damaged.block.stored[:-1] + bytes([damaged.block.stored[-1] ^ 1])
        error = self.expect_code(grpc.StatusCode.DATA_LOSS, lambda: self.restore(parts[:3] + [damaged] + parts[4:]))
        self.assertIn("[digest]", error.details())
        error = self.expect_code(grpc.StatusCode.DATA_LOSS, lambda: self.restore([sp.SavedPart()] + parts[1:]))
        self.assertIn("[truncated]", error.details())
        made = self.restore(parts, "whole", request_id="once")
        self.assertEqual(self.restore(parts, "whole", request_id="once"), made)
        self.expect_code(grpc.StatusCode.ALREADY_EXISTS, lambda: self.restore(parts, "other", request_id="once"))
        self.expect_code(grpc.StatusCode.ALREADY_EXISTS, lambda: self.save(made.name, request_id="once"))
        self.assertEqual(len(self.save(made.name, request_id="save")), len(parts))
        self.assertEqual(len(self.save(made.name, request_id="save")), len(parts))
        self.expect_code(grpc.StatusCode.ALREADY_EXISTS, lambda: self.restore(parts, "whole"))
        self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: self.save("sessions/nothing"))

    def test_keys_in_8_bits_come_back_and_are_no_others(self):
        path = os.path.join(FOLDER, "bytes.keys")
        self.launch(2, "--cache=int8")
        session = self.create("string:shift=64,local=16")
        parts, (ids, _) = self.save(session.name), self.ask(session)
        result = self.longhaul("session", "save", "--server", self.address, session.name, "-o", path)
        self.assertEqual(result.returncode, 0, result.stderr)
        facts = json.loads(self.longhaul("session", "inspect", "--json", path).stdout)
        row = facts["kv_heads"] * (facts["head_dim"] + 2) * 64
        panels = sum((s["end_panel"] - s["first_panel"]) * s["records"] for s in facts["stores"])
        self.assertEqual((facts["elements"], facts["memory_bytes"]), ("int8", panels * facts["layers"] * row))
        self.relaunch(3, "--cache=int8")
        restored = self.restore(parts)
        self.assertEqual({p.block.number: p.block.stored for p in self.save(restored.name)[1:]},
                         {p.block.number: p.block.stored for p in parts[1:]})
        answer, used = self.ask(restored)
        self.assertEqual((answer, used.cached_tokens), (ids, session.tokens))
        self.relaunch(1)
        error = self.expect_code(grpc.StatusCode.FAILED_PRECONDITION, lambda: self.restore(parts))
        self.assertIn("holds int8 keys; these workers' are float32: start workers with the same --cache", error.details())
        parts = self.save(self.create().name)
        self.relaunch(1, "--cache=int8")
        error = self.expect_code(grpc.StatusCode.FAILED_PRECONDITION, lambda: self.restore(parts))
        self.assertIn("holds float32 keys; these workers' are int8", error.details())

    def test_keys_of_another_type_are_refused(self):
        self.launch(1)
        parts = self.save(self.create().name)
        kernels = [k for k in ("avx512_bf16",) if k in subprocess.run(
            [os.path.join(BIN, "longhaul-worker"), "--describe"], capture_output=True, text=True, timeout=60).stdout]
        if not kernels:
            self.skipTest("no kernels here keep bfloat16")
        self.coordinator.terminate()
        self.assertEqual(self.coordinator.wait(20), 0)
        self.start("--launch", "--workers=1", "--heartbeat=0.2", "--threads=1", "--kernels=" + kernels[0])
        wait_until(lambda: any(g.state == pb.GROUP_STATE_READY for g in self.cluster().groups), LOAD_S, "the group is ready")
        error = self.expect_code(grpc.StatusCode.FAILED_PRECONDITION, lambda: self.restore(parts))
        self.assertIn("holds float32 keys; these workers' are bfloat16", error.details())


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=2)
