/* `longhaul run -i IN.jsonl -o OUT.jsonl`: every line of a file, by a coordinator and workers of
 * the command's own, or by one that runs already. */
#pragma once

#include <stdbool.h>

#include "coordinator/cli/server_option.h"
#include "proto/config.h"
#include "proto/status.h"

struct run_lines_options {
    const char *input, *output;
    const char *order; /* NULL: as results come */
    bool overwrite, json, quiet;
    const struct server_option
        *server;            /* a running coordinator with a store; NULL: one of its own */
    int64_t context_tokens; /* that the longest line needs; 0: the model's. For one of its own */
};

/* Where a run may keep its store: the environment's TMPDIR; NULL: /tmp. From main. */
void run_lines_configure(const char *temporary);

/* INVALID_ARGUMENT for options that do not go together. */
MUST_CHECK enum status run_lines_check(const struct run_lines_options *options);

/* The exit code. */
int run_lines(const char *program, const struct run_lines_options *options,
              const struct config *config);
