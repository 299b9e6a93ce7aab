/* One copy of the weights for ranks that can have the same: those of one host whose threads lie on
 * the same memory nodes, and whose slices are alike. One of them packs; the others map what it
 * packed, and only read.
 *
 * The copy lies in memory that has no name and goes with its last process; once it is packed,
 * nobody can write into it, where the system can seal it. A rank that cannot reach it, because it
 * may not look into the other's process, packs a copy of its own.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/plan/tensor_slice.h"
#include "proto/status.h"
#include "worker/engine/transport/transport.h"
#include "worker/engine/weights.h"

struct weights_share {
    struct transport *world;
    int sharers; /* ranks that have this copy, this one included */
    struct weights_store store;
};

struct binding;

struct weights_share_args {
    const struct model *model;
    const struct tensor_slice *slice;
    const char *kernels;           /* as struct engine_options */
    const struct binding *binding; /* likewise */
    bool on_gpu;                   /* whose weights lie in its own memory: nothing is shared */
};

/* All ranks of `world` call it, and then weights_share_settle. */
MUST_CHECK enum status weights_share_open(struct weights_share *share, struct transport *world,
                                          const struct weights_share_args *args);

/* Of `bytes` of this rank's weights, what the other ranks that map them count for. */
int64_t weights_share_elsewhere(const struct weights_share *share, int64_t bytes);

/* Once this rank's weights are created: waits until every rank's are. */
MUST_CHECK enum status weights_share_settle(const struct weights_share *share);

/* Mappings stay. */
void weights_share_close(struct weights_share *share);
