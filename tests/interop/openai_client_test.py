"""The stock `openai` client of PyPI against the HTTP port: models, completions, chats, streams and errors."""
import unittest

import concurrent.futures

from cluster_under_test import pb, wait_until
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


END = 2  # the id of the token that ends an answer


class Choices(OpenaiTest):
    """How real workers choose tokens, and where they end."""
    def flags(self):
        return "--launch", "--transport=loopback", "--threads=1", "--kernels=reference", "--group-requests=8"

    def echo_flags(self):
        return None

    def setUp(self):
        super().setUp()
        wait_until(lambda: any(group.state == pb.GROUP_STATE_READY for group in self.cluster().groups), 60, "it loads")

    def chat(self, text="HELLO", max_tokens=40, **more):
        return self.client.chat.completions.create(
            model=MODEL, messages=[{"role": "user", "content": text}], max_tokens=max_tokens,
            **{"temperature": 0, "logprobs": True, "top_logprobs": 20, **more})

    def tokens(self, **more):
        return self.chat(**more).choices[0].logprobs.content

    def test_penalties_are_taken_off_as_openai_says(self):
        """Of the likeliest, as they are told without penalties, the one that is chosen is the first with them."""
        for presence, frequency in ((0, 0), (2, 0), (0, 0.5), (1, 1), (-1, 0), (0, -0.25)):
            counts = {}
            for token in self.tokens(presence_penalty=presence, frequency_penalty=frequency):
                adjusted = {one.token: one.logprob - frequency * counts.get(one.token, 0) - presence * (one.token in counts)
                            for one in (*token.top_logprobs, token)}
                self.assertGreaterEqual(adjusted[token.token], max(adjusted.values()) - 1e-4, (presence, frequency))
                counts[token.token] = counts.get(token.token, 0) + 1
        plain, penalised = ({token.token for token in self.tokens(presence_penalty=penalty)} for penalty in (0, 2))
        self.assertGreater(len(penalised), len(plain))

    def test_a_bias_makes_a_token_come_or_stay_away(self):
        always = self.chat(logit_bias={"40": 100}, max_tokens=5)
        self.assertEqual(len({token.token for token in always.choices[0].logprobs.content}), 1)
        first = self.tokens(max_tokens=1)[0]
        away = {str(3 + byte): -100 for byte in first.bytes}  # byte b is token 3 + b
        self.assertNotEqual(self.tokens(max_tokens=1, logit_bias=away)[0].token, first.token)
        for bias, says in (({"1000000": 1}, "the vocabulary has"), ({"4": 100.5}, "at most 100"), ({"x": 1}, "no token")):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.chat(logit_bias=bias)
            self.assertEqual(caught.exception.param, "logit_bias")
            self.assertIn(says, str(caught.exception))

    def test_an_end_is_held_back_or_ignored(self):
        ends = {"logit_bias": {str(END): 100}, "max_tokens": 12}
        for body, completion, reason in (({}, 1, "stop"), ({"min_tokens": 5}, 6, "stop"), ({"min_tokens": 12}, 12, "length"),
                                         ({"ignore_eos": True}, 12, "length")):
            answer = self.chat(**ends, extra_body=body)
            self.assertEqual((answer.usage.completion_tokens, answer.choices[0].finish_reason), (completion, reason), body)
        for tokens, says in ((-1, "at least 0"), (13, "at most max_tokens")):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.chat(**ends, extra_body={"min_tokens": tokens})
            self.assertEqual(caught.exception.param, "min_tokens")
            self.assertIn(says, str(caught.exception))

    def test_a_seed_draws_the_same_in_any_company(self):
        asked = [dict(text="HELLO %d" % (n % 3), temperature=1.5, seed=n % 2, presence_penalty=0.3 * (n % 3),
                      logit_bias={"50": n % 5}, max_tokens=30 + n, extra_body={"draft": ("none", "lookup")[n % 2]})
                 for n in range(8)]
        alone = [self.chat(**one).choices[0].message.content for one in asked]
        with concurrent.futures.ThreadPoolExecutor(len(asked)) as pool:
            together = [answer.choices[0].message.content for answer in pool.map(lambda one: self.chat(**one), asked)]
        self.assertEqual(together, alone)
        self.assertGreater(len(set(alone)), 4)

    def test_drafts_change_no_token_and_are_counted(self):
        """An answer that repeats itself is guessed well."""
        asked = {"logit_bias": {"40": 20, "41": 19}, "frequency_penalty": 0.5, "max_tokens": 300}
        answers = [self.chat(**asked, extra_body={"draft": draft}) for draft in ("none", "lookup")]
        self.assertEqual(*(answer.choices[0].message.content for answer in answers))
        none, lookup = (answer.usage.completion_tokens_details for answer in answers)
        self.assertEqual((none.accepted_prediction_tokens, none.rejected_prediction_tokens), (0, 0))
        self.assertGreater(lookup.accepted_prediction_tokens, 0)
        counted = self.get("/metrics")[2]
        drafted = lookup.accepted_prediction_tokens + lookup.rejected_prediction_tokens
        self.assertIn("longhaul_drafted_tokens_total %d\n" % drafted, counted)
        self.assertIn("longhaul_accepted_tokens_total %d\n" % lookup.accepted_prediction_tokens, counted)


if __name__ == "__main__":
    unittest.main(argv=["openai_client_test"])
