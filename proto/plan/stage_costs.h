/* What the stages of a prompt cost every rank, one after the other: each by what its layers and
 * heads see. */
#pragma once

#include "proto/plan/choice.h"
#include "proto/plan/cost.h"
#include "proto/plan/model_shape.h"
#include "proto/plan/partition.h"
#include "proto/status.h"

struct stage_costs;

/* Borrows `choice` until stage_costs_restart gives another one, and the others. */
MUST_CHECK enum status stage_costs_create(struct stage_costs **made, const struct choice *choice,
                                          const struct model_shape *shape,
                                          const struct cost_table *table);
void stage_costs_destroy(struct stage_costs *made);

/* From the first token again, perhaps for another choice of the same group and method. */
void stage_costs_restart(struct stage_costs *made, const struct choice *choice);

/* The tokens that were dealt; the caller may deal some that cost nothing. */
struct ownership *stage_costs_ownership(struct stage_costs *made);

/* Deals the tokens of `stage`, the next ones, and finds what they cost: [workers], until the next
 * call. */
MUST_CHECK enum status stage_costs_next(struct stage_costs *made, const struct cost **costs,
                                        struct span stage);
