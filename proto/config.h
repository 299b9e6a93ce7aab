/* Every setting of every program, from one table: a row a setting (config_rows.c).
 *
 * A setting comes from a flag, else from the configuration file, else from its default, in this
 * order whatever the order of the calls. A file may hold every program's settings; unknown keys,
 * wrong types, values out of range and duplicate keys are errors, and all of them are kept, each as
 * "FILE:LINE:COLUMN: what is wrong". A file is at most 1 MiB, nests at most 32 deep, and has no
 * anchors, aliases or tags.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

/* Who takes a setting as a flag; a mask in the row. */
enum config_taker {
    CONFIG_COORDINATOR = 1, /* longhaul-coordinator */
    CONFIG_WORKER = 2,      /* longhaul-worker */
    CONFIG_RUN = 4,         /* longhaul run, score, plan: what they hand to a private coordinator */
    CONFIG_MODEL_ONLY = 8,  /* longhaul tokenize */
    CONFIG_REQUEST = 16,    /* longhaul generate: what goes with each request */
};

enum config_type {
    CONFIG_TEXT,    /* any string */
    CONFIG_INTEGER, /* decimal, within [least, most] */
    CONFIG_REAL,    /* finite, within [least, most]; seconds where the key says so */
    CONFIG_SWITCH,  /* true or false; as a flag it takes no value and means true */
    CONFIG_CHOICE,  /* one of `choices` */
};

enum config_origin { CONFIG_DEFAULT, CONFIG_FILE, CONFIG_FLAG };

struct config_row {
    const char *key;  /* "section.name", as in the file */
    const char *flag; /* the long option without its dashes; NULL: file only */
    enum config_type type;
    const char *value;    /* the value's name in help, "N"; NULL for a switch */
    const char *standard; /* the default as text; "" for none */
    double least, most;   /* CONFIG_INTEGER and CONFIG_REAL, both ends included */
    const char *choices;  /* CONFIG_CHOICE: "mpi|loopback" */
    unsigned takers;      /* of enum config_taker */
    const char *help;     /* one line, no full stop */
    /* Whether a text stands for another, and that one, which the caller frees; NULL: none does. */
    bool (*stands_for_another)(const char *text);
    enum status (*expand)(char **value, const char *text);
    /* Says by fail() what is wrong with a text; NULL: nothing more to check. */
    enum status (*check)(const char *text);
};

size_t config_rows_count(void);
const struct config_row *config_row_at(size_t i);

/* The values of all settings. One thread at a time. */
struct config;

/* All settings at their defaults. */
MUST_CHECK enum status config_create(struct config **config);
void config_destroy(struct config *config);

/* Reads a YAML file. NOT_FOUND when it cannot be opened; INVALID_ARGUMENT when anything is wrong in
 * it: the sentence is the first problem and how many there are, and config_problem has them all. */
MUST_CHECK enum status config_read_file(struct config *config, const char *path);
/* The same from memory, which by itself is for tests; `name` stands for the file in problems and
 * origins. */
MUST_CHECK enum status config_read_bytes(struct config *config, const char *name, const void *data,
                                         size_t bytes);

/* What the readers found wrong, in the file's order: "FILE:LINE:COLUMN: ...". */
size_t config_problems_count(const struct config *config);
const char *config_problem(const struct config *config, size_t i);

/* Sets row i from a flag's text ("true" for a switch). INVALID_ARGUMENT with the flag's name in the
 * sentence. */
MUST_CHECK enum status config_set_flag(struct config *config, size_t i, const char *text);

/* Puts what texts stand for in their place, in the rows that `takers` take, once all have been
 * read: table:file=FILE is opened here and by nobody who does not take it. Errors have the text's
 * origin in front. */
MUST_CHECK enum status config_expand(struct config *config, unsigned takers);

/* Whether the settings agree with each other, once all have been read: INVALID_ARGUMENT with those
 * that do not and where they come from. */
MUST_CHECK enum status config_check(const struct config *config);

/* Values by key; a key that is not in the table, or of another type, is a bug. Borrowed from the
 * config. */
const char *config_text(const struct config *config,
                        const char *key); /* of any type, as it was written */
int64_t config_integer(const struct config *config, const char *key);
double config_real(const struct config *config, const char *key);
bool config_switch(const struct config *config, const char *key);

/* Where the value came from; `where` (may be NULL) gets "default", "FILE:LINE" or "--flag". */
enum config_origin config_origin(const struct config *config, const char *key, const char **where);

/* The flags that hand this config's settings to a program that `taker` names: writes "--flag=value"
 * (of every row it takes whose value is not a default) to `arguments`, at most `room` of them, and
 * returns how many. The strings are the caller's to free(). */
size_t config_arguments(const struct config *config, enum config_taker taker, char **arguments,
                        size_t room);
