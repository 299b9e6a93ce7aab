/* `longhaul run -i IN.jsonl -o OUT.jsonl`: every line of a file, by a coordinator and workers of
 * the command's own. */
#pragma once

#include <stdbool.h>

#include "proto/config.h"
#include "proto/status.h"

struct run_lines_options {
    const char *input, *output;
    const char *order; /* NULL: as results come */
    bool overwrite, json, quiet;
};

/* Where a run may keep its store: the environment's TMPDIR; NULL: /tmp. From main. */
void run_lines_configure(const char *temporary);

/* INVALID_ARGUMENT for options that do not go together. */
MUST_CHECK enum status run_lines_check(const struct run_lines_options *options);

/* The exit code. */
int run_lines(const char *program, const struct run_lines_options *options,
              const struct config *config);
