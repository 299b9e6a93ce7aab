/* How many tokens a text becomes, by a model file's own tokenizer. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

struct chat;
struct model;
struct tokenizer;

struct eval_counter {
    struct model *model;
    struct tokenizer *tokenizer;
    struct chat *chat; /* NULL: texts as they are, control tokens recognised */
};

/* `chat`: as a question in the chat form that `chat_template` names. The caller calls
 * eval_counter_close, also after a failure. */
MUST_CHECK enum status eval_counter_open(struct eval_counter *counter, const char *model_path,
                                         bool chat, const char *chat_template);
void eval_counter_close(struct eval_counter *counter);

/* As eval_fit_count: `counter` is a struct eval_counter. CANCELLED after an interrupt. */
MUST_CHECK enum status eval_counter_count(void *counter, int64_t *tokens, const char *text,
                                          size_t bytes);
