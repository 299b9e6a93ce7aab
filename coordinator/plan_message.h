/* A plan as the messages of inference.proto. */
#pragma once

#include "coordinator/planner.h"
#include "proto/choice_message.h"
#include "proto/inference.pb-c.h"
#include "proto/rpc/rpc_server.h"
#include "proto/status.h"

/* A summary with its storage; `summary` points into the rest and to the choice. */
struct plan_message {
    Longhaul__V1__PlanSummary summary;
    struct choice_message choice;
    char text[PLANNER_TEXT_BYTES];
};

void plan_message_set(struct plan_message *message, const struct planner *planner,
                      const struct choice *choice, const struct planner_forecast *forecast,
                      int64_t prompt_tokens);

/* Writes a PlanResponse: the summary and every rank's part. */
MUST_CHECK enum status plan_message_write(struct rpc_call *call, const struct planner *planner,
                                          const struct choice *choice,
                                          const struct planner_forecast *forecast,
                                          int64_t prompt_tokens);
