/* Raw prompts of exactly so many tokens, of words drawn by a seed: what is measured with them can
 * be measured again. The coordinator's own tokenizer counts. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

struct rpc_client;

enum { SIZED_PROMPT_WORDS = 48, SIZED_PROMPT_FILL_BYTES = 8 };

/* How many tokens each of the words has in this model. */
struct sized_prompt_words {
    struct rpc_client *client; /* borrowed */
    int64_t tokens[SIZED_PROMPT_WORDS];
    int64_t begin_tokens;               /* before the first word: 0 or 1 */
    char fill[SIZED_PROMPT_FILL_BYTES]; /* one token more, wherever it is put */
};

/* Asks the coordinator. UNIMPLEMENTED where no text adds a single token. */
MUST_CHECK enum status sized_prompt_learn(struct sized_prompt_words *words,
                                          struct rpc_client *client);

/* The shortest that there is: tokens. */
int64_t sized_prompt_least(const struct sized_prompt_words *words);

struct sized_prompt_args {
    int64_t tokens;        /* of the whole, at least sized_prompt_least */
    int64_t shared_tokens; /* of its beginning, which follows from `shared_seed` alone; at most
                              tokens */
    uint64_t shared_seed;
    uint64_t seed; /* of the rest */
};

/* The caller frees the text. UNIMPLEMENTED where the tokenizer joins words, so that their counts do
 * not add up. */
MUST_CHECK enum status sized_prompt_make(char **text, const struct sized_prompt_words *words,
                                         const struct sized_prompt_args *args);
