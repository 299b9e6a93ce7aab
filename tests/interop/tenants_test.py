"""Tenants by their tokens: who may ask for what, and that none of them learns of another's requests."""
import os
import re
import subprocess
import threading
import time
import unittest

from cluster_under_test import (BIN, FOLDER, INFERENCE, ClusterTest, grpc, health_pb2, ids_of, pb,
                                reflection_pb2, text_of, wait_until)
from batch_client import BATCHES, DOCUMENTS, bp, completion, joined, oracle

LONG = 1900
PROMPT = "The same words, whoever asks. " * 60


class Tenants(ClusterTest):
    """Three tenants; `self.as_tenant` says whose token the calls show."""

    def setUp(self):
        super().setUp()
        self.folder = os.path.join(FOLDER, "access-%d" % time.monotonic_ns())
        os.mkdir(self.folder)
        self.access = os.path.join(self.folder, "access")
        self.tokens = {}
        lines = ["tenant alpha", self.make_token("alpha"), "tenant beta", self.make_token("beta"), "tenant ops",
                 self.make_token("ops", "inference,admin,metrics"), "tenant files",
                 self.make_token("files", "documents,batches")]
        self.write_access(lines)
        self.token = self.tokens["ops"]

    def write_access(self, lines):
        with open(self.access + ".new", "w", encoding="ascii") as file:
            file.write("\n".join(lines) + "\n")
        os.chmod(self.access + ".new", 0o600)
        os.rename(self.access + ".new", self.access)
        self.lines = lines

    def token_file(self, tenant):
        return os.path.join(self.folder, tenant + ".token")

    def make_token(self, tenant, scopes=None):
        result = subprocess.run([os.path.join(BIN, "longhaul"), "token", tenant, "--token-file", self.token_file(tenant),
                                 *(["--scopes", scopes] if scopes else [])],
                                capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, 0, result.stderr)
        with open(self.token_file(tenant), encoding="ascii") as file:
            self.tokens[tenant] = file.read().strip()
        self.assertEqual(os.stat(self.token_file(tenant)).st_mode & 0o777, 0o600)
        return result.stdout.strip()

    def as_tenant(self, tenant):
        self.token = self.tokens.get(tenant, tenant)
        return self

    def metadata(self):
        return [("authorization", "Bearer " + self.token)] if self.token else None

    def unary(self, path, request, response, timeout=20):
        call = self.channel.unary_unary(path, request_serializer=lambda m: m.SerializeToString(),
                                        response_deserializer=response.FromString)
        return call(request, timeout=timeout, metadata=self.metadata())

    def stream(self, path, request, response, timeout=None):
        call = self.channel.unary_stream(path, request_serializer=lambda m: m.SerializeToString(),
                                         response_deserializer=response.FromString)
        return call(request, timeout=timeout, metadata=self.metadata())

    def cancel(self, name):
        return self.unary(INFERENCE + "Cancel", pb.CancelRequest(request_id=name), pb.CancelResponse)

    def serve(self, *flags, places=4):
        self.start("--access-file", self.access, "--heartbeat=0.2", *flags)
        self.workers(1, "--token-ms=10", "--places=%d" % places)

    def begin(self, tenant, **fields):
        """A call whose first token is there."""
        call = self.as_tenant(tenant).generate("%s asks" % tenant, timeout=60, max_tokens=LONG, **fields)
        wait_until(lambda: next(call).HasField("tokens"), 10, "tokens come")
        self.addCleanup(call.cancel)
        return call

    # ---- strangers ----

    def test_a_stranger_is_refused_everything_but_health_and_the_protocol(self):
        self.serve()
        for token in ("", "x" * 64, self.tokens["alpha"][:-1], self.tokens["alpha"] + "0", "x" * 5000):
            self.as_tenant(token)
            for method, request in (("GetCluster", pb.GetClusterRequest()), ("Cancel", pb.CancelRequest(request_id="a")),
                                    ("Tokenize", pb.TokenizeRequest(text="a")), ("Plan", pb.PlanRequest(prompt_tokens=1)),
                                    ("Detokenize", pb.DetokenizeRequest())):
                error = self.expect_code(grpc.StatusCode.UNAUTHENTICATED, lambda method=method, request=request:
                                         self.unary(INFERENCE + method, request, pb.CancelResponse))
                self.assertIn("token", error.details())
                for other in self.tokens:
                    self.assertNotIn(other, error.details())
            self.expect_code(grpc.StatusCode.UNAUTHENTICATED, lambda: list(self.generate()))
            self.expect_code(grpc.StatusCode.UNAUTHENTICATED, lambda: list(self.score("one two three")))
            self.assertEqual(self.health(), health_pb2.HealthCheckResponse.SERVING)
        self.assertIn(b"TOKEN_MISSING", self.details_of(self.expect_code(
            grpc.StatusCode.UNAUTHENTICATED, self.as_tenant("").cluster)))
        reflect = self.channel.stream_stream(
            "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
            request_serializer=lambda m: m.SerializeToString(),
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString)
        answer = next(reflect(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=20))
        self.assertIn("longhaul.v1.Inference", [s.name for s in answer.list_services_response.service])
        self.assertEqual(len(ids_of(self.as_tenant("alpha").generate())), 12)

    def test_a_token_is_for_its_scopes_alone(self):
        self.serve()
        self.as_tenant("files")
        error = self.expect_code(grpc.StatusCode.PERMISSION_DENIED, lambda: list(self.generate()))
        self.assertIn(b"SCOPE_MISSING", self.details_of(error))
        self.expect_code(grpc.StatusCode.PERMISSION_DENIED, lambda: self.cancel("a"))
        self.assertEqual(len(self.cluster().groups), 1)

    def test_a_token_that_is_taken_away_counts_no_more(self):
        self.serve()
        self.assertEqual(len(ids_of(self.as_tenant("alpha").generate())), 12)
        self.write_access([line for line in self.lines if not line.startswith("token alpha")])
        self.as_tenant("alpha")

        def refused():
            try:
                self.cluster()
            except grpc.RpcError as error:
                return error.code() == grpc.StatusCode.UNAUTHENTICATED
            return False
        wait_until(refused, 5, "alpha's token is unknown")
        self.assertEqual(len(ids_of(self.as_tenant("beta").generate())), 12)
        self.write_access(["tenant beta weight=none"])
        time.sleep(1.2)
        self.assertEqual(len(ids_of(self.as_tenant("beta").generate())), 12, "a wrong file changes nothing")
        self.wait_logged(self.coordinator, "access file refused")

    # ---- each other ----

    def test_tenants_do_not_see_each_others_requests(self):
        self.serve()
        alphas = self.begin("alpha", request_id="job")
        betas = self.begin("beta", request_id="job")  # the name is free: it is another tenant's
        self.begin("alpha", request_id="alphas-alone")
        for tenant, names in (("alpha", ["alphas-alone", "job"]), ("beta", ["job"]), ("files", []),
                              ("ops", ["alphas-alone", "job", "job"])):
            cluster = self.as_tenant(tenant).cluster()
            self.assertEqual(sorted(r.request_id for r in cluster.requests), names, tenant)
            self.assertEqual(cluster.groups[0].running_requests, len(names), tenant)
            self.assertIn(cluster.groups[0].running_request_id, [*names, ""])
        self.as_tenant("files")
        self.assertEqual(self.cluster().groups[0].state, pb.GROUP_STATE_READY, "others' load is not told")
        self.as_tenant("alpha")
        error = self.expect_code(grpc.StatusCode.ALREADY_EXISTS,
                                 lambda: list(self.generate(request_id="job")))
        self.assertIn("job", error.details())
        error = self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: self.as_tenant("beta").cancel("alphas-alone"))
        nothing = self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: self.cancel("never-was"))
        self.assertEqual(error.details().replace("alphas-alone", "X"), nothing.details().replace("never-was", "X"))
        self.cancel("job")
        self.expect_code(grpc.StatusCode.CANCELLED, lambda: list(betas))
        self.assertTrue(next(alphas).HasField("tokens"), "alpha's job runs on")
        self.as_tenant("ops").cancel("job")
        self.expect_code(grpc.StatusCode.CANCELLED, lambda: list(alphas))

    def test_prefixes_are_shared_within_a_tenant_alone(self):
        self.start("--access-file", self.access, "--heartbeat=0.2")
        self.echo("--group=g", "--ranks=2", "--places=4")
        self.wait_ready()

        def cached(tenant):
            events = list(self.as_tenant(tenant).generate(PROMPT, max_tokens=2))
            return events[-1].finished.usage.cached_tokens
        self.assertEqual(cached("alpha"), 0)
        self.assertGreater(cached("alpha"), 0)
        self.assertEqual(cached("beta"), 0, "another tenant's prompt is read anew")
        self.assertGreater(cached("beta"), 0)

    def test_prefixes_of_a_real_worker_too(self):
        self.start("--access-file", self.access, "--launch", "--workers=1", "--transport=loopback", "--threads=1",
                   "--kernels=reference")
        wait_until(lambda: any(g.state == pb.GROUP_STATE_READY for g in self.cluster().groups), 60, "it is ready")
        usages = []
        for tenant in ("alpha", "alpha", "beta"):
            events = list(self.as_tenant(tenant).generate(PROMPT, max_tokens=2, timeout=60))
            usages.append(events[-1].finished.usage.cached_tokens)
        self.assertEqual((usages[0], usages[1] > 0, usages[2]), (0, True, 0), usages)

    def test_batches_and_documents_are_a_tenants_own(self):
        self.start("--access-file", self.access, "--store", os.path.join(self.folder, "store"))

        def create(tenant, **fields):
            request = bp.CreateBatchRequest(batch_id="night", **fields)
            return self.as_tenant(tenant).unary(BATCHES + "CreateBatch", request, bp.Batch)

        def names(tenant):
            listed = self.as_tenant(tenant).unary(BATCHES + "ListBatches", bp.ListBatchesRequest(),
                                                  bp.ListBatchesResponse)
            return [batch.name for batch in listed.batches]
        for tenant in ("alpha", "beta"):
            self.assertEqual(create(tenant, request_id="once").name, "batches/night")
        self.assertEqual((names("alpha"), names("beta"), names("files")),
                         (["batches/night"], ["batches/night"], []))
        get = bp.GetBatchRequest(name="batches/night")
        self.expect_code(grpc.StatusCode.NOT_FOUND,
                         lambda: self.as_tenant("files").unary(BATCHES + "GetBatch", get, bp.Batch))
        error = self.expect_code(grpc.StatusCode.PERMISSION_DENIED, lambda: create("ops"))
        self.assertIn(b"SCOPE_MISSING", self.details_of(error))
        self.expect_code(grpc.StatusCode.UNAUTHENTICATED, lambda: create(""))

    def client_stream(self, path, requests, response):
        call = self.channel.stream_unary(path, request_serializer=lambda m: m.SerializeToString(),
                                         response_deserializer=response.FromString)
        return call(iter(requests), timeout=60, metadata=self.metadata())

    def upload(self, tenant, lines):
        """The batch's name."""
        name = self.as_tenant(tenant).unary(BATCHES + "CreateBatch", bp.CreateBatchRequest(), bp.Batch).name
        self.client_stream(BATCHES + "UploadLines", [bp.UploadLinesRequest(name=name, lines=joined(lines), last=True)],
                           bp.UploadLinesResponse)
        return name

    def batch(self, tenant, name):
        return self.as_tenant(tenant).unary(BATCHES + "GetBatch", bp.GetBatchRequest(name=name), bp.Batch)

    def test_what_is_uploaded_is_held_against_the_quotas(self):
        self.write_access([line.replace("tenant alpha", "tenant alpha queued-tokens=100 stored-bytes=4000") for line in self.lines])
        self.start("--access-file", self.access, "--store", os.path.join(self.folder, "store"))
        fits = self.upload("alpha", [completion("fits", "A" * 40)])
        exceeds = self.upload("alpha", [completion(str(n), "B" * 40) for n in range(3)])
        wait_until(lambda: self.batch("alpha", exceeds).state == bp.BATCH_STATE_FAILED, 20, "it is refused")
        failed = self.batch("alpha", exceeds)
        self.assertRegex(failed.error, "waiting tokens.*may be")
        self.assertEqual((failed.counts.total, self.batch("alpha", fits).state), (0, bp.BATCH_STATE_QUEUED))
        error = self.expect_code(grpc.StatusCode.RESOURCE_EXHAUSTED,
                                 lambda: self.upload("alpha", [completion("long", "C" * 4000)]))
        self.assertIn(b"QUOTA_EXCEEDED", self.details_of(error))
        for text in (b"D" * 4001, b"E" * 3900):  # by itself, and beside what is there
            error = self.expect_code(grpc.StatusCode.RESOURCE_EXHAUSTED, lambda text=text: self.client_stream(
                DOCUMENTS + "UploadDocument", [bp.UploadDocumentRequest(text=text)], bp.StoredDocument))
            self.assertIn("stored bytes", error.details())
        several = self.upload("alpha", [completion("several", "AAA", tokens=30, n=2)])  # 63, and 48 wait
        alone = self.upload("alpha", [completion("alone", "AAA", tokens=30)])
        for name, state in ((several, bp.BATCH_STATE_FAILED), (alone, bp.BATCH_STATE_QUEUED)):
            wait_until(lambda name=name, state=state: self.batch("alpha", name).state == state, 20, "each answer counts")
        others = self.upload("beta", [completion(str(n), "B" * 40) for n in range(3)])
        wait_until(lambda: self.batch("beta", others).state == bp.BATCH_STATE_QUEUED, 20, "beta has no quota")

    def test_several_answers_to_one_prompt_keep_to_the_quotas(self):
        """They wait side by side as far as the quotas go, and none is refused because of the others."""
        self.write_access(["tenant alpha queued-requests=10 queued-tokens=20 running-requests=1", *self.lines[1:]])
        self.start("--access-file", self.access, "--heartbeat=0.2")
        self.echo("--places=4", "--group=g", "--step-us=2000")
        self.as_tenant("ops").wait_ready()
        said = oracle.answer_text(oracle.raw_ids("HELLO"), 8)
        self.as_tenant("alpha")
        for answers in (2, 6, 16):
            events = list(self.generate("HELLO", max_tokens=8, answers=answers))
            for k in range(answers):
                self.assertEqual(text_of(event for event in events if event.answer == k), said)
        ends = ["A", "BC", "DEF"] * 4
        events = list(self.score("HELLO", continuations=ends))
        self.assertEqual(sum(event.HasField("finished") for event in events), len(ends))
        # One answer alone is more than may wait; what it had is given back.
        for answers in (2, 16):
            error = self.expect_code(grpc.StatusCode.RESOURCE_EXHAUSTED,
                                     lambda: list(self.generate("HELLO", max_tokens=40, answers=answers)))
            self.assertIn(b"QUOTA_EXCEEDED", self.details_of(error))
        self.assertEqual(text_of(self.generate("HELLO", max_tokens=8)), said)

    def test_a_call_of_several_answers_is_not_ended_by_later_requests(self):
        self.write_access(["tenant alpha queued-requests=2", *self.lines[1:]])
        self.start("--access-file", self.access, "--heartbeat=0.2")
        self.echo("--places=1", "--group=g", "--step-us=2000")
        self.as_tenant("ops").wait_ready()
        self.as_tenant("alpha")
        call = self.generate("HELLO", max_tokens=20, answers=8, timeout=60)
        wait_until(lambda: next(call).HasField("tokens"), 10, "it runs")
        over = threading.Event()

        def ask_on():
            while not over.is_set():
                try:
                    list(self.generate("OTHER", max_tokens=20))
                except grpc.RpcError as error:
                    if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                        raise
                over.wait(0.005)
        others = [threading.Thread(target=ask_on) for _ in range(3)]
        for other in others:
            other.start()
        try:
            self.assertEqual(sum(event.HasField("finished") for event in call), 8)
        finally:
            over.set()
            for other in others:
                other.join(30)

    def test_lines_of_tenants_run_in_proportion_to_their_weights(self):
        self.write_access([line.replace("tenant alpha", "tenant alpha weight=3") for line in self.lines])
        self.start("--access-file", self.access, "--store", os.path.join(self.folder, "store"))
        names = {tenant: self.upload(tenant, [completion(str(n), "LINE %d OF %s" % (n, tenant.upper()), 10)
                                              for n in range(200)]) for tenant in ("beta", "alpha")}
        for tenant, name in names.items():
            wait_until(lambda t=tenant, n=name: self.batch(t, n).state == bp.BATCH_STATE_QUEUED, 20, "all lines wait")
        self.echo("--group=g", "--places=4", "--step-us=3000")
        wait_until(lambda: self.batch("alpha", names["alpha"]).counts.completed >= 120, 60, "most of alpha's are done")
        done = [self.batch(tenant, names[tenant]).counts.completed for tenant in ("alpha", "beta")]
        self.assertAlmostEqual(done[0] / done[1], 3, delta=0.6, msg=done)

    def test_only_who_may_drains(self):
        self.serve()
        running = self.as_tenant("alpha").generate(max_tokens=40, timeout=30)
        wait_until(lambda: next(running).HasField("tokens"), 10, "tokens come")
        self.expect_code(grpc.StatusCode.PERMISSION_DENIED,
                         lambda: self.unary(INFERENCE + "Drain", pb.DrainRequest(), pb.DrainResponse))
        self.as_tenant("ops").unary(INFERENCE + "Drain", pb.DrainRequest(), pb.DrainResponse)
        self.assertEqual(list(running)[-1].WhichOneof("event"), "finished")
        self.assertEqual(self.coordinator.wait(10), 0)

    # ---- what is written down ----

    def test_the_log_names_the_tenant_and_never_the_token(self):
        self.serve("--log-level=debug")
        list(self.as_tenant("alpha").generate())
        stranger = "stranger" * 6
        self.expect_code(grpc.StatusCode.UNAUTHENTICATED, self.as_tenant(stranger).cluster)
        self.wait_logged(self.coordinator, r"method=Generate peer=\S+ code=OK tenant=alpha")
        self.wait_logged(self.coordinator, "code=UNAUTHENTICATED")
        log = self.log_of(self.coordinator)
        for secret in [*self.tokens.values(), stranger]:
            self.assertNotIn(secret, log)
        with open("/proc/%d/cmdline" % self.coordinator.pid, "rb") as file:
            line = file.read()
        for secret in self.tokens.values():
            self.assertNotIn(secret.encode(), line)

    def test_commands_show_the_token(self):
        self.serve()

        def status(*flags):
            return subprocess.run([os.path.join(BIN, "longhaul"), "status", "--server", self.address, *flags],
                                  capture_output=True, text=True, timeout=30, stdin=subprocess.DEVNULL)
        self.begin("alpha", request_id="job")
        self.assertIn("job", status("--token-file", self.token_file("alpha")).stdout)
        result = status("--token-file", self.token_file("beta"))
        self.assertEqual((result.returncode, "job" in result.stdout), (0, False), result.stderr)
        result = status()
        self.assertEqual(result.returncode, 77, result.stderr)
        self.assertIn("--token-file", result.stderr)
        os.chmod(self.token_file("alpha"), 0o644)
        result = status("--token-file", self.token_file("alpha"))
        self.assertEqual(result.returncode, 78, result.stderr)
        self.assertIn("chmod 600", result.stderr)

    def test_a_token_is_never_written_over(self):
        before = self.tokens["alpha"]
        result = subprocess.run([os.path.join(BIN, "longhaul"), "token", "alpha", "--token-file",
                                 self.token_file("alpha")], capture_output=True, text=True, timeout=30)
        self.assertEqual(result.returncode, 69, result.stderr)
        with open(self.token_file("alpha"), encoding="ascii") as file:
            self.assertEqual(file.read().strip(), before)
        for words in (["Alpha"], ["a", "--scopes", "inference,everything"], ["a", "--scopes", ""]):
            result = subprocess.run([os.path.join(BIN, "longhaul"), "token", "--token-file",
                                     os.path.join(self.folder, "other"), *words], capture_output=True, text=True,
                                    timeout=30)
            self.assertEqual(result.returncode, 2, (words, result.stderr))
            self.assertFalse(os.path.exists(os.path.join(self.folder, "other")))

    def test_a_wrong_access_file_is_told_before_anything_listens(self):
        self.write_access(["tenant alpha", "token alpha sha256=" + self.tokens["alpha"][:-1]])
        result = subprocess.run([os.path.join(BIN, "longhaul-coordinator"), "--model", os.path.join(FOLDER, "tiny.gguf"),
                                 "--listen", "127.0.0.1:0", "--access-file", self.access], capture_output=True,
                                text=True, timeout=30, stdin=subprocess.DEVNULL)
        self.assertEqual(result.returncode, 65, result.stderr)
        self.assertRegex(result.stderr, re.escape(self.access) + ":2: sha256 is no digest")
        self.assertNotIn(self.tokens["alpha"][:-1], result.stderr)


if __name__ == "__main__":
    unittest.main(argv=["tenants_test"])
