/* The axes of a group's mesh: which of its ranks share out the sequence and which the model's
 * weights, as transports of their own (proto/plan/mesh.h). */
#pragma once

#include "proto/model/model.h"
#include "proto/plan/choice.h"
#include "proto/plan/tensor_slice.h"
#include "proto/status.h"
#include "worker/engine/transport/transport.h"

/* From one of the ranks. Where there is no tensor axis the sequence's is the whole group. */
struct group_axes {
    struct transport *world;    /* all ranks; borrowed */
    struct transport *sequence; /* those that share out the sequence, and have this rank's slice */
    struct transport *tensor;   /* those that have its tokens, and other slices; NULL: none */
};

/* What the rank has of the model. INVALID_ARGUMENT where the group's axes are not its ranks, or the
 * tensor axis is longer than the model allows; UNIMPLEMENTED for one of ranks on GPUs. */
MUST_CHECK enum status group_axes_slice(struct tensor_slice *slice, const struct model *model,
                                        const struct group_choice *group,
                                        const struct transport *world, bool on_gpus);

/* All ranks call it. */
MUST_CHECK enum status group_axes_split(struct group_axes *axes, const struct group_choice *group,
                                        struct transport *world);

/* Not `world`, which outlives them. */
void group_axes_deinit(struct group_axes *axes);
