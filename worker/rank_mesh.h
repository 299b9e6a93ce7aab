/* How the ranks of a group are laid out: as it was asked for, or by the memory that they have. */
#pragma once

#include "kernels/kernels.h"
#include "proto/model/model.h"
#include "proto/plan/mesh.h"
#include "proto/status.h"
#include "worker/engine/transport/transport.h"

struct rank_mesh_args {
    struct mesh asked; /* mesh_parse */
    const struct model *model;
    const struct kernels *kernels; /* NULL: a GPU, which takes the whole model */
    bool int8_cache;
    int threads;
    int sequences; /* at a time */
    int64_t context_tokens;
    int64_t memory_bytes; /* of this rank's arenas; 0: not known */
    const char *nodes;    /* the memory nodes of its threads */
};

struct rank_mesh {
    struct mesh mesh;
    int64_t whole_bytes; /* that a rank would need without a tensor axis; 0: nothing was weighed */
};

/* All ranks call it and get the same. Where the axes are open, the tensor axis is the shortest one
 * with which every rank has room for one sequence of the context; 1 where the model's norms are
 * over all heads. INVALID_ARGUMENT, on all ranks alike, where they differ in what was asked, in
 * kernels or in the cache's type. */
MUST_CHECK enum status rank_mesh_choose(struct rank_mesh *mesh, struct transport *transport,
                                        const struct rank_mesh_args *args);
