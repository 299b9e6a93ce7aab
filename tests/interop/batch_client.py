"""Batches and documents as a stock gRPC client makes them, and what an echo worker must answer to their lines."""
import json
import os
import sys

from cluster_under_test import SOURCE, ClusterTest, wait_until

sys.path.insert(0, os.path.join(SOURCE, "tests", "support"))
import echo_oracle as oracle  # noqa: E402
from longhaul.v1 import batches_pb2 as bp  # noqa: E402

BATCHES, DOCUMENTS = "/longhaul.v1.Batches/", "/longhaul.v1.Documents/"
ENDED = (bp.BATCH_STATE_SUCCEEDED, bp.BATCH_STATE_FAILED, bp.BATCH_STATE_EXPIRED, bp.BATCH_STATE_CANCELLED)
# No pair of these is merged by a tiny model's vocabulary: a token a byte.
DOCUMENT_TEXTS = ["DOCUMENT %d 0123456789 " % n * (12 + n) for n in range(5)]


def line(custom_id, body, url="/v1/completions"):
    return json.dumps({"custom_id": custom_id, "method": "POST", "url": url, "body": body})


def completion(custom_id, prompt, tokens=8, **fields):
    return line(custom_id, {"model": "tiny", "prompt": prompt, "max_tokens": tokens, **fields})


def question(custom_id, document, text, tokens=8):
    return line(custom_id, {"document": document, "question": text, "raw": True, "max_tokens": tokens},
                "/longhaul/v1/generate")


def joined(lines):
    return "".join(each + "\n" for each in lines).encode()


class BatchTest(ClusterTest):
    def store(self, name="store"):
        """A folder of this test's own."""
        path = os.path.join(os.path.dirname(self.model_path()), "%s-%s" % (self.id().split(".")[-1], name))
        return "--store=" + path

    @staticmethod
    def model_path():
        from cluster_under_test import MODEL
        return MODEL

    def call(self, method, request, response, service=BATCHES):
        return self.unary(service + method, request, response, timeout=60)

    def create(self, lines=(), batch=None, **fields):
        request = bp.CreateBatchRequest(batch=batch, lines=joined(lines), **fields)
        return self.call("CreateBatch", request, bp.Batch)

    def get(self, name):
        return self.call("GetBatch", bp.GetBatchRequest(name=name), bp.Batch)

    def client_stream(self, path, requests, response):
        call = self.channel.stream_unary(path, request_serializer=lambda m: m.SerializeToString(),
                                         response_deserializer=response.FromString)
        return call(iter(requests), timeout=60)

    def upload(self, name, data, piece=1 << 20, offset=0, last=True):
        ends = list(range(offset + piece, len(data), piece)) + [len(data)]
        requests = [bp.UploadLinesRequest(name=name, offset=max(offset, end - piece) if end != ends[-1] else
                                          (ends[-2] if len(ends) > 1 else offset), last=last and end == ends[-1])
                    for end in ends]
        for request, end in zip(requests, ends):
            request.lines = data[request.offset:end]
        return self.client_stream(BATCHES + "UploadLines", requests, bp.UploadLinesResponse).committed_bytes

    def upload_document(self, text, **fields):
        request = bp.UploadDocumentRequest(text=text.encode(), **fields)
        return self.client_stream(DOCUMENTS + "UploadDocument", [request], bp.StoredDocument)

    def wait_ended(self, name, seconds=60):
        wait_until(lambda: self.get(name).state in ENDED, seconds, name + " has ended")
        return self.get(name)

    def results(self, name, cursor=""):
        """All results as they come, until the batch has ended."""
        parts = self.stream(BATCHES + "StreamResults", bp.StreamResultsRequest(name=name, cursor=cursor),
                            bp.StreamResultsResponse, timeout=120)
        return [result for part in parts for result in part.results]

    def estimate(self, data=b"", name=""):
        return self.client_stream(BATCHES + "EstimateBatch", [bp.EstimateBatchRequest(name=name, lines=data)],
                                  bp.BatchEstimate)

    def check_answer(self, result, prompt, tokens):
        """The result's JSON is that of an echo worker's answer to a raw prompt."""
        told = json.loads(result.json)
        self.assertEqual((told["custom_id"], told["error"]), (result.custom_id, None))
        self.assertEqual(told["response"]["status_code"], 200, result.json)
        body = told["response"]["body"]
        text = body["text"] if "text" in body else body["choices"][0]["text"]
        self.assertEqual(text, oracle.answer_text(oracle.raw_ids(prompt), tokens))
        return body


def unique_tokens(prompts):
    """What must be computed of all prompts together, the shorter before the longer."""
    held, tokens = oracle.Prefixes(), 0
    for ids in sorted(map(oracle.raw_ids, prompts), key=lambda ids: (ids, len(ids))):
        tokens += held.read(ids)[1]
    return tokens
