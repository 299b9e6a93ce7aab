/* From a prompt's length to the choice that all ranks follow, and to what it will cost. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "coordinator/workers.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/cost_file.h"
#include "proto/model/spec.h"
#include "proto/plan/chooser.h"
#include "proto/plan/memory_plan.h"
#include "proto/rpc/status_details.h"
#include "proto/status.h"

enum { PLANNER_TEXT_BYTES = 4096, PLANNER_ANSWER_TOKENS = 256 };

/* What requests may leave open. */
struct planner_defaults {
    const char *method;            /* its spelling */
    int64_t context_tokens;        /* 0: the model's trained length */
    int64_t stage_tokens;          /* 0: the planner decides */
    int64_t stages_max;            /* most stages times workers of a request's plan; 0: any */
    const char *decode;            /* as engine.decode says it; NULL: the planner decides */
    const struct cost_file *costs; /* measured rates, borrowed; NULL: the kernels' estimates */
    const char *weights;           /* of workers, as worker_speeds_read reads them; NULL: auto */
};

struct planner {
    struct planner_defaults defaults;
    struct model_shape shape;       /* weights_bytes comes from the group */
    struct frequencies frequencies; /* of a method that asks for none: spec_frequencies */
};

/* What is asked for: a prompt of so many tokens and so long an answer. */
struct planner_request {
    const Longhaul__V1__PlanOptions *options; /* NULL leaves all open */
    int64_t prompt_tokens;
    int64_t max_tokens;
    bool in_session; /* a session's, or a question to one: all keep the same sinks */
};

/* Asked between stages: an error ends the planning with it. */
struct planner_watch {
    enum status (*check)(void *context);
    void *context;
};

/* One rank's part of a prompt. */
struct planner_rank {
    int64_t prompt_tokens; /* whose keys and values it keeps */
    int64_t sent_bytes, received_bytes;
    double flops;
    struct memory_plan memory; /* the group's, made when it loaded */
    int64_t pool_bytes;        /* that the request takes of its pool */
};

/* What a prompt's seconds consist of, by the slowest rank of each stage. */
enum planner_part {
    PLANNER_PRODUCTS, /* and what lies between them */
    PLANNER_ATTENTION,
    PLANNER_EXCHANGE, /* what arithmetic does not hide of it */
    PLANNER_FIXED,    /* beside arithmetic: of each layer and stage */
    PLANNER_LOGITS,
    PLANNER_PARTS
};

struct planner_forecast {
    struct planner_rank *ranks; /* [count] */
    int count;
    int64_t base_bytes; /* of the process that has most beside its arenas; 0: not known */
    double seconds;     /* of the prompt, an estimate: the sum of its parts */
    double parts[PLANNER_PARTS];
    double token_seconds; /* of a token of the answer, behind the prompt; an estimate */
    double load_seconds;  /* of the model; 0: not known */
    int stages;
};

/* Borrows the method's spelling. INVALID_ARGUMENT where it is wrong. */
MUST_CHECK enum status planner_init(struct planner *planner, const struct model_spec *spec,
                                    const struct planner_defaults *defaults);

/* The longest answer where a request asks for none: PLANNER_ANSWER_TOKENS or what the prompt leaves
 * of the context, and 1 where it leaves nothing. */
int64_t planner_answer_tokens(const struct planner *planner, const struct workers_facts *facts,
                              int64_t prompt_tokens);

/* The method that a request asks for or gets, spelt with every parameter. */
MUST_CHECK enum status planner_method(const struct planner *planner, char text[METHOD_TEXT_BYTES],
                                      struct status_details *details,
                                      const Longhaul__V1__PlanOptions *options);

/* Whether requests by that method read the same keys of the same beginning, whatever their length:
 * those whose method follows from their length have keys of their own. */
MUST_CHECK enum status planner_shares_keys(const struct planner *planner, bool *shares,
                                           struct status_details *details,
                                           const Longhaul__V1__PlanOptions *options);

/* A choice, and what it was decided by, for telling people. */
struct planner_weighed {
    struct chooser_request wanted;
    struct choice choice;
    struct chooser_weighed seconds;
    int weight_sharers;    /* as struct workers_facts, which a plan tells */
    int64_t weights_bytes; /* likewise */
    int64_t whole_bytes;   /* that a tensor axis was chosen by, against: */
    int64_t memory_bytes;
};

/* Plans for so many ranks instead of those that are there; 0: for these. INVALID_ARGUMENT, with the
 * field, where they do not divide by the places of the tensor axis. */
MUST_CHECK enum status planner_set_workers(struct workers_facts *facts,
                                           struct status_details *details, int workers);

/* OUT_OF_RANGE, with the numbers in `details`, for more than the context; INVALID_ARGUMENT, with
 * the field, for options that are no good or ask for more stages than the defaults allow. */
MUST_CHECK enum status planner_choose(const struct planner *planner, struct choice *choice,
                                      struct status_details *details,
                                      const struct workers_facts *facts,
                                      const struct planner_request *request);

/* The same, and why. */
MUST_CHECK enum status planner_weigh(const struct planner *planner, struct planner_weighed *weighed,
                                     struct status_details *details,
                                     const struct workers_facts *facts,
                                     const struct planner_request *request);

/* Takes time in proportion to stages times workers. The caller calls planner_forecast_deinit.
 * `watch` may be NULL. */
MUST_CHECK enum status planner_forecast(const struct planner *planner,
                                        struct planner_forecast *forecast,
                                        const struct choice *choice,
                                        const struct workers_facts *facts, int64_t prompt_tokens,
                                        const struct planner_watch *watch);
/* OUT_OF_RANGE, with the numbers, when it needs more than the group's ranks have. */
MUST_CHECK enum status planner_check_fits(const struct planner_forecast *forecast,
                                          struct status_details *details,
                                          const struct workers_facts *facts);

/* What it takes of the pool of the rank that needs most. */
int64_t planner_pool_bytes(const struct planner_forecast *forecast);

/* "products" and so on. */
const char *planner_part_name(enum planner_part part);

void planner_forecast_deinit(struct planner_forecast *forecast);

/* Of one decoded token behind so many others, an estimate: of the slowest rank. */
double planner_step_seconds(const struct planner *planner, const struct choice *choice,
                            const struct workers_facts *facts, int64_t tokens);

/* For people: four lines, and a warning where the length is past the trained one. */
void planner_print(const struct planner *planner, char text[PLANNER_TEXT_BYTES],
                   const struct choice *choice, const struct planner_forecast *forecast,
                   int64_t prompt_tokens);
