"""The client against a coordinator with echo workers, whose answers follow from the prompts (tests/support/echo_oracle.py)."""
import os
import subprocess
import sys
import threading
import time

import echo_oracle as oracle
import grpc
import longhaul
import pytest
from conftest import INSTALLED, PYTHON
from longhaul.v1 import batches_pb2

DOCUMENTS = ["DOCUMENT %d 0123456789 " % number * 30 for number in range(5)]
LINES, TOKENS = 200, 6


def text_of(prompt, tokens):
    return oracle.answer_text(oracle.raw_ids(prompt), tokens)


def test_an_answer_whole_and_as_it_comes(client):
    answer = client.generate("HELLO THERE", raw=True, max_tokens=9)
    assert answer.text == text_of("HELLO THERE", 9)
    assert answer.token_ids == oracle.answer_ids(oracle.raw_ids("HELLO THERE"), 9)
    assert (answer.finish_reason, answer.usage.completion_tokens) == ("length", 9)
    assert "".join(client.stream("HELLO THERE", raw=True, max_tokens=9)) == answer.text
    assert client.tokenize("AB") == oracle.raw_ids("AB")


def test_a_refusal_says_what_is_wrong_and_is_not_repeated(client):
    with pytest.raises(longhaul.Error) as caught:
        client.generate("A", raw=True, max_tokens=-1)
    assert (caught.value.code, caught.value.fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["max_tokens"])
    with pytest.raises(longhaul.Error) as caught:
        client.generate("A", raw=True, max_tokens=100000)
    assert (caught.value.reason, caught.value.may_repeat) == ("CONTEXT_EXCEEDED", False)


def test_a_session_is_made_asked_listed_and_forgotten(client):
    session = client.create_session("A LONG DOCUMENT. ", session_id="report", raw=True, request_id="once")
    assert client.create_session("A LONG DOCUMENT. ", session_id="report", raw=True, request_id="once") == session
    whole = client.generate(document="A LONG DOCUMENT. ", text="WHO?", raw=True, max_tokens=9)
    assert client.generate("WHO?", session=session.name, max_tokens=9).text == whole.text
    assert client.append_to_session(session.name, "AND MORE. ").tokens > session.tokens
    assert [found.name for found in client.sessions()] == ["sessions/report"]
    assert client.session(session.name).questions == 1
    assert client.cluster().sessions.ready == 1
    client.delete_session(session.name)
    with pytest.raises(longhaul.Error) as caught:
        client.session(session.name)
    assert caught.value.code == grpc.StatusCode.NOT_FOUND
    with pytest.raises(longhaul.Error) as caught:
        list(client.save_session(session.name))
    assert caught.value.code == grpc.StatusCode.NOT_FOUND


def batch_lines(client):
    names = [client.upload_document(text, title="t%d" % number).name for number, text in enumerate(DOCUMENTS)]
    lines, expected = [], {}
    for number in range(LINES):
        question = "QUESTION %d" % number
        lines.append({"custom_id": "line-%d" % number, "method": "POST", "url": "/longhaul/v1/generate",
                      "body": {"document": names[number % 5], "question": question, "raw": True, "max_tokens": TOKENS}})
        expected["line-%d" % number] = text_of(DOCUMENTS[number % 5] + "\n\n" + question, TOKENS)
    return lines, expected


def answer_of(result):
    assert result["error"] is None and result["response"]["status_code"] == 200, result
    body = result["response"]["body"]
    return body["choices"][0]["text"] if "choices" in body else body["text"]


def check_results(results, expected):
    assert len(results) == len(expected)
    assert {result["custom_id"]: answer_of(result) for result in results} == expected


def test_a_batch_over_documents_is_answered_once_a_line(client):
    lines, expected = batch_lines(client)
    estimate = client.estimate(lines)
    assert estimate.lines == LINES and estimate.invalid_lines == 0
    batch = client.create_batch(lines, request_id="mine", metadata={"kind": "test"})
    assert client.create_batch(lines, request_id="mine", metadata={"kind": "test"}).name == batch.name
    check_results(list(client.results(batch.name)), expected)
    batch = client.wait_batch(batch.name)
    assert batch.state == batches_pb2.BATCH_STATE_SUCCEEDED
    assert batch.counts.completed == LINES and batch.metadata[0].value == "test"
    assert batch.usage.prompt_tokens == estimate.prompt_tokens
    assert batch.usage.cached_tokens + batch.usage.prefilled_tokens == batch.usage.prompt_tokens
    assert batch.usage.prefilled_tokens == estimate.unique_tokens
    assert [found.name for found in client.batches()] == [batch.name]
    assert len(list(client.documents())) == len(DOCUMENTS)
    client.delete_batch(batch.name)
    with pytest.raises(longhaul.Error) as caught:
        client.batch(batch.name)
    assert caught.value.code == grpc.StatusCode.NOT_FOUND


def test_results_go_on_where_a_coordinator_that_was_killed_comes_back(service, client):
    lines, expected = batch_lines(client)
    batch = client.create_batch(lines)
    results, killed = [], threading.Event()

    def kill():
        killed.wait(30)
        service.kill()
        time.sleep(0.3)
        service.start()
    killer = threading.Thread(target=kill)
    killer.start()
    for result in client.results(batch.name):
        results.append(result)
        if len(results) == 10:
            killed.set()
    killed.set()
    killer.join()
    check_results(results, expected)
    assert client.wait_batch(batch.name).counts.completed == LINES


def test_many_lines_are_uploaded_in_pieces(client):
    lines = [{"custom_id": "line-%d" % number, "method": "POST", "url": "/v1/completions",
              "body": {"model": "any", "prompt": "A", "max_tokens": 1, "user": "x" * 20000}} for number in range(80)]
    batch = client.create_batch(lines)
    assert batch.committed_bytes > longhaul.client.INLINE_BYTES
    assert len(list(client.results(batch.name))) == 80


@pytest.mark.parametrize("example", ["generate.py", "batch.py"])
def test_examples_run(service, tmp_path, example):
    document = tmp_path / "report.txt"
    document.write_text("THE REPORT 0123456789 " * 20)
    time.sleep(0.5)
    result = subprocess.run([sys.executable, os.path.join(PYTHON, "examples", example), service.address, str(document), "WHY",
                             *(["WHAT"] if example == "batch.py" else [])], env={**os.environ, "PYTHONPATH": INSTALLED},
                            capture_output=True, timeout=60, check=True)
    assert len(result.stdout) > 64
