/* Attention with float32 operands and cache, plainly: pair by pair inside a panel, with the online
 * softmax of the contract. */
#include <assert.h>
#include <math.h>
#include <string.h>

#include "kernels/variants.h"

/* K and V alike: [kv_heads, PANEL_TOKENS, head_dim]. */
static void store(void *record, int64_t row, const float *rows, int kv_heads, int head_dim)
{
    assert(row >= 0 && row < PANEL_TOKENS);
    for (int h = 0; h < kv_heads; h++)
        memcpy((float *)record + ((int64_t)h * PANEL_TOKENS + row) * head_dim,
               rows + (int64_t)h * head_dim, (size_t)head_dim * sizeof(float));
}

static float dot(const float *a, const float *b, int count)
{
    float sum = 0;
    for (int i = 0; i < count; i++)
        sum += a[i] * b[i];
    return sum;
}

/* The regime through which query i sees each key of a panel; NULL where it does not. */
static bool panel_regimes(const struct attention_args *args, int64_t i, int64_t first_key,
                          const struct regime *regimes[PANEL_TOKENS])
{
    uint64_t any = 0;
    const int64_t left = args->key_end - first_key;
    for (int t = 0; t < PANEL_TOKENS; t++)
        regimes[t] = NULL;
    for (int r = 0; r < args->regimes->count; r++) {
        const struct regime *regime = &args->regimes->list[r];
        if ((enum bands_store)regime->store != args->store)
            continue;
        const uint64_t lanes =
            regime_lanes(regime, i, first_key, left < PANEL_TOKENS ? (int)left : PANEL_TOKENS);
        for (int t = 0; t < PANEL_TOKENS; t++)
            if (lanes >> t & 1)
                regimes[t] = regime;
        any |= lanes;
    }
    return any != 0;
}

/* Folds one panel into the state of one row. */
static void row_panel(const struct attention_args *args, int64_t token, int head, const char *panel,
                      const struct regime *const regimes[PANEL_TOKENS])
{
    int head_dim = args->head_dim;
    const float *values =
        (const float *)(const void *)(panel + args->panel_stride - args->record_stride);
    const float *query =
        (const float *)args->queries + token * args->query_stride + (int64_t)head * head_dim;
    float *acc = args->acc + token * args->acc_stride + (int64_t)head * head_dim;
    float *max = args->max + token * args->row_stride + head;
    float *sum = args->sum + token * args->row_stride + head;
    float scores[PANEL_TOKENS];
    float top = *max;
    for (int t = 0; t < PANEL_TOKENS; t++) {
        if (!regimes[t])
            continue;
        const float *q = query + regimes[t]->query_frame * args->frame_stride;
        const float *keys = (const float *)(const void *)(panel + (size_t)regimes[t]->key_frame *
                                                                      args->record_stride);
        scores[t] = args->scale_log2 * dot(q, keys + (size_t)t * (size_t)head_dim, head_dim);
        if (args->cap_log2 > 0)
            scores[t] = args->cap_log2 * tanhf(scores[t] / args->cap_log2);
        top = fmaxf(top, scores[t]);
    }
    float rescale = exp2f(*max - top); /* of the empty state: 0 */
    *max = top;
    *sum *= rescale;
    for (int d = 0; d < head_dim; d++)
        acc[d] *= rescale;
    for (int t = 0; t < PANEL_TOKENS; t++) {
        if (!regimes[t])
            continue;
        float p = exp2f(scores[t] - top);
        *sum += p;
        for (int d = 0; d < head_dim; d++)
            acc[d] += p * values[(size_t)t * (size_t)head_dim + (size_t)d];
    }
}

static void attend_head(const struct attention_args *args)
{
    const struct regime *regimes[PANEL_TOKENS];
    for (int64_t t = 0; t < args->tokens; t++) {
        const char *panel = args->panels;
        for (int64_t j = args->key_first; j < args->key_end; j += PANEL_TOKENS) {
            if (panel_regimes(args, args->query_first + t, j, regimes))
                for (int h = 0; h < args->group; h++)
                    row_panel(args, t, h, panel, regimes);
            panel += args->panel_stride;
        }
    }
}

void attention_ref(const struct attention_args *args)
{
    assert(args->key_first % PANEL_TOKENS == 0 && args->kv_heads > 0);
    for (int head = 0; head < args->kv_heads; head++) {
        struct attention_args one = *args;
        int64_t rows = (int64_t)head * args->group;
        one.acc += rows * args->head_dim;
        one.max += rows;
        one.sum += rows;
        one.queries = (const float *)args->queries + rows * args->head_dim;
        one.panels = (const char *)args->panels +
                     (size_t)head * attention_head_bytes(DTYPE_F32, args->head_dim);
        attend_head(&one);
    }
}

static void merge(const struct attention_merge_args *args)
{
    for (int64_t r = 0; r < args->rows; r++) {
        if (args->other_sum[r] == 0)
            continue;
        float top = fmaxf(args->max[r], args->other_max[r]);
        float ours = exp2f(args->max[r] - top);
        float theirs = exp2f(args->other_max[r] - top);
        float *acc = args->acc + r * args->head_dim;
        const float *other = args->other_acc + r * args->head_dim;
        for (int d = 0; d < args->head_dim; d++)
            acc[d] = acc[d] * ours + other[d] * theirs;
        args->sum[r] = args->sum[r] * ours + args->other_sum[r] * theirs;
        args->max[r] = top;
    }
}

void attention_ref_finish(float *out, const float *acc, const float *sum, int64_t rows,
                          int head_dim)
{
    for (int64_t r = 0; r < rows; r++) {
        for (int d = 0; d < head_dim; d++)
            out[r * head_dim + d] = sum[r] == 0 ? 0 : acc[r * head_dim + d] / sum[r];
    }
}

size_t attention_ref_scratch_bytes(const struct kernels_limits *limits)
{
    (void)limits;
    return 0;
}

void attention_ref_install(struct kernels *kernels)
{
    kernels->attention_store_keys = store;
    kernels->attention_store_values = store;
    kernels->attention_prefill = attention_ref;
    kernels->attention_decode = attention_ref;
    kernels->attention_merge = merge;
    kernels->attention_finish = attention_ref_finish;
}
