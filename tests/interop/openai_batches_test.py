"""The stock `openai` client of PyPI: files, and batches of many lines over few documents."""
import io
import json
import os
import time
import unittest

from cluster_under_test import FOLDER
from openai_under_test import MODEL, OpenaiTest, openai

import echo_oracle as oracle

DOCUMENTS, LINES = 5, 200


class StoreTest(OpenaiTest):
    def flags(self):
        return ("--store", os.path.join(FOLDER, "store-%d" % time.monotonic_ns()))

    def upload(self, name, text, purpose):
        return self.client.files.create(file=(name, io.BytesIO(text.encode())), purpose=purpose)

    def upload_lines(self, lines):
        return self.upload("in.jsonl", "".join(json.dumps(line) + "\n" for line in lines), "batch")

    def wait_ended(self, batch, seconds=60):
        end = time.monotonic() + seconds
        while batch.status not in ("completed", "failed", "expired", "cancelled"):
            self.assertLess(time.monotonic(), end, batch)
            time.sleep(0.1)
            batch = self.client.batches.retrieve(batch.id)
        return batch

    def lines_of(self, file_id):
        return [json.loads(line) for line in self.client.files.content(file_id).text.splitlines()]


def line_of(custom_id, body, url="/v1/completions"):
    return {"custom_id": custom_id, "method": "POST", "url": url, "body": body}


class Files(StoreTest):
    def test_a_file_is_kept_listed_read_and_deleted(self):
        text = "ONE LINE\r\n--another\r\n\r\nAND \u00e9\u20ac\U0001f600" + "X" * 100000
        file = self.upload("a \"quoted\" name.txt", text, "user_data")
        self.assertEqual((file.object, file.purpose, file.bytes), ("file", "user_data", len(text.encode())))
        self.assertEqual(self.client.files.content(file.id).content, text.encode())
        self.assertEqual(self.client.files.retrieve(file.id), file)
        other = self.upload("b.jsonl", "{}\n", "batch")
        self.assertEqual([each.id for each in self.client.files.list()], [other.id, file.id])
        self.assertEqual([each.id for each in self.client.files.list(purpose="batch")], [other.id])
        self.assertEqual([each.id for each in self.client.files.list(limit=1)], [other.id, file.id], "page by page")
        self.assertTrue(self.client.files.delete(file.id).deleted)
        with self.assertRaises(openai.NotFoundError):
            self.client.files.retrieve(file.id)

    def test_the_same_bytes_are_one_file(self):
        self.assertEqual(self.upload("a.txt", "THE SAME", "user_data").id, self.upload("b.txt", "THE SAME", "user_data").id)

    def test_what_is_no_file_is_refused(self):
        for name, data, purpose in (("a.txt", "A", "vision"), ("a.txt", "A\0B", "user_data")):
            with self.assertRaises(openai.BadRequestError, msg=name):
                self.upload(name, data, purpose)
        with self.assertRaises(openai.BadRequestError):
            self.client.files.create(file=("a.txt", b"\xff\xfe"), purpose="user_data")
        with self.assertRaises(openai.NotFoundError):
            self.client.files.content("file-nothing")

    def test_a_document_is_named_in_a_request(self):
        file = self.upload("d.txt", "DOCUMENT", "user_data")
        document = "documents/" + file.id[len("file-"):]
        answer = self.post("/longhaul/v1/generate", {"document": document, "question": "Q", "raw": True, "max_tokens": 5})[2]
        self.assertEqual(answer["text"], oracle.answer_text(oracle.raw_ids("DOCUMENT\n\nQ"), 5))
        self.expect(404, "POST", "/longhaul/v1/generate", {"document": "documents/none", "question": "Q"})


class Batches(StoreTest):
    def test_lines_over_documents_are_answered_once_and_read_once(self):
        texts = [chr(ord("A") + n) * (700 + n) for n in range(DOCUMENTS)]
        files = [self.upload("d%d.txt" % n, text, "user_data") for n, text in enumerate(texts)]
        lines, prompts = [], {}
        for n in range(LINES):
            document = n % DOCUMENTS
            body = {"model": MODEL, "document": "documents/" + files[document].id[len("file-"):], "question": "Q %03d" % n,
                    "raw": True, "max_tokens": 4}
            lines.append(line_of("line %d" % n, body, "/longhaul/v1/generate"))
            prompts["line %d" % n] = oracle.raw_ids("%s\n\nQ %03d" % (texts[document], n))
        file = self.upload_lines(lines)
        batch = self.client.batches.create(input_file_id=file.id, endpoint="/longhaul/v1/generate", completion_window="24h",
                                           metadata={"for": "a test"})
        self.assertEqual((batch.object, batch.input_file_id, batch.metadata), ("batch", file.id, {"for": "a test"}))
        self.assertIn(batch.status, ("validating", "in_progress"))
        batch = self.wait_ended(batch)
        self.assertEqual(batch.status, "completed", batch)
        self.assertEqual((batch.request_counts.total, batch.request_counts.completed, batch.request_counts.failed),
                         (LINES, LINES, 0))
        self.assertIsNone(batch.error_file_id)
        results = self.lines_of(batch.output_file_id)
        self.assertEqual(len(results), LINES)
        self.assertEqual({result["custom_id"] for result in results}, set(prompts))
        read = 0
        for result in results:
            self.assertEqual((result["error"], result["response"]["status_code"]), (None, 200))
            body, prompt = result["response"]["body"], prompts[result["custom_id"]]
            self.assertEqual(body["text"], oracle.answer_text(prompt, 4))
            self.assertEqual(body["usage"]["prompt_tokens"], len(prompt))
            read += body["usage"]["prefilled_tokens"]
        prefixes = oracle.Prefixes()
        self.assertEqual(read, sum(prefixes.read(prompt)[1] for prompt in prompts.values()), "what is shared is read once")
        self.assertEqual(batch.usage.input_tokens, sum(map(len, prompts.values())))
        info = self.client.files.retrieve(batch.output_file_id)
        self.assertEqual(info.bytes, len(self.client.files.content(batch.output_file_id).content))

    def test_lines_that_fail_are_in_a_file_of_their_own(self):
        chat = {"model": MODEL, "messages": [{"role": "user", "content": "HELLO"}], "max_tokens": 3}
        url = "/v1/chat/completions"
        file = self.upload_lines([line_of("good", chat, url), line_of("tools", {**chat, "tools": [{}]}, url),
                                  line_of("long", {**chat, "messages": [{"role": "user", "content": "A" * 3000}]}, url)])
        batch = self.wait_ended(self.client.batches.create(input_file_id=file.id, endpoint=url, completion_window="24h"))
        self.assertEqual((batch.status, batch.request_counts.completed, batch.request_counts.failed), ("completed", 1, 2))
        good, = self.lines_of(batch.output_file_id)
        self.assertEqual(len(good["response"]["body"]["choices"][0]["message"]["content"]), 3)
        failed = {line["custom_id"]: line["response"] for line in self.lines_of(batch.error_file_id)}
        self.assertEqual({key: value["status_code"] for key, value in failed.items()}, {"tools": 400, "long": 400})
        self.assertIn("tools", failed["tools"]["body"]["error"]["message"])

    def test_a_duplicate_custom_id_fails_the_batch(self):
        body = {"model": MODEL, "prompt": "A", "max_tokens": 1}
        file = self.upload_lines([line_of("same", body), line_of("other", body), line_of("same", body)])
        batch = self.wait_ended(self.client.batches.create(input_file_id=file.id, endpoint="/v1/completions",
                                                           completion_window="24h"))
        self.assertEqual(batch.status, "failed")
        self.assertRegex(batch.errors.data[0].message, "1.*3")

    def test_a_batch_is_cancelled_and_listed(self):
        body = {"model": MODEL, "prompt": "A", "max_tokens": 1900}
        file = self.upload_lines([line_of("l%d" % n, body) for n in range(20)])
        batches = [self.client.batches.create(input_file_id=file.id, endpoint="/v1/completions", completion_window="1h")
                   for _ in range(3)]
        self.assertEqual([each.id for each in self.client.batches.list(limit=2)], [each.id for each in reversed(batches)])
        for batch in batches:
            self.assertIn(self.client.batches.cancel(batch.id).status, ("cancelling", "cancelled"))
        for batch in batches:
            ended = self.wait_ended(batch)
            self.assertEqual(ended.status, "cancelled")
            self.assertEqual(ended.request_counts.completed + ended.request_counts.failed, 20)
        with self.assertRaises(openai.BadRequestError):
            self.client.batches.cancel(batches[0].id)

    def test_what_is_no_batch_is_refused(self):
        with self.assertRaises(openai.NotFoundError):
            self.client.batches.create(input_file_id="file-none", endpoint="/v1/completions", completion_window="24h")
        with self.assertRaises(openai.BadRequestError):
            self.client.batches.create(input_file_id="file-none", endpoint="/v1/embeddings", completion_window="24h")
        with self.assertRaises(openai.NotFoundError):
            self.client.batches.retrieve("batch_none")


class Without(OpenaiTest):
    def test_a_coordinator_without_a_store_says_so(self):
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.batches.list()
        self.assertIn("--store", str(caught.exception))


if __name__ == "__main__":
    unittest.main(argv=["openai_batches_test"])
