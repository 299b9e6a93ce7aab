/* Seconds of a whole prompt on a cluster that need not be there (simulate.h), stage after stage. */
#pragma once

#include "proto/plan/simulate.h"

struct simulate_prompt {
    double seconds;
    double compute_seconds; /* the longest that a rank computes, summed over the stages */
    int stages, played;     /* all of them; those that were simulated */
    int64_t block_tokens;   /* of the blocks that were played: as long as the plan's, unless
                                    * there are too many */
};

/* Of many stages a few are played, the first, the last and some between; what the others take is
 * interpolated. Of a plan with very many blocks, longer ones are played that each pay for as many
 * as they stand for. */
MUST_CHECK enum status simulate_prompt(struct simulate_prompt *prompt, const struct choice *choice,
                                       const struct model_shape *shape,
                                       const struct simulate_machine *machine,
                                       int64_t prompt_tokens);

/* The same rates for the formulas of cost.h. */
struct cost_table simulate_costs(const struct simulate_machine *machine);
