/* The options that `run` and `generate` share: the prompt, the sampling and what is printed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/cli/answer.h"
#include "coordinator/cli/method_option.h"
#include "coordinator/cli/prompt_input.h"
#include "proto/config.h"
#include "proto/flags.h"
#include "longhaul/v1/inference.pb-c.h"

enum { GENERATE_OPTIONS_ROWS = 13 };

struct generate_options {
    const char *prompt_file;
    const char *prompt;
    bool raw;
    int64_t max_tokens;
    double temperature, top_p, min_p, repetition_penalty;
    int64_t top_k;
    uint64_t seed;
    const char *stop;
    bool temperature_given, top_p_given, penalty_given, seed_given;
    bool json, verbose;
};

/* The defaults, and the rows that write into `options`. */
void generate_options_init(struct generate_options *options,
                           struct flags_row rows[GENERATE_OPTIONS_ROWS]);

/* INVALID_ARGUMENT where neither a file nor a text is there to ask, or a sampling parameter is out
 * of its range: nothing is started then. */
MUST_CHECK enum status generate_options_check(const struct generate_options *options);

/* A request with its storage; `message` points into the rest, the prompt and the options. */
struct generate_request {
    Longhaul__V1__GenerateRequest message;
    Longhaul__V1__Sampling sampling;
    struct method_option method;
    char *stop[1];
};

/* The caller sets `method`. */
void generate_request_set(struct generate_request *request, const struct generate_options *options,
                          struct prompt_input *prompt);

/* Asks and prints the answer in the way that the options say. `*incomplete`: the coordinator cut it
 * off (drained). */
MUST_CHECK enum status generate_options_ask(const struct generate_options *options,
                                            struct rpc_client *client,
                                            const struct generate_request *request,
                                            bool *incomplete);
