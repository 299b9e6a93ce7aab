/* A tokenizer's data, as the model holds it. What the parts mean is the tokenizer's business
 * (coordinator/text/tokenizer.c); here they are only checked: UTF-8, lengths that agree, ids inside
 * the vocabulary. Every pointer is a view that lives as long as the vocabulary and the model's
 * files.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/model/text_view.h"
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

/* How a token that is matched whole is looked for, as the flags of `tokenizers` say it. */
enum vocab_match {
    VOCAB_LSTRIP = 1,      /* white space before it belongs to it */
    VOCAB_RSTRIP = 2,      /* and white space behind it */
    VOCAB_SINGLE_WORD = 4, /* only where no letter, digit or underscore adjoins */
    VOCAB_IN_STEPPED = 8,  /* in what the steps made of the text; else in the text itself */
    VOCAB_STEPPED = 16,    /* the steps are applied to the token's text as well */
};

/* `text` is as in the file: for kind "gpt2" still in the byte-to-unicode alphabet. Not ended by 0;
 * may be empty. */
struct vocab_token {
    const char *text;
    size_t bytes;
    enum vocab_type type;
    unsigned match; /* of enum vocab_match */
};

/* What happens to a text before it is cut into words. */
enum vocab_step_kind {
    VOCAB_STEP_NFC,
    VOCAB_STEP_NFKC,
    VOCAB_STEP_LOWERCASE,
    VOCAB_STEP_PREPEND, /* `to` goes before a text that is not empty */
    VOCAB_STEP_REPLACE, /* every `from` becomes `to` */
};

struct vocab_step {
    enum vocab_step_kind kind;
    struct text_view from;
    struct text_view to;
};

enum { VOCAB_STEPS_MAX = 16, VOCAB_STEP_BYTES_MAX = 64 };

/* Of spaces, once the tokens that are matched whole are out: they become U+2581, and one goes
 * before a text that does not begin with one: never, before the first alone, or before each between
 * tokens that are matched whole. */
enum vocab_metaspace {
    VOCAB_METASPACE_ABSENT,
    VOCAB_METASPACE_NEVER,
    VOCAB_METASPACE_FIRST,
    VOCAB_METASPACE_ALWAYS,
};

/* The two sides of a merge. Neither is empty. */
struct vocab_merge {
    const char *left;
    size_t left_bytes;
    const char *right;
    size_t right_bytes;
};

enum { VOCAB_ENDS_MAX = 16 };

/* Ids are -1 where the model has none. */
struct vocab_special {
    int32_t bos;
    int32_t eos;
    int32_t eot;
    int32_t eom;
    int32_t unknown;
    int32_t padding;
    int32_t ends[VOCAB_ENDS_MAX]; /* end an answer: eos, eot and eom among them, each once */
    int end_count;
};

enum vocab_flag { VOCAB_FLAG_ABSENT = -1, VOCAB_FLAG_OFF = 0, VOCAB_FLAG_ON = 1 };

/* What a vocabulary is made of, by those who read it from a file. */
struct vocab_parts {
    struct text_view kind;
    struct text_view pre;
    struct text_view chat_template;
    struct vocab_token *tokens; /* [count] */
    int32_t count;
    struct vocab_merge *merges; /* [merge_count] */
    int32_t merge_count;
    /* Memory that views of this vocabulary point into; NULL where they point elsewhere. */
    char *texts;
    size_t texts_used;
    struct vocab_special special; /* ends by vocab_parts_add_end */
    enum vocab_flag add_bos;
    enum vocab_flag add_eos;
    enum vocab_flag add_space_prefix;
    enum vocab_flag nfc; /* texts are brought into normal form C first, and nothing else */
    enum vocab_flag ignore_merges;
    float *scores; /* [count], or NULL: without merges, of two tokens the larger score is made */
    struct vocab_step steps[VOCAB_STEPS_MAX];
    int step_count;
    enum vocab_metaspace metaspace;
    bool metaspace_splits; /* each U+2581 begins a word */
    bool strips_space;     /* a text that is made of ids loses one space at its beginning */
};

/* Nothing but absent flags and ids. */
void vocab_parts_init(struct vocab_parts *parts);

void vocab_parts_deinit(struct vocab_parts *parts);

/* A copy in `texts`, which has room: whoever allocated it saw to that. */
const char *vocab_parts_keep(struct vocab_parts *parts, struct text_view text);

/* Adds to special.ends, unless the id is -1 or there; false where there is no room left. */
bool vocab_parts_add_end(struct vocab_parts *parts, int32_t id);

/* SentencePiece's steps: a space before a text, with `prefix`, and spaces as U+2581. There is
 * room for them in steps that are empty. */
void vocab_parts_spaces(struct vocab_parts *parts, bool prefix);

/* Takes what `parts` points to, and leaves nothing there. */
MUST_CHECK enum status vocab_create(struct vocab **vocab, struct vocab_parts *parts);

/* Accepts NULL. */
void vocab_destroy(struct vocab *vocab);

/* "gpt2", "llama", ...: as tokenizer.ggml.model says it. */
struct text_view vocab_kind(const struct vocab *vocab);

/* "smollm", "llama-bpe", ...: as tokenizer.ggml.pre says it; empty where absent. */
struct text_view vocab_pre(const struct vocab *vocab);

int32_t vocab_count(const struct vocab *vocab);

/* 0 <= id < vocab_count. */
struct vocab_token vocab_token(const struct vocab *vocab, int32_t id);

int32_t vocab_merge_count(const struct vocab *vocab);

/* 0 <= priority < vocab_merge_count; 0 merges first. */
struct vocab_merge vocab_merge(const struct vocab *vocab, int32_t priority);

struct vocab_special vocab_special(const struct vocab *vocab);

enum vocab_flag vocab_add_bos(const struct vocab *vocab);

/* For tests: a prompt is never ended for the model. */
enum vocab_flag vocab_add_eos(const struct vocab *vocab);

enum vocab_flag vocab_add_space_prefix(const struct vocab *vocab);

enum vocab_flag vocab_nfc(const struct vocab *vocab);

/* Whether a word that is a token needs no merges. */
enum vocab_flag vocab_ignore_merges(const struct vocab *vocab);

/* [vocab_count]; NULL where there are none. */
const float *vocab_scores(const struct vocab *vocab);

/* [*count], in sequence. */
const struct vocab_step *vocab_steps(const struct vocab *vocab, int *count);

enum vocab_metaspace vocab_metaspace(const struct vocab *vocab);

bool vocab_metaspace_splits(const struct vocab *vocab);

bool vocab_strips_space(const struct vocab *vocab);

/* Jinja text; empty where absent. */
struct text_view vocab_chat_template(const struct vocab *vocab);
