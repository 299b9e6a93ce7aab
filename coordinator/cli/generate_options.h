/* The options of `run`, `generate` and `chat`: the prompt, the answer's length and end, the
 * sampling and what is printed. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/cli/answer.h"
#include "coordinator/cli/method_option.h"
#include "coordinator/cli/prompt_input.h"
#include "coordinator/cli/server_option.h"
#include "proto/config.h"
#include "proto/flags.h"
#include "longhaul/v1/inference.pb-c.h"

enum {
    GENERATE_OPTIONS_PROMPT_ROWS = 5,
    GENERATE_OPTIONS_ANSWER_ROWS = 18,
    GENERATE_OPTIONS_ROWS = GENERATE_OPTIONS_PROMPT_ROWS + GENERATE_OPTIONS_ANSWER_ROWS
};

struct generate_options {
    const char *prompt_file;
    const char *prompt;
    const char *positions_file; /* NULL: the indices */
    const char *trace_file;     /* NULL: no trace */
    bool raw;
    int64_t max_tokens; /* 0: not given */
    int64_t min_tokens;
    double temperature, top_p, min_p, repetition_penalty, presence_penalty, frequency_penalty;
    struct flags_texts logit_bias; /* ID:BIAS each */
    int64_t top_k, logprobs;
    uint64_t seed;
    struct flags_texts stop;
    struct server_option server;
    bool temperature_given, top_p_given, penalty_given, seed_given, logprobs_given;
    bool no_prefix_reuse, ignore_end, json, verbose;
};

/* The defaults, and the rows that write into `options`: those of the prompt, then those of the
 * answer. */
void generate_options_init(struct generate_options *options,
                           struct flags_row rows[GENERATE_OPTIONS_ROWS]);

/* Those of the answer alone. */
void generate_options_init_answer(struct generate_options *options,
                                  struct flags_row rows[GENERATE_OPTIONS_ANSWER_ROWS]);

/* INVALID_ARGUMENT where neither a file nor a text is there to ask. */
MUST_CHECK enum status generate_options_check_prompt(const struct generate_options *options);

/* INVALID_ARGUMENT where --server is no address or a sampling parameter is out
 * of its range: nothing is started then. */
MUST_CHECK enum status generate_options_check(const struct generate_options *options);

/* A request with its storage; `message` points into the rest, the prompt and the options. */
struct generate_request {
    Longhaul__V1__GenerateRequest message;
    Longhaul__V1__Sampling sampling;
    Longhaul__V1__LogitBias biases[FLAGS_TEXTS_MAX];
    Longhaul__V1__LogitBias *bias_places[FLAGS_TEXTS_MAX];
    struct method_option method;
    char *stop[FLAGS_TEXTS_MAX];
    int64_t *positions; /* NULL: none */
};

/* The caller sets `method`, and frees `positions`. Fails where these cannot be read. */
MUST_CHECK enum status generate_request_set(struct generate_request *request,
                                            const struct generate_options *options,
                                            Longhaul__V1__Prompt *prompt);

/* Asks and prints the answer in the way that the options say. `*incomplete`: the coordinator cut it
 * off (drained). */
MUST_CHECK enum status generate_options_ask(const struct generate_options *options,
                                            struct rpc_client *client,
                                            const struct generate_request *request,
                                            bool *incomplete);
