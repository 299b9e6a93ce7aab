/* Checkpoints of a training run: a folder `step-NNNNNNNNN` each, with four files.
 *
 *   weights, moments, variances   float32, little-endian, [parameters] in the order of parameters.h
 *   header                        state_header.h
 *
 * Nothing in them depends on how many ranks wrote them, so that any ranks can go on from them. Each
 * rank writes and reads its own slice: the folder must be one that all of them see.
 *
 * A checkpoint is written under another name, synced, and renamed: it is there whole or not at all.
 * The ones before it stay until then, and as many as `keep` says after it.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/model/digest.h"
#include "proto/status.h"
#include "worker/engine/transport/transport.h"
#include "worker/trainer/optimiser.h"

enum { TRAINING_STATE_KEEP_LEAST = 2 };

struct training_state {
    int64_t step;                /* steps done */
    int64_t tokens;              /* seen in them */
    char run[DIGEST_HEX_BYTES];  /* of what must be the same for a run to go on */
    size_t count;                /* of parameters */
    float *weights;              /* [count] */
    struct optimiser_state mine; /* of this rank */
};

/* All ranks of `transport` call these, and come to one end. */

/* `folder` is made where it is missing. Keeps this checkpoint in it and the `keep` - 1 before. */
MUST_CHECK enum status training_state_write(struct transport *transport, const char *folder,
                                            const struct training_state *state, int keep);

/* The newest that is whole; what is not is named in a warning and passed over. `*found` is false
 * where there is none. Fills step, tokens, weights and moments; the rest says what is expected.
 * FAILED_PRECONDITION for a checkpoint of another run, DATA_LOSS where none is whole. */
MUST_CHECK enum status training_state_read(struct transport *transport, const char *folder,
                                           struct training_state *state, bool *found);
