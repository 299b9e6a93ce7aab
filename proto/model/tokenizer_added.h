/* A token that a tokenizer adds to its model's: an object with content, special and flags. */
#pragma once

#include "proto/model/json_place.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

/* The token `id` of the vocabulary becomes what `entry` says. Its text is kept in parts->texts
 * where it had none. DATA_LOSS where it had another one. */
MUST_CHECK enum status tokenizer_added_read(struct vocab_parts *parts,
                                            const struct json_place *entry, int32_t id);

/* DATA_LOSS: another token has that text. */
MUST_CHECK enum status tokenizer_added_contradicts(const struct json_place *entry,
                                                   struct text_view text, int64_t id);
