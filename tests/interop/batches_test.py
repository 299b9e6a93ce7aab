"""Durable batches and documents by a stock gRPC client."""
import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
import unittest

from batch_client import (BATCHES, DOCUMENT_TEXTS, DOCUMENTS, ENDED, BatchTest, bp, completion, joined, line, question,
                          unique_tokens)
from cluster_under_test import BIN, grpc, wait_until

import echo_oracle as oracle


class Whole(BatchTest):
    def setUp(self):
        super().setUp()
        self.start(self.store())
        self.echo("--ranks=2", "--places=8", "--group=g", "--step-us=500")
        self.wait_ready()

    def test_three_lines_are_answered(self):
        made = self.create([completion(str(n), "PROMPT %d" % n) for n in range(3)])
        self.assertRegex(made.name, "^batches/[0-9A-Za-z]{26}$")
        self.assertEqual((made.counts.total, made.endpoint), (3, "/v1/completions"))
        results = self.results(made.name)
        self.assertEqual({result.custom_id for result in results}, {"0", "1", "2"})
        for result in results:
            self.check_answer(result, "PROMPT " + result.custom_id, 8)
        ended = self.get(made.name)
        self.assertEqual((ended.state, ended.counts.completed), (bp.BATCH_STATE_SUCCEEDED, 3))
        self.assertEqual(ended.usage.completion_tokens, 24)

    def test_log_probabilities_and_several_answers_are_in_results(self):
        made = self.create([completion("likely", "PROMPT 1", logprobs=2), completion("several", "PROMPT 2", n=3)])
        results = {result.custom_id: result for result in self.results(made.name)}
        logprobs = self.check_answer(results["likely"], "PROMPT 1", 8)["choices"][0]["logprobs"]
        self.assertEqual([len(likely) for likely in logprobs["top_logprobs"]], [2] * 8)
        body = self.check_answer(results["several"], "PROMPT 2", 8)
        self.assertEqual([choice["text"] for choice in body["choices"]], [body["choices"][0]["text"]] * 3)
        self.assertEqual(body["usage"]["completion_tokens"], 24)
        refused, = self.results(self.create([line("s", {"session": "sessions/report", "question": "WHO?"},
                                                  "/longhaul/v1/generate")]).name)
        self.assertIn("outlives sessions", refused.json)

    def test_200_lines_over_5_documents_read_each_document_once(self):
        documents = [self.upload_document(text) for text in DOCUMENT_TEXTS]
        prompts, lines = {}, []
        for n in range(200):  # the documents' lines in no order
            document, ask = documents[n * 3 % 5], "QUESTION %d?" % n
            prompts["q%d" % n] = DOCUMENT_TEXTS[n * 3 % 5] + "\n\n" + ask
            lines.append(question("q%d" % n, document.digest if n % 2 else document.name, ask))
        data = joined(lines)
        estimate = self.estimate(data)
        made = self.create()
        self.assertEqual(made.state, bp.BATCH_STATE_UPLOADING)
        self.assertEqual(self.upload(made.name, data, piece=3000), len(data))
        results = self.results(made.name)
        self.assertEqual(sorted(result.custom_id for result in results), sorted(prompts))
        for result in results:
            self.check_answer(result, prompts[result.custom_id], 8)
        ended = self.get(made.name)
        self.assertEqual(ended.state, bp.BATCH_STATE_SUCCEEDED)
        unique = unique_tokens(prompts.values())
        self.assertEqual(ended.usage.prefilled_tokens, unique)
        self.assertEqual(ended.usage.prompt_tokens, ended.usage.prefilled_tokens + ended.usage.cached_tokens)
        self.assertEqual((estimate.lines, estimate.invalid_lines), (200, 0))
        self.assertEqual((estimate.prompt_tokens, estimate.unique_tokens), (ended.usage.prompt_tokens, unique))
        self.assertEqual(estimate.completion_tokens_max, 1600)
        after = self.estimate(name=made.name)
        self.assertEqual((after.unique_tokens, after.used.prefilled_tokens), (unique, unique))
        self.assertGreater(after.used_seconds, 0)


    def test_lines_of_another_shape_get_their_own_error(self):
        wrong = ["no JSON", "[]", "{}", line("no-body", None), line("tools", {"prompt": "A", "tools": [{}]}),
                 line("else", {"messages": [{"role": "user", "content": "A"}]}, "/v1/chat/completions"),
                 line("none", {"document": "documents/nothere", "question": "A"}, "/longhaul/v1/generate"),
                 completion("long", "A" * 5000), completion("hot", "A", temperature=-1), completion("streams", "A", stream=True),
                 completion("endless", "A", tokens=2**63 - 1), completion("few", "AB", positions=[0]),
                 completion("falls", "AB", positions=[*range(len(oracle.raw_ids("AB")) - 1), 0]),
                 completion("twice", "AB", positions=[*range(len(oracle.raw_ids("AB")))], n=2)]
        lines = [completion("right", "PROMPT"), *wrong, completion("right too", "PROMPT TOO")]
        estimate = self.estimate(joined(lines))
        made = self.create(lines)
        self.assertEqual(made.counts.failed, len(wrong))
        results = {result.line: result for result in self.results(made.name)}
        self.assertEqual(sorted(results), list(range(1, len(lines) + 1)))
        self.check_answer(results[1], "PROMPT", 8)
        self.check_answer(results[len(lines)], "PROMPT TOO", 8)
        for number in range(2, len(lines)):
            told = json.loads(results[number].json)
            self.assertTrue(400 <= told["response"]["status_code"] < 500, told)
            self.assertEqual(told["response"]["status_code"], results[number].status_code)
            self.assertTrue(told["response"]["body"]["error"]["message"], told)
        self.assertIsNone(json.loads(results[2].json)["custom_id"])
        self.assertIn("tools", results[6].json)
        for number in range(len(lines) - 3, len(lines)):
            self.assertIn("positions", results[number].json)
        self.assertEqual(self.get(made.name).state, bp.BATCH_STATE_SUCCEEDED)
        self.assertEqual((estimate.lines, estimate.invalid_lines), (len(lines), len(wrong)))
        self.assertIn("line 2: ", estimate.text)

    def test_an_upload_goes_on_at_its_offset(self):
        data = joined([completion(str(n), "PROMPT %d" % n, 2) for n in range(50)])
        made = self.create(batch=bp.Batch(metadata=[bp.Label(key="who", value="me")], priority=7))
        self.assertEqual(self.upload(made.name, data[:1000], piece=300, last=False), 1000)
        self.assertEqual(self.get(made.name).committed_bytes, 1000)
        # What is there already may come again, but not as something else, and nothing is left out.
        self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.upload(made.name, b"x" * 10, last=False))
        self.expect_code(grpc.StatusCode.OUT_OF_RANGE, lambda: self.upload(made.name, data, offset=1001))
        self.assertEqual(self.upload(made.name, data, piece=500, offset=700), len(data))
        self.assertEqual(len(self.results(made.name)), 50)
        ended = self.get(made.name)
        self.assertEqual((ended.counts.completed, ended.priority, ended.metadata[0].value), (50, 7, "me"))
        self.expect_code(grpc.StatusCode.FAILED_PRECONDITION, lambda: self.upload(made.name, data + b"more", offset=len(data)))

    def test_a_duplicate_custom_id_is_refused_with_both_lines(self):
        lines = [completion(str(n), "PROMPT %d" % n) for n in range(700)] + [completion("17", "AGAIN")]
        error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.create(lines))
        self.assertRegex(error.details(), r"\b18\b.*\b701\b|\b701\b.*\b18\b")
        made = self.create()
        self.upload(made.name, joined(lines))
        ended = self.wait_ended(made.name)
        self.assertEqual(ended.state, bp.BATCH_STATE_FAILED)
        self.assertRegex(ended.error, r"\b18\b.*\b701\b|\b701\b.*\b18\b")
        self.assertEqual(self.results(made.name), [])

    def test_a_request_id_makes_a_call_safe_to_repeat(self):
        lines = [completion("a", "PROMPT")]
        made = self.create(lines, request_id="one")
        self.assertEqual(self.create(lines, request_id="one").name, made.name)
        error = self.expect_code(grpc.StatusCode.ALREADY_EXISTS, lambda: self.create([completion("b", "X")], request_id="one"))
        self.assertIn(b"RESOURCE_EXISTS", self.details_of(error))
        self.assertNotEqual(self.create(lines, request_id="two").name, made.name)
        document = self.upload_document("TEXT", request_id="three")
        self.assertEqual(self.upload_document("TEXT", request_id="three").name, document.name)
        self.expect_code(grpc.StatusCode.ALREADY_EXISTS, lambda: self.upload_document("OTHER", request_id="three"))

    def test_names_are_checked_and_chosen(self):
        made = self.create([completion("a", "PROMPT")], batch_id="my-batch")
        self.assertEqual(made.name, "batches/my-batch")
        self.expect_code(grpc.StatusCode.ALREADY_EXISTS, lambda: self.create(batch_id="my-batch"))
        for wrong in ("My-batch", "a", "1abc", "abc-", "x" * 64):
            error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.create(batch_id=wrong))
            self.assertIn(b"batch_id", self.details_of(error))
        for wrong in ("", "my-batch", "batches/", "batches/a/b", "documents/my-batch"):
            error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.get(wrong))
            self.assertIn(b"name", self.details_of(error))
        self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: self.get("batches/nothere"))

    def test_fields_out_of_their_range_are_refused_by_name(self):
        labels = [bp.Label(key=str(n), value="v") for n in range(17)]
        for field, batch in (("batch.priority", bp.Batch(priority=101)), ("batch.metadata", bp.Batch(metadata=labels)),
                             ("batch.metadata", bp.Batch(metadata=[bp.Label(key="k", value="v" * 513)])),
                             ("batch.expires_after_seconds", bp.Batch(expires_after_seconds=59)),
                             ("batch.retention_seconds", bp.Batch(retention_seconds=-1)),
                             ("batch.endpoint", bp.Batch(endpoint="/v1/embeddings"))):
            error = self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.create(batch=batch))
            self.assertIn(field.encode(), self.details_of(error))

    def test_listings_have_pages(self):
        names = [self.create([completion("a", "PROMPT %d" % n)]).name for n in range(5)]
        seen, token = [], ""
        while True:
            page = self.call("ListBatches", bp.ListBatchesRequest(page_size=2, page_token=token), bp.ListBatchesResponse)
            seen += [batch.name for batch in page.batches]
            token = page.next_page_token
            if not token:
                break
        self.assertEqual(seen, names[::-1])
        self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.call(
            "ListBatches", bp.ListBatchesRequest(page_token="else@1"), bp.ListBatchesResponse))
        self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.call(
            "ListBatches", bp.ListBatchesRequest(page_size=1001), bp.ListBatchesResponse))
        self.wait_ended(names[-1])
        listed = self.call("ListBatches", bp.ListBatchesRequest(state=bp.BATCH_STATE_UPLOADING), bp.ListBatchesResponse)
        self.assertEqual(len(listed.batches), 0)

    def test_results_have_pages_and_an_order(self):
        lines = [completion("%d" % n, "PROMPT %d" % (9 - n), 1 + 7 * (n % 3)) for n in range(10)]
        made = self.create(lines, batch=bp.Batch(order=bp.RESULT_ORDER_INPUT))
        self.assertEqual([result.line for result in self.results(made.name)], list(range(1, 11)))
        seen, token, complete = [], "", False
        while not complete:
            page = self.call("ListResults", bp.ListResultsRequest(name=made.name, page_size=3, page_token=token),
                             bp.ListResultsResponse)
            seen += page.results
            token, complete = page.next_page_token, page.complete
        self.assertEqual([result.line for result in seen], list(range(1, 11)))
        rest = self.results(made.name, seen[5].cursor)
        self.assertEqual([result.line for result in rest], [7, 8, 9, 10])

    def test_a_watch_tells_until_the_end(self):
        made = self.create([completion(str(n), "PROMPT %d" % n, 100) for n in range(40)])
        told = list(self.stream(BATCHES + "WatchBatch", bp.WatchBatchRequest(name=made.name), bp.Batch, timeout=60))
        self.assertEqual(told[-1].state, bp.BATCH_STATE_SUCCEEDED)
        self.assertEqual(told[-1].counts.completed, 40)
        self.assertGreater(len(told), 1)

    def test_a_creation_that_reads_long_documents_ends_with_its_client_and_in_a_drain(self):
        """Whatever came before it ended: thousands of such lines take minutes."""
        document = self.client_stream(DOCUMENTS + "UploadDocument", [bp.UploadDocumentRequest(text=b"A" * (1 << 20))] * 2,
                                      bp.StoredDocument)
        lines = joined(question(str(n), document.name, "QUESTION?") for n in range(20000))
        create = self.channel.unary_unary(BATCHES + "CreateBatch", request_serializer=lambda m: m.SerializeToString(),
                                          response_deserializer=bp.Batch.FromString)
        request = bp.CreateBatchRequest(lines=lines)
        self.expect_code(grpc.StatusCode.DEADLINE_EXCEEDED, lambda: create(request, timeout=1))
        self.wait_logged(self.coordinator, "CreateBatch")
        call = create.future(request, timeout=120)
        self.coordinator.terminate()
        self.expect_code(grpc.StatusCode.UNAVAILABLE, call.result)
        self.assertEqual(self.coordinator.wait(20), 0)

    def test_documents_are_kept_once_and_by_name(self):
        one = self.upload_document("TEXT \u00e4", title="a title", document_id="my-doc")
        self.assertEqual((one.name, one.bytes, one.title), ("documents/my-doc", 7, "a title"))
        self.assertGreater(one.tokens, 0)
        self.assertEqual(self.upload_document("TEXT \u00e4").name, one.name)
        get = lambda name: self.call("GetDocument", bp.GetDocumentRequest(name=name), bp.StoredDocument, DOCUMENTS)
        self.assertEqual(get(one.name).digest, one.digest)
        self.assertEqual(get(one.digest).name, one.name)
        listed = self.call("ListDocuments", bp.ListDocumentsRequest(), bp.ListDocumentsResponse, DOCUMENTS)
        self.assertEqual([document.name for document in listed.documents], [one.name])
        delete = lambda name: self.call("DeleteDocument", bp.DeleteDocumentRequest(name=name), bp.DeleteDocumentResponse,
                                        DOCUMENTS)
        delete(one.name)
        self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: get(one.name))
        for bad in (b"\xff\xfe", b"cut \xc3", b"nul \0"):
            requests = [bp.UploadDocumentRequest(text=bad[:2]), bp.UploadDocumentRequest(text=bad[2:])]
            self.expect_code(grpc.StatusCode.INVALID_ARGUMENT, lambda: self.client_stream(
                DOCUMENTS + "UploadDocument", requests, bp.StoredDocument))
        split = "\u00e4".encode()
        requests = [bp.UploadDocumentRequest(text=b"A" + split[:1]), bp.UploadDocumentRequest(text=split[1:])]
        self.assertEqual(self.client_stream(DOCUMENTS + "UploadDocument", requests, bp.StoredDocument).bytes, 3)


class Ends(BatchTest):
    def delete(self, name):
        return self.call("DeleteBatch", bp.DeleteBatchRequest(name=name), bp.DeleteBatchResponse)

    def cancel(self, name):
        return self.call("CancelBatch", bp.CancelBatchRequest(name=name), bp.Batch)

    def retry(self, name, **fields):
        return self.call("RetryBatch", bp.RetryBatchRequest(name=name, **fields), bp.Batch)

    def begin(self, *echo):
        self.start(self.store())
        self.echo("--group=g", *echo)
        self.wait_ready()

    def test_a_cancel_ends_what_runs_and_keeps_what_is_done(self):
        self.begin("--places=4", "--step-us=10000")
        lines = [completion("short", "SHORT", 1)] + [completion(str(n), "PROMPT %d" % n, 400) for n in range(30)]
        made = self.create(lines)
        self.expect_code(grpc.StatusCode.FAILED_PRECONDITION, lambda: self.delete(made.name))
        # The short one, unless four others took the places before it.
        wait_until(lambda: self.get(made.name).counts.completed > 0, 20, "a line is done")
        self.cancel(made.name)
        ended = self.wait_ended(made.name, 5)
        completed, cancelled = ended.counts.completed, ended.counts.cancelled
        self.assertEqual((ended.state, completed + cancelled), (bp.BATCH_STATE_CANCELLED, 31))
        self.assertTrue(1 <= completed <= 9, completed)
        results = {result.custom_id: json.loads(result.json) for result in self.results(made.name)}
        self.assertEqual(len(results), 31)
        lost = [result for result in results.values() if result["error"]]
        self.assertEqual([result["error"]["code"] for result in lost], ["batch_cancelled"] * cancelled)
        self.assertTrue(all(result["response"] is None for result in lost))
        self.expect_code(grpc.StatusCode.FAILED_PRECONDITION, lambda: self.cancel(made.name))
        self.wait_ready()  # nothing runs any more
        again = self.retry(made.name, request_id="again")
        self.assertEqual(again.retry_of, made.name)
        self.assertEqual(self.retry(made.name, request_id="again").name, again.name)
        wait_until(lambda: self.get(again.name).counts.total == cancelled, 10, "they are tried again")
        self.cancel(again.name)
        self.wait_ended(again.name, 5)
        self.delete(made.name)
        self.expect_code(grpc.StatusCode.NOT_FOUND, lambda: self.get(made.name))

    def test_a_cancel_at_any_moment_ends_in_one_result_a_line(self):
        self.begin("--places=3", "--step-us=1000", "--prefill-us-per-token=300")
        chance = random.Random(14)
        for n in range(25):
            lines = [completion(str(k), "ROUND %d PROMPT %d" % (n, k), chance.choice((1, 30))) for k in range(6)]
            name = self.create(lines).name
            time.sleep(chance.uniform(0, 0.12))
            try:
                self.cancel(name)
            except grpc.RpcError as error:  # it was over
                self.assertEqual(error.code(), grpc.StatusCode.FAILED_PRECONDITION)
            ended = self.wait_ended(name, 5)
            counts = ended.counts
            self.assertEqual(counts.completed + counts.cancelled, 6)
            if ended.state == bp.BATCH_STATE_SUCCEEDED:
                self.assertEqual(counts.cancelled, 0)
            results = self.results(name)
            self.assertEqual(sorted(int(result.custom_id) for result in results), list(range(6)))
            self.assertEqual(sum(result.status_code == 200 for result in results), counts.completed)
        self.wait_ready()

    def test_nothing_failed_so_nothing_is_retried(self):
        self.begin()
        made = self.create([completion("a", "PROMPT")])
        self.wait_ended(made.name)
        error = self.expect_code(grpc.StatusCode.FAILED_PRECONDITION, lambda: self.retry(made.name))
        self.assertIn("no line", error.details())

    def test_lines_wait_for_a_group_and_for_one_that_comes_back(self):
        self.start(self.store(), "--heartbeat=0.2", "--heartbeat-timeout=1")
        made = self.create([completion(str(n), "PROMPT %d" % n, 20) for n in range(30)])
        self.echo("--group=g", "--places=4", "--again", "--die-after=12")  # its lines begin at once
        wait_until(lambda: any(process.poll() == -9 for process in self.processes), 20, "the worker dies")
        self.echo("--group=h", "--places=4")
        ended = self.wait_ended(made.name)
        self.assertEqual((ended.state, ended.counts.completed), (bp.BATCH_STATE_SUCCEEDED, 30))
        for result in self.results(made.name):
            self.check_answer(result, "PROMPT " + result.custom_id, 20)

    def test_a_line_that_killed_two_groups_is_set_aside(self):
        self.start(self.store(), "--heartbeat=0.2", "--heartbeat-timeout=1")
        poison = "--poison-id=%d" % (3 + ord("!"))
        made = self.create([completion("bad", "POISON!"), completion("good", "Q HARMLESS")])
        echoes = []
        while self.get(made.name).state not in ENDED and len(echoes) < 5:
            echo = self.echo("--group=g%d" % len(echoes), "--places=1", poison)
            echoes.append(echo)
            wait_until(lambda: echo.poll() is not None or self.get(made.name).state in ENDED, 20, "it dies, or all is done")
        wait_until(lambda: sum(echo.poll() == -9 for echo in echoes) == 2, 5, "it has killed two groups")
        results = {result.custom_id: result for result in self.results(made.name)}
        self.check_answer(results["good"], "Q HARMLESS", 8)
        bad = json.loads(results["bad"].json)["response"]
        self.assertEqual((bad["status_code"], bad["body"]["error"]["code"]), (500, "poison"))

    def test_a_line_that_fails_is_tried_three_times(self):
        self.begin("--places=2", "--fail-id=%d" % (3 + ord("?")))
        made = self.create([completion("bad", "WHAT?"), completion("good", "GOOD")])
        ended = self.wait_ended(made.name)
        self.assertEqual((ended.counts.completed, ended.counts.failed), (1, 1))
        self.wait_logged(self.coordinator, "line ended.*attempt=3 .*again=no")
        results = {result.custom_id: result for result in self.results(made.name)}
        self.assertEqual(results["bad"].status_code, 500)

    def test_numbers_that_are_not_finite_are_tried_once_more(self):
        self.begin("--places=1", "--not-finite-runs=1")
        made = self.create([completion("once", "GOOD")])
        self.assertEqual(self.wait_ended(made.name).counts.completed, 1)
        self.check_answer(self.results(made.name)[0], "GOOD", 8)
        self.wait_logged(self.coordinator, 'line ended.* attempt=1 code=INTERNAL again=yes.*why="the logits are not finite')

    def test_numbers_that_are_never_finite_are_no_answer(self):
        self.begin("--places=1", "--not-finite-runs=1000000")
        made = self.create([completion("never", "BAD")])
        self.assertEqual(self.wait_ended(made.name).counts.failed, 1)
        self.wait_logged(self.coordinator, "line ended.* attempt=2 code=INTERNAL again=no")
        response = json.loads(self.results(made.name)[0].json)["response"]
        self.assertEqual((response["status_code"], response["body"]["error"]["code"]), (500, "non_finite_logits"))

    def test_a_store_without_its_log_is_opened_when_it_is_asked_for(self):
        store = self.store()
        self.start(store)
        self.create([completion("a", "A")])
        self.coordinator.kill()
        self.coordinator.wait(10)
        os.remove(os.path.join(store.split("=")[1], "store.db-wal"))
        refused = subprocess.run([os.path.join(BIN, "longhaul-coordinator"), "--model", self.model_path(), "--listen",
                                  "127.0.0.1:0", store], capture_output=True, text=True, timeout=30, check=False)
        self.assertEqual(refused.returncode, 78)
        self.assertIn("--accept-lost-log", refused.stderr)
        self.start(store, "--accept-lost-log")
        self.create([completion("b", "B")])

    def test_a_batch_expires_with_its_lines(self):
        """The shortest time is a minute: the store is given one that is about to pass."""
        store = self.store()
        self.start(store)
        made = self.create([completion(str(n), "PROMPT %d" % n, 4 if n == 0 else 1900) for n in range(6)],
                           bp.Batch(expires_after_seconds=3600))
        self.coordinator.terminate()
        self.coordinator.wait(20)
        with sqlite3.connect(os.path.join(store.split("=")[1], "store.db")) as database:
            when = int((time.time() + 12) * 1e6)
            database.execute("UPDATE batches SET expires_us = ?, due_us = ?", (when, when))
        database.close()
        self.start(store)
        self.echo("--group=g", "--places=3", "--step-us=20000")
        wait_until(lambda: self.get(made.name).counts.completed == 1 and self.get(made.name).counts.running >= 2, 11, "one is done, some run")
        ended = self.wait_ended(made.name, 20)
        self.assertEqual((ended.state, ended.counts.completed, ended.counts.expired), (bp.BATCH_STATE_EXPIRED, 1, 5))
        self.assertLess(ended.ended_us, when + 2e6)
        results = {result.custom_id: json.loads(result.json) for result in self.results(made.name)}
        self.assertEqual(sorted(results), [str(n) for n in range(6)])
        self.assertEqual([results[str(n)]["error"]["code"] for n in range(1, 6)], ["batch_expired"] * 5)
        wait_until(lambda: self.cluster().groups[0].running_requests == 0, 5, "the group is free again")
        again = self.call("RetryBatch", bp.RetryBatchRequest(name=made.name), bp.Batch)
        wait_until(lambda: self.get(again.name).counts.total == 5, 10, "all five are in the new batch")

    def test_a_coordinator_that_drains_hands_its_lines_to_the_next_one(self):
        store = self.store()
        self.start(store, "--drain-time=0.3")
        self.echo("--group=g", "--places=4", "--step-us=20000")
        self.wait_ready()
        made = self.create([completion(str(n), "PROMPT %d" % n, 150) for n in range(12)])
        wait_until(lambda: self.cluster().groups[0].running_requests == 4, 10, "lines run")
        self.coordinator.terminate()
        self.assertEqual(self.coordinator.wait(20), 75)
        self.start(store)
        self.echo("--group=h", "--places=4")
        ended = self.wait_ended(made.name)
        self.assertEqual((ended.state, ended.counts.completed), (bp.BATCH_STATE_SUCCEEDED, 12))
        for result in self.results(made.name):
            self.check_answer(result, "PROMPT " + result.custom_id, 150)

    def test_a_coordinator_that_ends_waits_for_no_rank_that_stands_still(self):
        store = self.store()
        self.start(store, "--drain-time=0.3")
        still = self.echo("--group=g", "--places=1", "--step-us=20000")
        self.wait_ready()
        made = self.create([completion("a", "A", 150)])
        wait_until(lambda: self.cluster().groups[0].running_requests == 1, 10, "the line runs")
        still.send_signal(signal.SIGSTOP)
        self.coordinator.terminate()
        self.assertEqual(self.coordinator.wait(30), 75)
        self.start(store)
        self.echo("--group=h")
        ended = self.wait_ended(made.name)
        self.assertEqual((ended.state, ended.counts.completed), (bp.BATCH_STATE_SUCCEEDED, 1))

    def test_a_coordinator_that_ends_tells_whether_lines_are_left(self):
        store = self.store()
        self.start(store)  # and no workers
        made = self.create([completion(str(n), "PROMPT %d" % n) for n in range(3)])
        wait_until(lambda: self.get(made.name).counts.total == 3, 10, "the lines wait")
        self.coordinator.terminate()
        self.assertEqual(self.coordinator.wait(20), 75)
        self.start(store)
        self.echo("--group=g")
        self.assertEqual(self.wait_ended(made.name).counts.completed, 3)
        self.coordinator.terminate()
        self.assertEqual(self.coordinator.wait(20), 0)

    def test_without_a_store_every_call_says_what_to_do(self):
        self.start()
        for call in (self.create, lambda: self.get("batches/a"), lambda: self.upload_document("TEXT"),
                     lambda: self.estimate(joined([completion("a", "A")]))):
            error = self.expect_code(grpc.StatusCode.FAILED_PRECONDITION, call)
            self.assertIn("--store", error.details())
            self.assertIn(b"NO_STORE", self.details_of(error))


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
