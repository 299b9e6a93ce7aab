/* Log-probabilities as OpenAI's clients read them: one form for completions, another for chats. */
#pragma once

#include <stdint.h>

#include "coordinator/openai/openai_request.h"
#include "coordinator/text/tokenizer.h"
#include "proto/json_writer.h"

/* One token of an answer and the likeliest that it was chosen from. */
struct openai_token {
    int32_t id;
    float logprob;
    int32_t *likeliest; /* [likeliest_count] ids, the likeliest first */
    float *likeliest_logprobs;
    size_t likeliest_count;
};

/* Where the next token begins in the answer's text, in characters; a stream carries it on. */
struct openai_offset {
    int64_t characters;
};

/* The member "logprobs" for these tokens. A token that is no text of its own is written
 * "bytes:\xe2\x80". */
void openai_logprobs_write(struct json_writer *writer, enum openai_form form,
                           const struct tokenizer *tokenizer, const struct openai_token *tokens,
                           size_t count, struct openai_offset *offset);
