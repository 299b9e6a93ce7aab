/* The steps around the merges in a tokenizer.json: normalizer, pre_tokenizer, post_processor,
 * decoder. */
#pragma once

#include "proto/model/json_place.h"
#include "proto/model/tokenizer_steps.h"
#include "proto/status.h"

struct tokenizer_pipeline {
    struct tokenizer_steps steps;
    const char *pre; /* "smollm", "gpt-2", ...: as GGUF names it; NULL over characters */
    enum vocab_metaspace metaspace; /* these two over characters */
    bool metaspace_splits;
    bool adds_bos;  /* the post-processor puts a token before the text: bos_id */
    bool adds_eos;  /* and one after it */
    int64_t bos_id; /* -1 unless adds_bos */
};

/* `root` is the whole file. UNIMPLEMENTED names a step that is not known. */
MUST_CHECK enum status tokenizer_pipeline_read(struct tokenizer_pipeline *pipeline,
                                               const struct json_place *root);

/* The regular expression of a Split step, from 0, that stands for a pre-tokenizer, by its GGUF
 * name; NULL where there is no such step. */
const char *tokenizer_pipeline_pattern(struct text_view pre, int split);

/* Whether GGUF files with this pre-tokenizer mean that a word that is a token needs no merges. */
bool tokenizer_pipeline_ignores_merges(struct text_view pre);
