/* A plan as the messages of inference.proto. */
#pragma once

#include "coordinator/plan_reasons.h"
#include "coordinator/planner.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/status.h"

/* A summary with its storage; `summary` points into the rest and to the choice. */
struct plan_message {
    Longhaul__V1__PlanSummary summary;
    char method[METHOD_TEXT_BYTES];
    char text[PLANNER_TEXT_BYTES];
    Longhaul__V1__PlanPart parts[PLANNER_PARTS];
    Longhaul__V1__PlanPart *part_pointers[PLANNER_PARTS];
};

void plan_message_set(struct plan_message *message, const struct planner *planner,
                      const struct choice *choice, const struct planner_forecast *forecast,
                      int64_t prompt_tokens);

/* A whole reply with its storage: the summary and every rank's part. */
struct plan_response {
    Longhaul__V1__PlanResponse message;
    struct plan_message summary;
    struct plan_response_rank *ranks;
    Longhaul__V1__RankPlan **pointers;
    struct plan_reasons reasons;
};

/* `message` points into the rest and to `weighed`, so the struct stays where it is. */
MUST_CHECK enum status plan_response_init(struct plan_response *response,
                                          const struct planner *planner,
                                          const struct planner_weighed *weighed,
                                          const struct planner_forecast *forecast,
                                          int64_t prompt_tokens);
void plan_response_deinit(struct plan_response *response);
