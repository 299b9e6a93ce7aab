/* Owns nothing. Promises the same mesh on all ranks. */
#include "worker/rank_mesh.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/log.h"
#include "proto/plan/tensor_fit.h"
#include "worker/agreement.h"
#include "worker/engine/weights.h"

/* What a thread's scratch and rows of logits are taken to be before there is a device. */
enum { SCRATCH_BYTES = 2 << 20, LOGIT_ROWS = 96, NODES_BYTES = 96, NAME_BYTES = 32 };

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
    /* The same on all ranks. */
    int32_t tensor, sequence;
    int32_t int8_cache;
    char kernels[NAME_BYTES]; /* "": a GPU's */
};

/* Every rank hears all words, so all find the same difference. */
static enum status compare_words(const struct word *all, int ranks)
{
    const struct word *first = &all[0];
    for (int rank = 1; rank < ranks; rank++) {
        const struct word *word = &all[rank];
        if (word->tensor != first->tensor || word->sequence != first->sequence)
            return fail(STATUS_INVALID_ARGUMENT,
                        "rank 0 was started with --mesh tensor=%d,sequence=%d and rank %d with "
                        "tensor=%d,sequence=%d (0: left open): start all ranks with the same",
                        first->tensor, first->sequence, rank, word->tensor, word->sequence);
        if (strcmp(word->kernels, first->kernels) != 0)
            return fail(STATUS_INVALID_ARGUMENT,
                        "rank 0 computes with kernels \"%s\" and rank %d with \"%s\": start all "
                        "ranks with the same --kernels and --device",
                        first->kernels, rank, word->kernels);
        if (word->int8_cache != first->int8_cache)
            return fail(STATUS_INVALID_ARGUMENT,
                        "rank %d was started with --cache int8 and rank %d was not: start all "
                        "ranks with the same --cache",
                        word->int8_cache ? rank : 0, word->int8_cache ? 0 : rank);
    }
    return STATUS_OK;
}

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
    own->tensor = args->asked.tensor;
    own->sequence = args->asked.sequence;
    own->int8_cache = args->int8_cache;
    snprintf(own->nodes, sizeof own->nodes, "%s", args->nodes);
    snprintf(own->kernels, sizeof own->kernels, "%s", args->kernels ? args->kernels->name : "");
    enum status status = transport_gather_each(transport, own, all, sizeof *all);
    if (status == STATUS_OK)
        status = compare_words(all, transport->size);
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
    log_line(LOG_INFO, "sessions cannot be saved where weights are shared out",
             log_text("instead", "--mesh tensor=1"));
}

/* On rank 0; `agreed` has what all ranks have. */
static enum status weigh(struct rank_mesh *made, struct tensor_fit_request *agreed,
                         const struct rank_mesh_args *args)
{
    const struct model_shape shape = spec_shape(model_spec(args->model), 0);
    struct tensor_fit fit;
    agreed->shape = &shape;
    agreed->sequences = args->sequences;
    agreed->context_tokens = args->context_tokens;
    agreed->kernels = args->kernels->name;
    agreed->cache = cache_of(args);
    agreed->needs = (struct memory_request){
        .threads = args->threads, .scratch_bytes = SCRATCH_BYTES, .logit_rows = LOGIT_ROWS};
    agreed->weights_bytes = slice_bytes;
    agreed->context = (void *)(size_t)args; /* only read */
    TRY(tensor_fit_find(&fit, agreed));
    made->mesh.tensor = fit.tensor;
    made->mesh.sequence = agreed->ranks / fit.tensor;
    made->whole_bytes = fit.whole_bytes;
    tell(made, &fit, agreed->limit_bytes);
    return STATUS_OK;
}

/* Norms over all heads are not computed by ranks that have some of them. */
static bool can_share_weights(const struct rank_mesh_args *args)
{
    return args->kernels && !model_spec(args->model)->qk_norm_joined;
}

/* What is weighed is rank 0's own in part, such as its threads: its word counts. */
enum status rank_mesh_choose(struct rank_mesh *mesh, struct transport *transport,
                             const struct rank_mesh_args *args)
{
    struct tensor_fit_request agreed = {.ranks = transport->size};
    struct rank_mesh made = {.mesh = args->asked};
    enum status status = STATUS_OK;
    TRY(agree_on_memory(&agreed, transport, args));
    TRY(mesh_lay_out(&made.mesh, transport->size));
    const bool is_open = made.mesh.tensor == 0;
    if (made.mesh.tensor > 1) {
        const struct model_shape shape = spec_shape(model_spec(args->model), 0);
        TRY(tensor_fit_check(&shape, made.mesh.tensor, transport->size));
    }
    if (is_open)
        made.mesh = (struct mesh){.data = 1, .sequence = transport->size, .tensor = 1};
    if (is_open && can_share_weights(args) && transport->rank == 0 && transport->size > 1)
        status = weigh(&made, &agreed, args);
    TRY(agreement_reach(transport, status));
    TRY(transport_broadcast(transport, &made, sizeof made));
    *mesh = made;
    return STATUS_OK;
}
