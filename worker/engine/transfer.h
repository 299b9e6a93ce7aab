/* Keys and values on their way between this rank's pool and whoever stores them: out of a resident,
 * or into a sequence that becomes one. Block by block: one panel in one layer. A few
 * in each turn, so that answers go on meanwhile.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"
#include "worker/engine/forward.h"
#include "worker/engine/sequence.h"
#include "worker/engine/transport/transport.h"

struct transfer;

/* Gives the sequence its transfer: of its resident's keys, or of its own prompt's, which get their
 * places first. */
MUST_CHECK enum status transfer_create(struct forward *forward, struct sequence *sequence);

/* Accepts NULL. */
void transfer_destroy(struct transfer *transfer);

enum { TRANSFER_CAUSE_BYTES = 400 };

/* What all ranks do together in a turn, and what becomes of it. */
struct transfer_turn {
    enum status stop; /* rank 0's: not OK, it is cut short */
    int64_t wait_ms;  /* for the port, where it is not ready */
    bool ended;       /* on all ranks, alike: */
    enum status status;
    char cause[TRANSFER_CAUSE_BYTES]; /* where that is not OK */
};

/* Moves some blocks, while this rank's port is ready, and agrees with the other ranks whether all
 * have been moved. A block that is not this rank's, came twice or was refused by the port ends it,
 * DATA_LOSS or as the port says; the call itself fails only with the transport. */
MUST_CHECK enum status transfer_take_turn(struct transfer *transfer, struct transfer_turn *turn,
                                          struct transport *transport);
