/* Owns nothing. Promises the same mesh on all ranks. */
#include "worker/rank_mesh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/log.h"
#include "proto/plan/tensor_fit.h"
#include "worker/engine/weights.h"

/* What a thread's scratch and rows of logits are taken to be before there is a device. */
enum { SCRATCH_BYTES = 2 << 20, LOGIT_ROWS = 96, NODES_BYTES = 96 };

static int64_t slice_bytes(void *context, const struct tensor_slice *slice)
{
    const struct rank_mesh_args *args = context;
    return (int64_t)weights_bytes(args->model, slice, args->kernels);
}

/* Of a rank. */
struct word {
    int64_t memory_bytes;
    char nodes[NODES_BYTES];
    int32_t local_size;
};

/* What every rank has, 0: some do not know; and how many ranks of a host can map one copy of
 * weights: its fewest, where all lie on the same memory nodes. */
static enum status agree_on_memory(struct tensor_fit_request *request, struct transport *transport,
                                   const struct rank_mesh_args *args)
{
    struct word *all = calloc((size_t)transport->size, sizeof *all);
    if (!all)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to lay out %d ranks", transport->size);
    struct word *own = &all[transport->rank];
    own->memory_bytes = args->memory_bytes;
    own->local_size = transport->local_size;
    snprintf(own->nodes, sizeof own->nodes, "%s", args->nodes);
    const enum status status = transport_gather_each(transport, own, all, sizeof *all);
    request->limit_bytes = own->memory_bytes;
    request->sharers = own->local_size;
    for (int rank = 0; status == STATUS_OK && rank < transport->size; rank++) {
        const struct word *word = &all[rank];
        const int sharers = strcmp(word->nodes, all[0].nodes) == 0 ? word->local_size : 1;
        if (word->memory_bytes < request->limit_bytes)
            request->limit_bytes = word->memory_bytes;
        if (sharers < request->sharers)
            request->sharers = sharers;
    }
    free(all);
    return status;
}

static enum choice_cache cache_of(const struct rank_mesh_args *args)
{
    if (args->int8_cache)
        return CHOICE_CACHE_INT8;
    return args->kernels->cache == DTYPE_F32 ? CHOICE_CACHE_F32 : CHOICE_CACHE_BF16;
}

static void tell(const struct rank_mesh *made, const struct tensor_fit *fit, int64_t limit)
{
    if (fit->tensor == 1)
        return;
    log_line(LOG_INFO, "weights are shared out", log_integer("tensor", made->mesh.tensor),
             log_integer("sequence", made->mesh.sequence),
             log_real("whole_gib", (double)fit->whole_bytes / 0x1p30, 2),
             log_real("needed_gib", (double)fit->needed_bytes / 0x1p30, 2),
             log_real("available_gib", (double)limit / 0x1p30, 2));
}

static enum status weigh(struct rank_mesh *made, struct transport *transport,
                         const struct rank_mesh_args *args)
{
    const struct model_shape shape = spec_shape(model_spec(args->model), 0);
    struct tensor_fit_request request = {
        .shape = &shape,
        .ranks = transport->size,
        .sequences = args->sequences,
        .context_tokens = args->context_tokens,
        .kernels = args->kernels->name,
        .cache = cache_of(args),
        .needs = {.threads = args->threads,
                  .scratch_bytes = SCRATCH_BYTES,
                  .logit_rows = LOGIT_ROWS},
        .weights_bytes = slice_bytes,
        .context = (void *)(size_t)args, /* only read */
    };
    struct tensor_fit fit;
    TRY(agree_on_memory(&request, transport, args));
    TRY(tensor_fit_find(&fit, &request));
    made->mesh.tensor = fit.tensor;
    made->mesh.sequence = transport->size / fit.tensor;
    made->whole_bytes = fit.whole_bytes;
    if (transport->rank == 0)
        tell(made, &fit, request.limit_bytes);
    return STATUS_OK;
}

enum status rank_mesh_choose(struct rank_mesh *mesh, struct transport *transport,
                             const struct rank_mesh_args *args)
{
    struct rank_mesh made = {.mesh = args->asked};
    TRY(mesh_lay_out(&made.mesh, transport->size));
    if (made.mesh.tensor == 0 && args->kernels && transport->size > 1)
        TRY(weigh(&made, transport, args));
    if (made.mesh.tensor == 0)
        made.mesh = (struct mesh){.data = 1, .sequence = transport->size, .tensor = 1};
    *mesh = made;
    return STATUS_OK;
}
