/* The files beside a tokenizer's own: special tokens and the chat template. */
#pragma once

#include "proto/model/tokenizer_files.h"
#include "proto/model/tokenizer_special.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

struct tokenizer_beside_args {
    const struct tokenizer_pipeline *pipeline;
    tokenizer_special_find *find;
    const void *context; /* of find */
};

/* As tokenizer_special_read; the template is kept in parts->texts, which has room for
 * tokenizer_config.json. */
MUST_CHECK enum status tokenizer_beside_read(struct vocab_parts *parts,
                                             const struct tokenizer_files *files,
                                             const struct tokenizer_beside_args *args);
