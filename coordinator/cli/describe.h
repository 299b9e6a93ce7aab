/* A model in human form (`longhaul inspect`). */
#pragma once

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/model/model.h"
#include "proto/model/vocab_file.h"
#include "proto/status.h"

enum { DESCRIBE_TYPES_MAX = 64 };

/* A readable model and what there is to say about it. It is supported where it can be run: its
 * facts, its tensors and its tokenizer. `refusal` is empty then, and else the sentence that a run
 * would fail with. */
struct describe {
    struct checkpoint *checkpoint;
    struct model *model;           /* NULL where its facts or tensors are not supported */
    struct vocab_file *vocab_file; /* where there is no model, but a vocabulary */
    char refusal[1024];
    char chat_form[32];      /* where the template is from; empty where none works */
    char chat_refusal[1024]; /* then why; a run needs --chat-template or --raw */
    struct describe_type {
        const char *name;
        bool supported;
        int64_t tensors;
        int64_t parameters;
        uint64_t bytes;
    } types[DESCRIBE_TYPES_MAX]; /* in the order of their first tensors */
    int type_count;
    int64_t parameters;
    uint64_t tensor_bytes;
};

/* Fails only where the format cannot be read. */
MUST_CHECK enum status describe_open(struct describe *describe, const char *path);

void describe_close(struct describe *describe);

/* NULL where there is none that can be read. */
const struct vocab *describe_vocab(const struct describe *describe);

/* Describes any readable model, with what is not supported about it named in its last line. */
MUST_CHECK enum status describe_text(FILE *out, const char *path);

/* What the model's files say of themselves, by key: a GGUF file's pairs, or a directory's
 * config.json. json_decref ends it. In describe_json.c. */
json_t *describe_keys(const struct checkpoint *checkpoint);

/* One JSON object, ended by a newline: schema_version, the same facts, every tensor, "supported"
 * and, where that is false, "refusal" (a sentence). In describe_json.c. */
MUST_CHECK enum status describe_json(FILE *out, const char *path);
