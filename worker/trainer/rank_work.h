/* What a rank computes with, whatever it computes: its threads, its kernels, its place in the mesh
 * and its peers on the sequence axis. */
#pragma once

#include "kernels/kernels.h"
#include "proto/plan/mesh.h"
#include "proto/status.h"
#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/device/thread_pool.h"
#include "worker/engine/transport/transport.h"
#include "worker/host_binding.h"

struct rank_work {
    struct transport *transport; /* of all ranks; borrowed */
    struct transport *sequence;  /* of those that have tokens of the same samples */
    struct mesh mesh;
    struct mesh_place place;
    struct host_binding cores;
    struct thread_pool *pool;
    const struct kernels *kernels;
    const struct cuda_streams *streams; /* of the GPU that computes steps; NULL: the pool does */
    void (*left)(void *context);        /* rank_work_leave */
    void *left_context;
};

/* All ranks call it. `threads` 0: the rank's cores; `kernels` NULL: the best. `batch`: as
 * mesh_check has it. */
MUST_CHECK enum status rank_work_open(struct rank_work *work, struct transport *transport,
                                      const struct mesh *mesh, int batch, int threads,
                                      const char *kernels);
/* Has `close` called once the transport is gone: after a failure, messages on their way may still
 * point into what it frees. Once. */
void rank_work_leave(struct rank_work *work, void (*close)(void *context), void *context);

/* Before the transport's end. Accepts {0}. */
void rank_work_close(struct rank_work *work);

/* After it. Accepts {0}. */
void rank_work_end(struct rank_work *work);

/* Operations a second of this rank's products, measured on one of a layer's size for a twentieth of
 * a second; on a GPU, on some of the model's `width`. */
MUST_CHECK enum status rank_work_product_rate(double *rate, const struct rank_work *work,
                                              enum dtype operand, int64_t width);
