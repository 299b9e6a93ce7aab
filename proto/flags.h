/* A command's options: one table makes both the help and the parsing, so that they cannot drift
 * apart.
 *
 * A command has its own options (rows with a target) and takes settings (rows of config.h whose
 * takers match), whose flags come from there, but for those that it has a row of its own for.
 * `--help` (-h), `--version` (-V) and, where it takes settings, `--config FILE` are added by
 * themselves; a program without arguments knows the word `version` too. For main-level code only:
 * it prints.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/config.h"

enum flags_type {
    FLAGS_SWITCH,
    FLAGS_TEXT,
    FLAGS_TEXTS,
    FLAGS_INTEGER,
    FLAGS_UNSIGNED,
    FLAGS_REAL
};

enum { FLAGS_TEXTS_MAX = 16 };

/* The values of an option that may be given several times, in their order. */
struct flags_texts {
    const char *texts[FLAGS_TEXTS_MAX];
    size_t count;
};

struct flags_row {
    const char *name; /* the long option without its dashes */
    char letter;      /* the short one; 0: none */
    enum flags_type type;
    /* A bool, const char *, struct flags_texts, int64_t, uint64_t or double; written only when the
     * option is given. */
    void *target;
    const char *value; /* the value's name in help; NULL for a switch */
    const char *help;  /* one line, no full stop */
    /* Of an INTEGER or a REAL, both ends included; an UNSIGNED is any of 64 bits. */
    double least, most;
    bool *given; /* set to true when the option is there; NULL: nobody asks */
};

struct flags_command {
    const char *program; /* "longhaul run" */
    /* The first thing that help shows: whole command lines, each ending in a newline. */
    const char *example;
    const char *summary;   /* what it does: sentences, each line ending in a newline */
    const char *arguments; /* of the usage line, "FILE"; NULL: takes no arguments beside options */
    int arguments_least, arguments_most;
    const struct flags_row *rows;
    size_t rows_count;
    unsigned takers;       /* of enum config_taker: which settings it takes; 0: none */
    struct config *config; /* where they go; not NULL when takers is not 0 */
};

enum { FLAGS_GO_ON = -1, FLAGS_EXIT_USAGE = 2, FLAGS_EXIT_CONFIG = 78 };

/* Returns FLAGS_GO_ON, or the exit code that the program should end with: 0 after --help or
 * --version (printed on standard output), FLAGS_EXIT_USAGE after a wrong command line and
 * FLAGS_EXIT_CONFIG after a wrong configuration file (told on standard error). argv[0] is skipped;
 * *first_argument is the index in argv, which is reordered, of the first argument that is no
 * option. */
int flags_parse(const struct flags_command *command, int argc, char **argv, int *first_argument);

/* Whether the command takes this setting, and has no row of its own by the same name. */
bool flags_takes_setting(const struct flags_command *command, const struct config_row *row);
