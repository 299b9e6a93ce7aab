"""When a call is repeated, and with what: against a server of grpc's own that fails as it is told."""
from concurrent import futures

import grpc
import longhaul
import pytest
from longhaul import status_details_pb2
from longhaul.v1 import batches_pb2, inference_pb2


class Failing:
    """Fails the first calls in the ways that are listed, a status and RetryInfo's seconds each; notes all requests."""

    def __init__(self):
        self.failures, self.requests = [], []

    def fail(self, context):
        code, seconds = self.failures.pop(0)
        if seconds is not None:
            info = status_details_pb2.RetryInfo(retry_delay=status_details_pb2.Duration(nanos=int(seconds * 1e9)))
            status = status_details_pb2.Status(code=code.value[0], details=[status_details_pb2.Detail(
                type_url="type.googleapis.com/google.rpc.RetryInfo", value=info.SerializeToString())])
            context.set_trailing_metadata([("grpc-status-details-bin", status.SerializeToString())])
        context.abort(code, "as told")

    def create(self, request, context):
        self.requests.append(request)
        if self.failures:
            self.fail(context)
        return batches_pb2.Batch(name="batches/x", state=batches_pb2.BATCH_STATE_SUCCEEDED)

    def generate(self, request, context):
        self.requests.append(request)
        tells = request.prompt.text == "tell first"
        if tells:
            yield inference_pb2.GenerateResponse(tokens=inference_pb2.Tokens(text="a"))
        if self.failures:
            self.fail(context)
        if not tells:
            yield inference_pb2.GenerateResponse(tokens=inference_pb2.Tokens(text="a"))
        yield inference_pb2.GenerateResponse(finished=inference_pb2.Finished(finish_reason=inference_pb2.FINISH_REASON_STOP))

    def results(self, request, context):
        self.requests.append(request)
        for number in range(int(request.cursor or 0) + 1, 7):
            if number % 2 and number > 1 and self.failures:
                self.fail(context)
            yield batches_pb2.StreamResultsResponse(results=[batches_pb2.Result(json="%d" % number, cursor="%d" % number)])


@pytest.fixture
def server():
    failing = Failing()
    made = grpc.server(futures.ThreadPoolExecutor(4))

    def handlers(service, methods):
        table = {}
        for name, (request, make, function) in methods.items():
            table[name] = make(function, request_deserializer=request.FromString,
                               response_serializer=lambda message: message.SerializeToString())
        made.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service, table)])
    unary, stream = grpc.unary_unary_rpc_method_handler, grpc.unary_stream_rpc_method_handler
    handlers("longhaul.v1.Batches", {
        "CreateBatch": (batches_pb2.CreateBatchRequest, unary, failing.create),
        "GetBatch": (batches_pb2.GetBatchRequest, unary, lambda request, context: batches_pb2.Batch(name=request.name)),
        "StreamResults": (batches_pb2.StreamResultsRequest, stream, failing.results)})
    handlers("longhaul.v1.Inference", {"Generate": (inference_pb2.GenerateRequest, stream, failing.generate)})
    failing.address = "127.0.0.1:%d" % made.add_insecure_port("127.0.0.1:0")
    made.start()
    yield failing
    made.stop(None).wait()


@pytest.fixture
def client(server):
    with longhaul.Client(server.address, retries=3, timeout=20) as made:
        yield made


UNAVAILABLE, EXHAUSTED = grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED


def test_a_change_is_repeated_with_the_same_request_id(server, client):
    server.failures = [(UNAVAILABLE, 0.01), (EXHAUSTED, 0.01)]
    assert client.create_batch([]).name == "batches/x"
    ids = {request.request_id for request in server.requests}
    assert len(server.requests) == 3 and len(ids) == 1 and "" not in ids


@pytest.mark.parametrize("code,seconds", [(EXHAUSTED, None), (grpc.StatusCode.INTERNAL, 0.01),
                                          (grpc.StatusCode.ABORTED, None), (grpc.StatusCode.INVALID_ARGUMENT, None)])
def test_what_may_have_done_something_is_not_repeated(server, client, code, seconds):
    server.failures = [(code, seconds)]
    with pytest.raises(longhaul.Error) as caught:
        client.create_batch([])
    assert caught.value.code == code and len(server.requests) == 1


def test_patience_ends(server, client):
    server.failures = [(UNAVAILABLE, 0.01)] * 9
    with pytest.raises(longhaul.Error):
        client.create_batch([])
    assert len(server.requests) == 4
    server.failures, server.requests = [(UNAVAILABLE, 60)], []
    with pytest.raises(longhaul.Error):
        client.create_batch([], timeout=1)
    assert len(server.requests) == 1, "the service asks for more time than there is"


def test_a_stream_is_repeated_until_text_has_come(server, client):
    server.failures = [(UNAVAILABLE, 0.01)]
    assert list(client.stream("ask")) == ["a"]
    server.failures, server.requests = [(UNAVAILABLE, 0.01)], []
    with pytest.raises(longhaul.Error):
        list(client.stream("tell first"))
    assert len(server.requests) == 1
    server.failures, server.requests = [(UNAVAILABLE, 0.01)], []
    assert client.generate("tell first").text == "a", "nobody saw the first one"
    assert len(server.requests) == 2


def test_results_come_once_however_often_the_stream_breaks(server, client):
    server.failures = [(UNAVAILABLE, 0.01), (UNAVAILABLE, None)]
    assert list(client.results("batches/x")) == [1, 2, 3, 4, 5, 6]
    assert [request.cursor for request in server.requests] == ["", "2", "2"]
