/* Owns the memory of a pass on the threads of a rank, and names what computes it. */
#include <stdlib.h>

#include "worker/trainer/pass_parts.h"

enum { ALIGNMENT = 64 };

static void take(struct pass *pass, struct pass_taker *taker)
{
    const struct model_spec *spec = pass->options.spec;
    const struct bands *bands = &pass->sight.tables[0].bands;
    const int64_t rows = pass->rows_most, keys = pass->keys_most, head_dim = spec->head_dim;
    const int threads = thread_pool_threads(pass->options.pool);
    pass_take_activations(pass, taker);
    pass->losses = pass_take(taker, PASS_HEAD_ROWS, sizeof *pass->losses);
    pass->queries =
        pass_take(taker, bands->query_frames * rows * spec->heads * head_dim, sizeof(float));
    pass->rotated =
        pass_take(taker, bands->key_frames * keys * spec->kv_heads * head_dim, sizeof(float));
    pass->sums = pass_take(taker, rows * spec->heads, sizeof(float));
    pass->product_scratch =
        pass_take(taker, (int64_t)products_scratch_bytes(pass->options.pool), 1);
    pass->tile_scratch_bytes =
        (attention_gradient_scratch_bytes(spec->head_dim) + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    pass->tile_scratch = pass_take(taker, threads * (int64_t)pass->tile_scratch_bytes, 1);
}

static enum status open(struct pass *pass)
{
    struct pass_taker taker = {NULL, 0};
    take(pass, &taker);
    pass->bytes = taker.bytes;
    pass->memory = aligned_alloc(ALIGNMENT, pass->bytes);
    if (!pass->memory)
        return fail(STATUS_RESOURCE_EXHAUSTED,
                    "no memory for a training pass over %lld tokens: %zu MiB on this rank; "
                    "recompute by layer, take shorter samples or a longer sequence axis",
                    (long long)pass->options.tokens, pass->bytes >> 20);
    taker = (struct pass_taker){pass->memory, 0};
    take(pass, &taker);
    return STATUS_OK;
}

static void close(struct pass *pass)
{
    free(pass->memory);
}

static enum status deal(struct pass *pass)
{
    pass_fill_tables(pass);
    return STATUS_OK;
}

static enum status embed(struct pass *pass)
{
    pass_embed(pass);
    return STATUS_OK;
}

static enum status embed_back(struct pass *pass, float *gradients)
{
    pass_embed_back(pass, gradients);
    return STATUS_OK;
}

static enum status op(struct pass *pass, int op, int layer)
{
    pass_op(pass, op, layer);
    return STATUS_OK;
}

static enum status op_back(struct pass *pass, int op, int layer, float *gradients)
{
    pass_op_back(pass, op, layer, gradients);
    return STATUS_OK;
}

static enum status norm(struct pass *pass)
{
    const struct model_spec *spec = pass->options.spec;
    pass_norm(pass, pass->normed, pass->inputs + spec->layers * pass->rows_most * spec->hidden,
              pass_weight_of(pass, MODEL_OUTPUT_NORM, 0));
    return STATUS_OK;
}

static enum status head(struct pass *pass, float *gradients, float scale, double *loss)
{
    *loss = pass_head(pass, gradients, scale);
    return STATUS_OK;
}

static enum status add(struct pass *pass, float *sum, const float *x, int64_t count)
{
    pass->options.kernels->add(sum, x, count);
    return STATUS_OK;
}

const struct pass_device pass_cpu_device = {
    .open = open,
    .close = close,
    .deal = deal,
    .embed = embed,
    .embed_back = embed_back,
    .op = op,
    .op_back = op_back,
    .attend = pass_attend,
    .attend_back = pass_attend_back,
    .norm = norm,
    .head = head,
    .add = add,
};
