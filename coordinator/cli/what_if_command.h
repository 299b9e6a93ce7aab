/* longhaul plan --what-if: its files, what the command line says in their place, and the report. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/config.h"
#include "proto/status.h"

struct what_if_options {
    const char *cluster, *shape; /* files */
    const char *folder;          /* for charts; NULL: none */
    int64_t prompt_tokens;       /* in place of the file's; 0: the file's */
    int64_t worker_tokens;       /* prompts grow with the workers; 0: they do not */
    bool json;
    const struct config *config; /* its model, and workers and method that were given */
    int argc;
    char *const *argv;
};

MUST_CHECK enum status what_if_command(const struct what_if_options *options);
