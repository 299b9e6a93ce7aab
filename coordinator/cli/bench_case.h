/* What `longhaul bench` measures, a row a case: reading a prompt, decoding behind one, or both. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/bench/busy_watch.h"
#include "coordinator/bench/samples.h"
#include "coordinator/cli/method_list.h"
#include "coordinator/cli/number_list.h"
#include "coordinator/cli/sized_prompt.h"
#include "proto/plan/method.h"
#include "proto/status.h"

enum bench_kind {
    BENCH_PREFILL,  /* "pp512": a prompt of 512 tokens, its first id included */
    BENCH_DECODE,   /* "tg128 @ d4096": 128 tokens behind the first id after a prompt of 4,096 */
    BENCH_FRONTIER, /* both of one request */
};

enum { BENCH_CASE_NAME_BYTES = 64, BENCH_CASE_KERNELS_BYTES = 64 };

/* What was asked for. */
struct bench_plan {
    struct number_list prefill, decode, depths, frontier;
    int64_t frontier_answer; /* tokens behind each length of the frontier */
    struct method_list methods;
};

struct bench_case {
    enum bench_kind kind;
    char name[BENCH_CASE_NAME_BYTES];
    const char *asked_method; /* borrowed of the plan */
    int64_t prompt_tokens;    /* of a decode without depth as short as the model has them */
    int64_t depth;
    int64_t answer_tokens; /* decoded behind the first id */
    char *text;            /* the prompt */

    /* Of the repetitions, the warm-up left out. Rates in tokens a second; seconds on the workers,
     * but for the last, from the call to the first token as the client has them. */
    struct samples prefill_rate, decode_rate, prefill_seconds, decode_seconds, first_seconds;
    struct busy_watch watch;

    /* As the last repetition told them, bytes of all workers together where not said. */
    char method[METHOD_TEXT_BYTES]; /* with every parameter */
    char kernels[BENCH_CASE_KERNELS_BYTES];
    int workers;
    double predicted_seconds; /* of the prompt */
    int64_t sent_bytes, predicted_sent_bytes;
    int64_t memory_bytes; /* of the worker that has most */
    int64_t cache_bytes, cache_bytes_worker;
};

struct bench_cases {
    struct bench_case *cases; /* [count], owned */
    size_t count;
    int64_t context_tokens; /* that the longest needs */
};

/* Every length by every method. */
MUST_CHECK enum status bench_cases_make(struct bench_cases *cases, const struct bench_plan *plan);
void bench_cases_deinit(struct bench_cases *cases);

/* Makes the prompt, and asks what the case's keys and values take. */
MUST_CHECK enum status bench_case_prepare(struct bench_case *one,
                                          const struct sized_prompt_words *words,
                                          int64_t stage_tokens);

/* One repetition; `counted` is false for a warm-up. */
MUST_CHECK enum status bench_case_measure(struct bench_case *one, struct rpc_client *client,
                                          int64_t stage_tokens, bool counted);
