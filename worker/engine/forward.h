/* The pass of tokens through a model's ops on one rank, with its peers. The ops are on a page of
 * their own, layer_program.c; read forward.c from the top after it.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/plan/schedule.h"
#include "proto/status.h"
#include "worker/engine/device/device.h"
#include "worker/engine/group_axes.h"
#include "worker/engine/ring/ring.h"
#include "worker/engine/sequence.h"
#include "worker/engine/shard.h"
#include "worker/engine/step_gather.h"
#include "worker/engine/tensor_sum.h"
#include "worker/engine/transport/transport.h"
#include "worker/engine/verdict.h"

struct forward {
    struct transport *transport; /* of the sequence axis */
    struct transport *world;     /* all ranks: rank 0 decides, and has the logits */
    int tensor_place;
    struct tensor_sum sum;
    struct device *device;
    struct sequence *sequence; /* the one that a stage belongs to */
    uint32_t turn;             /* counts turns, alike on all ranks */

    struct schedule schedule;           /* of the last sharded stage */
    struct schedule_rank step_schedule; /* of the last tokens added to a step */
    struct shard_rows shard;
    struct ring *ring;
    struct verdict_post verdict;
    struct device_sequence *sequences; /* [CHOICE_SEQUENCES_MAX] of the stage */
    struct device_tokens *tokens;      /* [CHOICE_SEQUENCES_MAX] of the step */
    int token_count;
    int64_t step_rows;
    struct device_keys *step_keys;  /* [step_key_capacity], of a step or of several prompts; records
                                     * of layer 0 */
    struct device_keys *layer_keys; /* [step_key_capacity]; of the layer at hand */
    int step_key_count;
    int step_key_capacity;
    int logit_places; /* ranks that compute a share of the step's logits, rank 0 among them */
    unsigned split;   /* the products that the step splits, not computed by every rank */
    bool alone;       /* of the step: rank 0 has all keys, and the others have nothing to do */
    struct step_gather gather;

    enum status failure; /* met while driving the exchange */
    bool stopped;        /* the last failure was agreed upon: every rank left at the same place */
    bool not_finite;     /* the last failure: numbers are not finite */
    bool settled;        /* the stage's last verdict is out: its arithmetic is wanted in full */
};

/* Everything is borrowed. */
MUST_CHECK enum status forward_init(struct forward *forward, const struct group_axes *axes,
                                    struct device *device);
void forward_deinit(struct forward *forward);

/* Moves and clears records, in every layer. */
MUST_CHECK enum status forward_move(struct device *device, const struct panel_moves *moves);

/* Says who has the tokens of the sequence's prompt, and makes room for this rank's, whose keys come
 * from elsewhere. */
MUST_CHECK enum status forward_deal_prompt(struct forward *forward, struct sequence *sequence);

/* Begins a turn: what follows is of this sequence, until the next. NULL: of several. */
void forward_turn(struct forward *forward, struct sequence *sequence);

/* Passes the tokens of `stage`, which follow all that went before. Afterwards sharded rows and
 * logits are there for device_score and device_logits, or the step's for forward_step_logits. */
MUST_CHECK enum status forward_stage(struct forward *forward, struct span stage);

/* Turns the rows of a sharded stage into log-probabilities: [rows], `tokens` in the sequence. */
MUST_CHECK enum status forward_score(struct forward *forward, float *logprobs, int64_t tokens);

/* Ends a stage: CANCELLED or DEADLINE_EXCEEDED on all ranks, or on all of them OK and the stage's
 * numbers are whole. Where it `agrees`, rank 0 waits for all, and INTERNAL on all of them says
 * where a number of any rank is not finite. */
MUST_CHECK enum status forward_settle(struct forward *forward, bool agrees);

/* Leaves at a verdict that stops; `where` completes "the request was cut short ". */
MUST_CHECK enum status forward_stop(struct forward *forward, const struct verdict *verdict,
                                    const char *where);

/* Notes a token whose log-probability is not finite. */
void forward_look(struct forward *forward, int64_t index, float logprob);

/* Where a sequence's choice says so, once its prompt has been passed: its keys go to rank 0, which
 * decodes alone from then on. */
MUST_CHECK enum status forward_go_home(struct forward *forward, struct sequence *sequence);

/* A sequence in a step, and its tokens there: the next one, and those drafted behind it. */
struct forward_part {
    struct sequence *sequence;
    int64_t rows;
};

/* A turn of its own: passes the next tokens of each sequence, as decode does, in one step; as many
 * sequences as the device's step_sequences at most, alike in what they split and in who decodes. A
 * row has the same bits whatever goes with it. */
MUST_CHECK enum status forward_step(struct forward *forward, const struct forward_part *parts,
                                    int count);

/* Forgets the tokens that were passed from index `tokens` on: drafted ones that did not come. */
void forward_retreat(struct sequence *sequence, int64_t tokens);

/* A turn of its own, on one rank: passes the last stages of several prompts, as forward_stage does
 * each, and makes their logits. It is short, so it is never cut short. */
MUST_CHECK enum status forward_join(struct forward *forward, struct sequence *const *sequences,
                                    int count);

/* After a stage with replicated queries, or a step: the logits of `count` rows from `row` on.
 * *gathered: they are complete in rank 0's memory.logits; else in the hands of rank 0's device. */
MUST_CHECK enum status forward_step_logits(struct forward *forward, bool *gathered, int64_t row,
                                           int64_t count);
