/* The keys of a training run's file: one table makes reading, refusals and the list of keys. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/train/train_config.h"

enum train_key_type {
    TRAIN_KEY_TEXT,    /* char[most + 1] */
    TRAIN_KEY_REAL,    /* double */
    TRAIN_KEY_INTEGER, /* int64_t; k and M behind it are 1024 and 1024 * 1024 */
    TRAIN_KEY_SWITCH,  /* bool: true, false */
    TRAIN_KEY_WORD,    /* an enum whose values are the places of the words */
    TRAIN_KEY_ROPE,    /* model.rope_base: keep, auto or a number */
};

struct train_key {
    const char *key; /* "section.name" */
    enum train_key_type type;
    size_t offset;            /* in struct train_config */
    double least, most;       /* of numbers; of texts, `most` bytes */
    const char *initial;      /* as it would be written */
    const char *const *words; /* of TRAIN_KEY_WORD, ends in NULL */
    const char *help;         /* one line, no full stop */
};

extern const struct train_key train_config_rows[];
extern const size_t train_config_rows_count;
