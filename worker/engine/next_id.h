/* The answer's next token: whose logits they are, and what rank 0 makes of them. */
#pragma once

#include <stdbool.h>

#include "proto/status.h"
#include "worker/engine/forward.h"
#include "worker/engine/logprobs.h"

/* After the prompt's last stage: its last row's logits, as rank 0 finds them: *gathered in
 * memory.logits, or in its device's hands. */
MUST_CHECK enum status next_id_first_logits(struct forward *forward, bool *gathered,
                                            bool replicated, struct span stage);

/* Whose logits: a row of those at hand; gathered as above. `ahead` tokens that come before were
 * decided by the rows before it, and are not taken yet. */
struct next_id_logits {
    bool gathered;
    int64_t row;
    int64_t ahead;
};

/* On rank 0: the verdict of the sequence's next token, with its log-probabilities where they were
 * asked for. */
MUST_CHECK enum status next_id_decide(struct forward *forward, struct sequence *sequence,
                                      const struct next_id_logits *at, struct verdict *verdict,
                                      struct logprobs *logprobs);
