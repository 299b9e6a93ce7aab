/* Files of facts that somebody wrote down, such as a cluster's or a model's: YAML of sections and
 * single values (config_yaml.h), read by a table. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

enum fact_type {
    FACT_REAL,     /* a double, finite, within [least, most] */
    FACT_INTEGER,  /* an int64_t within [least, most]; k and M behind it are 1024 and 1024 * 1024 */
    FACT_INTEGERS, /* a struct fact_integers, apart by blanks or commas */
    FACT_TEXT,     /* a char[FACT_TEXT_BYTES] */
};

enum { FACT_TEXT_BYTES = 256, FACT_INTEGERS_MAX = 16 };

struct fact_integers {
    int64_t list[FACT_INTEGERS_MAX];
    int count;
};

struct fact_row {
    const char *key; /* "section.name" */
    enum fact_type type;
    void *target;
    double least, most;
    bool optional; /* the target keeps what it has */
};

/* INVALID_ARGUMENT, with file, line and what is wrong, for unknown and missing keys, values of no
 * use, and what is no such file. */
MUST_CHECK enum status fact_file_read(const char *path, const struct fact_row *rows, size_t count);
