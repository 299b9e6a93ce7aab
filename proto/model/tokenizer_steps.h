/* What a tokenizer.json does to a text before words are cut, and to the tokens that become one:
 * normalizer and decoder. */
#pragma once

#include "proto/model/json_place.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

struct tokenizer_steps {
    struct vocab_step steps[VOCAB_STEPS_MAX]; /* views into the JSON */
    int count;
    bool nfc;          /* NFC is all there is; `count` is 0 */
    bool is_pieces;    /* the decoder is SentencePiece's; else it is that of bytes */
    bool strips_space; /* it takes a space off a text's beginning */
    bool hides_spaces; /* a step has replaced every space */
};

/* `root` is the whole file. UNIMPLEMENTED names a step that is not known. */
MUST_CHECK enum status tokenizer_steps_read(struct tokenizer_steps *steps,
                                            const struct json_place *root);
