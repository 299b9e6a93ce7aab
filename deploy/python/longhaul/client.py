"""The client: calls that are repeated where that is safe, answers as they come, batches that survive both ends.

A call that changes something carries a request_id, drawn once: repeated, it is carried out once. An answer is asked for
again only as long as none of its text has come."""
import json
import uuid

import grpc

from longhaul.errors import Error, Patience
from longhaul.v1 import batches_pb2, inference_pb2, sessions_pb2

MESSAGE_BYTES = 36 << 20
UPLOAD_BYTES = 1 << 20  # of one message of an upload
INLINE_BYTES = 1 << 20  # more lines than that are uploaded
ENDED = {batches_pb2.BATCH_STATE_SUCCEEDED, batches_pb2.BATCH_STATE_FAILED, batches_pb2.BATCH_STATE_EXPIRED,
         batches_pb2.BATCH_STATE_CANCELLED}
FINISH = {inference_pb2.FINISH_REASON_STOP: "stop", inference_pb2.FINISH_REASON_LENGTH: "length",
          inference_pb2.FINISH_REASON_CANCELLED: "cancelled"}


class Answer:
    """A whole answer: text, token_ids, finish_reason ("stop", "length", "cancelled"), usage and seconds as in Finished."""

    def __init__(self):
        self.text, self.token_ids, self.finish_reason, self.usage, self.seconds = "", [], "", None, None

    def take(self, event):
        if event.HasField("tokens"):
            self.text += event.tokens.text
            self.token_ids.extend(event.tokens.ids)
        elif event.HasField("finished"):
            self.finish_reason = FINISH.get(event.finished.finish_reason, "unknown")
            self.usage, self.seconds = event.finished.usage, event.finished.seconds


def _pieces(data, offset):
    for first in range(offset, len(data), UPLOAD_BYTES):
        yield first, data[first:first + UPLOAD_BYTES]


def _as_jsonl(lines):
    """Bytes of JSON Lines, from bytes, text, or objects."""
    if isinstance(lines, str):
        return lines.encode()
    if isinstance(lines, (bytes, bytearray)):
        return bytes(lines)
    return b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in lines)


class Client:
    """target: "HOST:PORT". token: a tenant's. ca: the PEM of who signs the coordinator's certificate, which turns TLS on;
    certificate and key: one's own, for mTLS. retries: attempts in a row after a first one. timeout: seconds of a call,
    unless it says otherwise; None: none."""

    def __init__(self, target, token=None, ca=None, certificate=None, key=None, retries=8, timeout=None):
        self.retries, self.timeout = retries, timeout
        self.metadata = [("authorization", "Bearer " + token)] if token else []
        options = [("grpc.max_receive_message_length", MESSAGE_BYTES), ("grpc.enable_http_proxy", 0)]
        if ca is None:
            self.channel = grpc.insecure_channel(target, options=options)
        else:
            self.channel = grpc.secure_channel(target, grpc.ssl_channel_credentials(ca, key, certificate), options=options)
        self._methods = {}
        for file in (inference_pb2, batches_pb2, sessions_pb2):
            for service in file.DESCRIPTOR.services_by_name.values():
                for method in service.methods:
                    self._methods[method.name] = ("/%s/%s" % (service.full_name, method.name),
                                                  getattr(file, method.output_type.name))

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    # ---- calls ----

    def _stub(self, name, kind):
        path, response = self._methods[name]
        return getattr(self.channel, kind)(path, request_serializer=lambda message: message.SerializeToString(),
                                           response_deserializer=response.FromString)

    def _patience(self, timeout):
        return Patience(self.retries, self.timeout if timeout is None else timeout)

    def _call(self, name, request, timeout=None):
        """One request, one reply; of a method that only reads, or whose request has a request_id."""
        stub, patience = self._stub(name, "unary_unary"), self._patience(timeout)
        while True:
            try:
                return stub(request, timeout=patience.timeout(), metadata=self.metadata)
            except grpc.RpcError as failure:
                patience.wait(Error(failure))

    @staticmethod
    def _request_id(given):
        return given or uuid.uuid4().hex

    # ---- answers ----

    @staticmethod
    def request(text=None, document=None, chat=None, raw=False, max_tokens=None, temperature=None, top_p=None, top_k=0,
                min_p=0.0, repetition_penalty=None, seed=None, presence_penalty=0.0, frequency_penalty=0.0,
                logit_bias=None, stop=(), logprobs=None, method=None, draft=None, **fields):
        """A GenerateRequest: text is one message or, with `document`, the question about it; chat is a list of pairs
        ("system" | "user" | "assistant", text); logit_bias has a bias by token id; draft is "none" or "lookup". Further
        fields are the message's own."""
        prompt = inference_pb2.Prompt(raw=raw)
        if chat is not None:
            for role, content in chat:
                prompt.chat.messages.add(role=inference_pb2.Role.Value("ROLE_" + role.upper()), content=content)
        elif document is not None:
            prompt.document.document, prompt.document.question = document, text or ""
        else:
            prompt.text = text or ""
        sampling = inference_pb2.Sampling(top_k=top_k, min_p=min_p, presence_penalty=presence_penalty,
                                          frequency_penalty=frequency_penalty)
        for token_id, bias in (logit_bias or {}).items():
            sampling.logit_bias.add(id=token_id, bias=bias)
        for name, value in (("temperature", temperature), ("top_p", top_p), ("repetition_penalty", repetition_penalty),
                            ("seed", seed)):
            if value is not None:
                setattr(sampling, name, value)
        request = inference_pb2.GenerateRequest(prompt=prompt, sampling=sampling, stop=stop, **fields)
        if max_tokens is not None:
            request.max_tokens = max_tokens
        if logprobs is not None:
            request.logprobs = logprobs
        if method is not None:
            request.options.method.spelling = method
        if draft is not None:
            request.draft = inference_pb2.Draft.Value("DRAFT_" + draft.upper())
        return request

    def events(self, request, timeout=None):
        """The events of an answer as they come (GenerateResponse). Asked again where it is safe, until text has come; then
        a failure is raised: begin anew if you want to."""
        stub, patience = self._stub("Generate", "unary_stream"), self._patience(timeout)
        begun = False
        while True:
            call = stub(request, timeout=patience.timeout(), metadata=self.metadata)
            try:
                for event in call:
                    begun = begun or event.HasField("tokens")
                    yield event
                return
            except grpc.RpcError as failure:
                if begun:
                    raise Error(failure) from None
                patience.wait(Error(failure))
            finally:
                call.cancel()

    def stream(self, text=None, timeout=None, **fields):
        """Pieces of the answer's text as they come; fields as in request()."""
        for event in self.events(self.request(text, **fields), timeout):
            if event.HasField("tokens") and event.tokens.text:
                yield event.tokens.text

    def generate(self, text=None, timeout=None, **fields):
        """The whole Answer; fields as in request(). Asked again where its workers are lost: nobody has seen any of it."""
        patience = self._patience(timeout)
        while True:
            answer = Answer()
            try:
                for event in self.events(self.request(text, **fields), patience.timeout()):
                    answer.take(event)
                return answer
            except Error as error:
                patience.wait(error)

    def tokenize(self, text):
        return list(self._call("Tokenize", inference_pb2.TokenizeRequest(text=text)).token_ids)

    def cluster(self):
        return self._call("GetCluster", inference_pb2.GetClusterRequest())

    # ---- sessions ----

    def create_session(self, document, session_id="", raw=False, method=None, expires_after_seconds=0, request_id=None,
                       timeout=None):
        """Has a document read and kept by the workers; returns its Session once it is. Ask it with
        generate(question, session=NAME), stream or events."""
        session = sessions_pb2.Session(raw=raw, expires_after_seconds=expires_after_seconds)
        if method is not None:
            session.method.spelling = method
        return self._call("CreateSession", sessions_pb2.CreateSessionRequest(
            session=session, session_id=session_id, request_id=self._request_id(request_id), document=document), timeout)

    def append_to_session(self, name, text="", request_id=None, timeout=None):
        """Has more read behind it; all of it where it is lost."""
        return self._call("AppendToSession", sessions_pb2.AppendToSessionRequest(
            name=name, request_id=self._request_id(request_id), text=text), timeout)

    def session(self, name):
        return self._call("GetSession", sessions_pb2.GetSessionRequest(name=name))

    def sessions(self):
        """All of the tenant's, the newest first, page by page."""
        return self._pages("ListSessions", sessions_pb2.ListSessionsRequest(), "sessions")

    def delete_session(self, name, request_id=None):
        self._call("DeleteSession", sessions_pb2.DeleteSessionRequest(name=name, request_id=self._request_id(request_id)))

    def save_session(self, name, timeout=None):
        """The parts of a file of the session as they come (SavedPart): a header, then blocks. `longhaul session save` writes
        a file of them; restore_session takes them."""
        call = self._stub("SaveSession", "unary_stream")(
            sessions_pb2.SaveSessionRequest(name=name), timeout=self.timeout if timeout is None else timeout,
            metadata=self.metadata)
        try:
            yield from call
        except grpc.RpcError as failure:
            raise Error(failure) from None
        finally:
            call.cancel()

    def restore_session(self, parts, session_id="", expires_after_seconds=0, timeout=None):
        """A Session of such parts; none of its tokens is computed. It is not asked again by itself: parts come once."""
        def messages():
            first = True
            for part in parts:
                if first:
                    yield sessions_pb2.RestoreSessionRequest(session=sessions_pb2.RestoredSession(
                        session_id=session_id, expires_after_seconds=expires_after_seconds, header=part.header))
                else:
                    yield sessions_pb2.RestoreSessionRequest(block=part.block)
                first = False
        try:
            return self._stub("RestoreSession", "stream_unary")(
                messages(), timeout=self.timeout if timeout is None else timeout, metadata=self.metadata)
        except grpc.RpcError as failure:
            raise Error(failure) from None

    # ---- documents ----

    def upload_document(self, text, title="", document_id="", expires_after_seconds=0, request_id=None, timeout=None):
        """Stores a text once and returns its StoredDocument; the same text again is the same document."""
        data = text.encode() if isinstance(text, str) else bytes(text)
        head = dict(document_id=document_id, request_id=self._request_id(request_id), title=title,
                    expires_after_seconds=expires_after_seconds)
        stub, patience = self._stub("UploadDocument", "stream_unary"), self._patience(timeout)

        def messages():
            yield batches_pb2.UploadDocumentRequest(text=data[:UPLOAD_BYTES], **head)
            for _, piece in _pieces(data, UPLOAD_BYTES):
                yield batches_pb2.UploadDocumentRequest(text=piece)
        while True:
            try:
                return stub(messages(), timeout=patience.timeout(), metadata=self.metadata)
            except grpc.RpcError as failure:
                patience.wait(Error(failure))

    def document(self, name):
        return self._call("GetDocument", batches_pb2.GetDocumentRequest(name=name))

    def documents(self):
        """All of the tenant's, page by page."""
        return self._pages("ListDocuments", batches_pb2.ListDocumentsRequest(), "documents")

    def delete_document(self, name, request_id=None):
        self._call("DeleteDocument", batches_pb2.DeleteDocumentRequest(name=name, request_id=self._request_id(request_id)))

    def _pages(self, method, request, field):
        while True:
            page = self._call(method, request)
            yield from getattr(page, field)
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    # ---- batches ----

    def create_batch(self, lines, batch_id="", request_id=None, metadata=None, timeout=None, **fields):
        """Makes a batch and returns it once all of its lines are on disk. lines: objects of OpenAI's Batch
        ({"custom_id", "method", "url", "body"}), or JSON Lines as text or bytes. Fields are those of the message Batch."""
        data = _as_jsonl(lines)
        inline = len(data) <= INLINE_BYTES
        batch = batches_pb2.Batch(metadata=[batches_pb2.Label(key=key, value=value) for key, value in (metadata or {}).items()],
                                  **fields)
        made = self._call("CreateBatch", batches_pb2.CreateBatchRequest(
            batch=batch, batch_id=batch_id, request_id=self._request_id(request_id), lines=data if inline else b""), timeout)
        if not inline:
            self.upload_lines(made.name, data, timeout)
        return self.batch(made.name)

    def upload_lines(self, name, data, timeout=None):
        """Uploads the lines of a batch; after a broken connection from where it stands on."""
        stub, patience = self._stub("UploadLines", "stream_unary"), self._patience(timeout)
        committed = 0

        def messages():
            if committed == len(data):
                yield batches_pb2.UploadLinesRequest(name=name, offset=committed, last=True)
            for offset, piece in _pieces(data, committed):
                yield batches_pb2.UploadLinesRequest(name=name, offset=offset, lines=piece,
                                                     last=offset + len(piece) == len(data))
        while True:
            try:
                return stub(messages(), timeout=patience.timeout(), metadata=self.metadata)
            except grpc.RpcError as failure:
                patience.wait(Error(failure))
                batch = self.batch(name)
                if batch.committed_bytes > committed:
                    patience.renew()
                committed = batch.committed_bytes
                if batch.state != batches_pb2.BATCH_STATE_UPLOADING:
                    return batches_pb2.UploadLinesResponse(committed_bytes=committed)

    def batch(self, name):
        return self._call("GetBatch", batches_pb2.GetBatchRequest(name=name))

    def batches(self, state=batches_pb2.BATCH_STATE_UNSPECIFIED):
        """All of the tenant's, the newest first, page by page."""
        return self._pages("ListBatches", batches_pb2.ListBatchesRequest(state=state), "batches")

    def cancel_batch(self, name, request_id=None):
        return self._call("CancelBatch", batches_pb2.CancelBatchRequest(name=name, request_id=self._request_id(request_id)))

    def delete_batch(self, name, request_id=None):
        self._call("DeleteBatch", batches_pb2.DeleteBatchRequest(name=name, request_id=self._request_id(request_id)))

    def retry_batch(self, name, batch_id="", request_id=None):
        """A new batch of the lines that failed, were cancelled or expired."""
        return self._call("RetryBatch", batches_pb2.RetryBatchRequest(name=name, batch_id=batch_id,
                                                                      request_id=self._request_id(request_id)))

    def _follow(self, method, request, timeout, seen):
        """A stream that goes on where it broke: `seen` notes in the request what has come."""
        stub, patience = self._stub(method, "unary_stream"), self._patience(timeout)
        while True:
            call = stub(request, timeout=patience.timeout(), metadata=self.metadata)
            try:
                for message in call:
                    patience.renew()
                    seen(message)
                    yield message
                return
            except grpc.RpcError as failure:
                patience.wait(Error(failure))
            finally:
                call.cancel()

    def watch_batch(self, name, timeout=None):
        """The batch now and whenever it changes, until it has ended."""
        return self._follow("WatchBatch", batches_pb2.WatchBatchRequest(name=name), timeout, lambda batch: None)

    def wait_batch(self, name, timeout=None):
        """The batch as it ended."""
        batch = self.batch(name)
        while batch.state not in ENDED:
            for batch in self.watch_batch(name, timeout):
                pass
        return batch

    def results(self, name, cursor="", timeout=None):
        """Each line's result as an object of OpenAI's ({"id", "custom_id", "response", "error"}), once, as they come, until
        the batch has ended and all are told."""
        request = batches_pb2.StreamResultsRequest(name=name, cursor=cursor)

        def seen(message):
            if message.results:
                request.cursor = message.results[-1].cursor
        for message in self._follow("StreamResults", request, timeout, seen):
            for result in message.results:
                yield json.loads(result.json)

    def estimate(self, lines=None, name="", timeout=None):
        """What lines would take, or what a named batch takes: a BatchEstimate."""
        data = b"" if lines is None else _as_jsonl(lines)
        stub, patience = self._stub("EstimateBatch", "stream_unary"), self._patience(timeout)

        def messages():
            if not data:
                yield batches_pb2.EstimateBatchRequest(name=name)
            for _, piece in _pieces(data, 0):
                yield batches_pb2.EstimateBatchRequest(lines=piece)
        while True:
            try:
                return stub(messages(), timeout=patience.timeout(), metadata=self.metadata)
            except grpc.RpcError as failure:
                patience.wait(Error(failure))
