/* What prompts are filled with: sentences of a text, or RULER's line of noise, and words. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/status.h"

/* A sentence without the white space around it; lines within it are joined by spaces. */
struct eval_sentence {
    const char *text;
    size_t bytes;
};

/* {0} is noise, and the words that are built in. */
struct eval_material {
    struct eval_sentence *sentences; /* [sentence_count]; none: noise */
    size_t sentence_count;
    char *text; /* owned; the sentences point into it */
    const char *const *words;
    size_t word_count;
    char **own_words; /* owned; the words where a file was given */
    char *word_text;  /* owned; they point into it */
};

/* The line of noise, without an end. */
extern const char eval_material_noise[];

/* Takes `text`, UTF-8 that ends in 0. A sentence ends behind . ! or ? before white
 * space, and at an empty line. INVALID_ARGUMENT, with `path`, where there is none. */
MUST_CHECK enum status eval_material_take_text(struct eval_material *material, char *text,
                                               const char *path);

/* Takes `text`, a word a line. What is no 3 to 16 small letters is passed over, and a word that
 * comes twice. INVALID_ARGUMENT, with `path`, where there are too few. */
MUST_CHECK enum status eval_material_take_words(struct eval_material *material, char *text,
                                                const char *path);

void eval_material_deinit(struct eval_material *material);

/* Sentence `number` of those that begin at `first`, around the end; of noise the line. */
struct eval_sentence eval_material_sentence(const struct eval_material *material, size_t first,
                                            size_t number);
