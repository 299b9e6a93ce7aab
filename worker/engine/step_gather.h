/* What ranks exchange of a step: their states, and their columns of what split products leave
 * (proto/plan/decode_split.h). Each is one message to every peer, whatever the number of rows, and
 * waited for by all: a step takes as many of a link's delays as it has of them. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"
#include "worker/engine/device/device.h"
#include "worker/engine/transport/transport.h"

struct step_gather {
    struct transport *transport;
    struct device *device;
    size_t *offsets; /* [size] */
    size_t *sizes;   /* [size] */
};

/* Both are borrowed. */
MUST_CHECK enum status step_gather_init(struct step_gather *gather, struct transport *transport,
                                        struct device *device);
void step_gather_deinit(struct step_gather *gather);

/* Fills in the other ranks' states of the step's rows. */
MUST_CHECK enum status step_gather_states(struct step_gather *gather, int64_t rows);

/* Fills in the other ranks' columns of a step's buffer; of one row where it lies on a GPU. */
MUST_CHECK enum status step_gather_columns(struct step_gather *gather, enum layer_buffer buffer,
                                           int64_t rows);

/* Whose logits are gathered: the ranks [0, places) of a transport have a share each. */
struct step_gather_logits {
    struct transport *transport;
    struct device *device;
    int places;
};

/* The outputs that a rank computes. */
struct span step_gather_share(const struct step_gather_logits *logits, int rank);

/* To rank 0, the other ranks' shares of a row of the logits at hand; those ranks call it. */
MUST_CHECK enum status step_gather_logits(const struct step_gather_logits *logits, int64_t row);
