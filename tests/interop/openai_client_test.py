"""The stock `openai` client of PyPI against the HTTP port: models, completions, chats, streams and errors."""
import unittest

from cluster_under_test import wait_until
from openai_under_test import MODEL, OpenaiTest, openai

import echo_oracle as oracle


class Inference(OpenaiTest):
    def test_models(self):
        self.assertEqual([model.id for model in self.client.models.list()], [MODEL])
        self.assertEqual(self.client.models.retrieve(MODEL).object, "model")

    def test_a_completion(self):
        answer = self.client.completions.create(model=MODEL, prompt="HELLO", max_tokens=7, temperature=0, seed=3)
        self.assertEqual(answer.choices[0].text, oracle.answer_text(oracle.raw_ids("HELLO"), 7))
        self.assertEqual(answer.choices[0].finish_reason, "length")
        self.assertEqual(answer.usage.completion_tokens, 7)
        self.assertEqual(answer.usage.total_tokens, 12)
        self.assertTrue(answer._request_id)

    def test_a_chat(self):
        messages = [{"role": "developer", "content": "BE BRIEF"},
                    {"role": "user", "content": [{"type": "text", "text": "HELLO"}]}]
        answer = self.client.chat.completions.create(
            model=MODEL, messages=messages, max_completion_tokens=6, n=1, tools=[], presence_penalty=0, logprobs=True,
            top_logprobs=2, extra_body={"repetition_penalty": 1.1})
        message = answer.choices[0].message
        self.assertEqual((message.role, len(message.content)), ("assistant", 6))
        self.assertEqual("".join(token.token for token in answer.choices[0].logprobs.content), message.content)
        self.assertEqual(answer.usage.prompt_tokens_details.cached_tokens, 0)
        # What the client got goes back as it is.
        again = self.client.chat.completions.create(
            model=MODEL, max_tokens=2, messages=[*messages, message.model_dump(), {"role": "user", "content": "MORE"}])
        self.assertEqual(len(again.choices[0].message.content), 2)

    def test_streams(self):
        with self.client.completions.create(model=MODEL, prompt="HELLO", max_tokens=7, stream=True) as stream:
            said = "".join(chunk.choices[0].text for chunk in stream)
        self.assertEqual(said, oracle.answer_text(oracle.raw_ids("HELLO"), 7))
        chunks = list(self.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": "HELLO"}], max_tokens=7, stream=True,
            stream_options={"include_usage": True}))
        said = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        self.assertEqual(len(said), 7)
        self.assertEqual(chunks[-1].usage.completion_tokens, 7)

    def test_a_stream_that_is_left_early_ends_its_request(self):
        stream = self.client.completions.create(model=MODEL, prompt="HELLO", max_tokens=1900, stream=True)
        next(iter(stream))
        stream.close()
        wait_until(lambda: not self.cluster().requests, 5, "it has ended")

    def test_errors_are_the_clients_own_kinds(self):
        chat = {"model": MODEL, "messages": [{"role": "user", "content": "A"}]}
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.chat.completions.create(**chat, response_format={"type": "json_object"})
        self.assertEqual(caught.exception.param, "response_format")
        with self.assertRaises(openai.BadRequestError) as caught:
            self.client.completions.create(model=MODEL, prompt="A" * 3000)
        self.assertEqual(caught.exception.code, "context_length_exceeded")
        with self.assertRaises(openai.NotFoundError):
            self.client.models.retrieve("another")
        with self.assertRaises(openai.NotFoundError):
            self.client.embeddings.create(model=MODEL, input="A")


if __name__ == "__main__":
    unittest.main(argv=["openai_client_test"])
