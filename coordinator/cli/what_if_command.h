/* longhaul plan --what-if: its files, what the command line says in their place, and the report. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/config.h"
#include "proto/flags.h"
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

/* Rows of a command's options. */
#define WHAT_IF_ROWS(options)                                                                      \
    {.name = "what-if",                                                                            \
     .type = FLAGS_TEXT,                                                                           \
     .target = &(options)->cluster,                                                                \
     .value = "CLUSTER.yaml",                                                                      \
     .help = "simulate machines that are not there (deploy/clusters)"},                            \
        {.name = "shape",                                                                          \
         .type = FLAGS_TEXT,                                                                       \
         .target = &(options)->shape,                                                              \
         .value = "FILE",                                                                          \
         .help = "with --what-if: a model's shape, in place of --model"},                          \
        {.name = "tokens-per-worker",                                                              \
         .type = FLAGS_INTEGER,                                                                    \
         .target = &(options)->worker_tokens,                                                      \
         .value = "N",                                                                             \
         .help = "with --what-if: prompts that grow with the workers",                             \
         .least = 1,                                                                               \
         .most = 1 << 24},                                                                         \
    {                                                                                              \
        .name = "out", .letter = 'o', .type = FLAGS_TEXT, .target = &(options)->folder,            \
        .value = "DIR", .help = "with --what-if: charts as SVG files"                              \
    }

MUST_CHECK enum status what_if_command(const struct what_if_options *options);
