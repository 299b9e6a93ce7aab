/* Which tokens are special, and the chat template: what the files beside a tokenizer.json say. */
#pragma once

#include "proto/model/json_place.h"
#include "proto/model/tokenizer_pipeline.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

/* The id of a token's text; -1 where there is none. */
typedef int32_t tokenizer_special_find(const void *context, const char *text);

struct tokenizer_special_args {
    const struct tokenizer_pipeline *pipeline;
    const struct json_place *tokenizer_config; /* NULL where the file is absent, as below */
    const struct json_place *generation_config;
    const struct json_place *config;
    tokenizer_special_find *find;
    const void *context; /* of find */
};

/* Sets special, add_bos, add_eos and, unless it is there, chat_template, a view into
 * tokenizer_config. */
MUST_CHECK enum status tokenizer_special_read(struct vocab_parts *parts,
                                              const struct tokenizer_special_args *args);
