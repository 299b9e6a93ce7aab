/* One load on a coordinator: so many requests at a time, or so many a second, and what became of
 * each. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/bench/busy_watch.h"
#include "coordinator/bench/serving_metrics.h"
#include "coordinator/cli/number_list.h"
#include "coordinator/cli/sized_prompt.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/status.h"

struct rpc_client;

enum {
    LOAD_POINT_REQUESTS_MOST = 100000,
    /* Requests that are under way at once at most: a thread each. */
    LOAD_POINT_CLIENTS_MOST = 256,
};

/* Of what all requests are. */
struct load_settings {
    struct number_list prompts, answers; /* lengths in tokens; each request draws one of each */
    double shared;                       /* the part of each prompt that all have in common */
    uint64_t seed;
    const char *method;   /* its spelling; NULL: the coordinator's */
    int64_t stage_tokens; /* 0: the coordinator's choice */
    Longhaul__V1__Draft draft;
    int64_t timeout_ms; /* of each request; 0: the coordinator's limit alone */
    struct serving_goals goals;
    bool foreign; /* the coordinator is not ours: who uses the cores is not known */
};

struct load_request {
    char *text;
    int64_t prompt_tokens, answer_tokens;
    int64_t offset_ns; /* of an open load, since its beginning */
};

struct load_point {
    int64_t concurrency; /* a closed load: each of so many clients asks when it has its answer */
    double rate;         /* an open load where `concurrency` is 0: so many a second, as they come */
    size_t count;
    struct load_request *requests;  /* [count + 1], the last to warm up by */
    struct serving_record *records; /* [count] */
    struct serving_metrics metrics;
    struct busy_watch watch;
};

/* The caller has set `concurrency`, `rate` and `count`. Draws lengths and times by the seed and
 * `number`, the point's own, and makes the prompts. The caller calls load_point_deinit, also after
 * a failure. */
MUST_CHECK enum status load_point_prepare(struct load_point *point,
                                          const struct load_settings *settings,
                                          const struct sized_prompt_words *words, uint64_t number);

/* One request that is not counted, which leaves the shared beginning with the workers, and then all
 * of them. A request that fails is in the records; CANCELLED after an interrupt. */
MUST_CHECK enum status load_point_run(struct load_point *point,
                                      const struct load_settings *settings,
                                      struct rpc_client *client);

void load_point_deinit(struct load_point *point);
