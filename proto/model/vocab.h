/* A tokenizer's data, as the model file holds it. What the parts mean is the tokenizer's business
 * (coordinator/tokenizer.c); here they are only checked: UTF-8, lengths that agree, ids inside the
 * vocabulary. Every pointer is a view into the model file.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/model/gguf.h"
#include "proto/status.h"

struct vocab;

enum vocab_type {
    VOCAB_NORMAL = 1,
    VOCAB_UNKNOWN = 2,
    VOCAB_CONTROL = 3,
    VOCAB_USER_DEFINED = 4,
    VOCAB_UNUSED = 5,
    VOCAB_BYTE = 6
};

/* `text` is as in the file: for model "gpt2" still in the byte-to-unicode alphabet. Not ended by 0;
 * may be empty. */
struct vocab_token {
    const char *text;
    size_t bytes;
    enum vocab_type type;
};

/* The two sides of "left right", cut at the first space after the first character. Neither side is
 * empty. */
struct vocab_merge {
    const char *left;
    size_t left_bytes;
    const char *right;
    size_t right_bytes;
};

/* Ids are -1 where the file has none. */
struct vocab_special {
    int32_t bos;
    int32_t eos;
    int32_t eot;
    int32_t eom;
    int32_t unknown;
    int32_t padding;
};

enum vocab_flag { VOCAB_FLAG_ABSENT = -1, VOCAB_FLAG_OFF = 0, VOCAB_FLAG_ON = 1 };

/* Reads and checks tokenizer.*, which the file must have. `gguf` must
 * outlive it. */
MUST_CHECK enum status vocab_create(struct vocab **vocab, const struct gguf *gguf);

/* Accepts NULL. */
void vocab_destroy(struct vocab *vocab);

/* tokenizer.ggml.model: "gpt2", "llama", ... */
struct text_view vocab_kind(const struct vocab *vocab);

/* tokenizer.ggml.pre: "smollm", "llama-bpe", ...; empty where absent. */
struct text_view vocab_pre(const struct vocab *vocab);

int32_t vocab_count(const struct vocab *vocab);

/* 0 <= id < vocab_count. */
struct vocab_token vocab_token(const struct vocab *vocab, int32_t id);

int32_t vocab_merge_count(const struct vocab *vocab);

/* 0 <= rank < vocab_merge_count; a lower rank merges first. */
struct vocab_merge vocab_merge(const struct vocab *vocab, int32_t rank);

struct vocab_special vocab_special(const struct vocab *vocab);

enum vocab_flag vocab_add_bos(const struct vocab *vocab);

enum vocab_flag vocab_add_eos(const struct vocab *vocab);

enum vocab_flag vocab_add_space_prefix(const struct vocab *vocab);

/* tokenizer.chat_template, Jinja text; empty where absent. */
struct text_view vocab_chat_template(const struct vocab *vocab);
