/* How a rank waits: it spins, drives the transport, sees an abort, and gives up on a peer that is
 * silent. */
#pragma once

#include "worker/engine/transport/transport.h"

struct spin {
    int64_t begun_ns;
    int64_t moved_ns; /* when the awaited peer's progress was last seen to move */
    uint64_t seen;    /* that progress */
    int peer;         /* as published on the board, -1 while the wait is young */
    unsigned rounds;
};

void spin_begin(struct spin *spin);

/* One round of waiting for `peer`. Fails after an abort, and when the peer has been silent for
 * t->silence_ns. */
MUST_CHECK enum status spin_round(struct transport *t, struct spin *spin, int peer);

/* Ends the wait, well or not, and books its time. */
void spin_end(struct transport *t, struct spin *spin);
