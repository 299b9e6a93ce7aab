/* Attention to int8 panels, plainly: a panel is read back to float32, its keys as they were before
 * H, and attended to as the reference does. Storing is the same for all variants. */
#include <assert.h>

#include "kernels/attention_int8.h"
#include "kernels/variants.h"

/* One head's row, rotated, as whole numbers; its scale. */
static uint16_t quantise(int8_t n[ATTENTION_HEAD_DIM_MAX], const float *row, int head_dim)
{
    float y[ATTENTION_HEAD_DIM_MAX];
    attention_int8_rotate(y, row, head_dim);
    const uint16_t scale = attention_int8_scale(y, head_dim);
    const float inverse = attention_int8_inverse(scale);
    for (int d = 0; d < head_dim; d++)
        n[d] = inverse > 0 ? (int8_t)attention_int8_whole(y[d], inverse) : 0;
    return scale;
}

static void store_keys(void *record, int64_t row, const float *keys, int kv_heads, int head_dim)
{
    assert(row >= 0 && row < PANEL_TOKENS);
    int8_t n[ATTENTION_HEAD_DIM_MAX];
    for (int h = 0; h < kv_heads; h++, keys += head_dim) {
        uint8_t *head = (uint8_t *)record + (size_t)h * attention_head_bytes(DTYPE_INT8, head_dim);
        attention_int8_scales(head, head_dim)[row] = quantise(n, keys, head_dim);
        for (int d = 0; d < head_dim; d++)
            head[attention_int8_key((int)row, d)] = (uint8_t)(n[d] + ATTENTION_INT8_EXCESS);
    }
}

static void store_values(void *record, int64_t row, const float *values, int kv_heads, int head_dim)
{
    assert(row >= 0 && row < PANEL_TOKENS);
    int8_t n[ATTENTION_HEAD_DIM_MAX];
    for (int h = 0; h < kv_heads; h++, values += head_dim) {
        int8_t *head = (int8_t *)record + (size_t)h * attention_head_bytes(DTYPE_INT8, head_dim);
        attention_int8_scales(head, head_dim)[row] = quantise(n, values, head_dim);
        for (int d = 0; d < head_dim; d++)
            head[attention_int8_value((int)row, d, head_dim)] = n[d];
    }
}

/* keys [64, head_dim] of a head's bytes, as they were before they were rotated. */
static void read_keys(float *keys, const void *head, int head_dim)
{
    for (int t = 0; t < PANEL_TOKENS; t++, keys += head_dim) {
        const float scale = dtype_f32_from_bf16(attention_int8_scales(head, head_dim)[t]);
        for (int d = 0; d < head_dim; d++)
            keys[d] = scale * (float)(((const uint8_t *)head)[attention_int8_key(t, d)] -
                                      ATTENTION_INT8_EXCESS);
        attention_int8_rotate(keys, keys, head_dim);
    }
}

/* values [64, head_dim], rotated as they lie. */
static void read_values(float *values, const void *head, int head_dim)
{
    for (int t = 0; t < PANEL_TOKENS; t++, values += head_dim) {
        const float scale = dtype_f32_from_bf16(attention_int8_scales(head, head_dim)[t]);
        for (int d = 0; d < head_dim; d++)
            values[d] = scale * (float)((const int8_t *)head)[attention_int8_value(t, d, head_dim)];
    }
}

/* Key frames of the call's store. */
static int key_frames(const struct attention_args *args)
{
    int frames = 1;
    for (int r = 0; r < args->regimes->count; r++) {
        const struct regime *regime = &args->regimes->list[r];
        if ((enum bands_store)regime->store == args->store && regime->key_frame >= frames)
            frames = regime->key_frame + 1;
    }
    return frames;
}

/* One panel of one head, with the call's queries. */
static void attend_panel(const struct attention_args *args, const char *panel, int64_t key)
{
    const int64_t size = (int64_t)PANEL_TOKENS * args->head_dim;
    const int frames = key_frames(args);
    float *floats = args->scratch;
    for (int f = 0; f < frames; f++)
        read_keys(floats + f * size, panel + (size_t)f * args->record_stride, args->head_dim);
    read_values(floats + frames * size, panel + args->panel_stride - args->record_stride,
                args->head_dim);
    struct attention_args one = *args;
    one.panels = floats;
    one.record_stride = (size_t)size * sizeof(float);
    one.panel_stride = (size_t)(frames + 1) * one.record_stride;
    one.key_first = key;
    one.key_end = key + PANEL_TOKENS < args->key_end ? key + PANEL_TOKENS : args->key_end;
    attention_ref(&one);
}

static void attend(const struct attention_args *args)
{
    assert(args->key_first % PANEL_TOKENS == 0 && args->kv_heads > 0);
    for (int head = 0; head < args->kv_heads; head++) {
        struct attention_args one = *args;
        const int64_t rows = (int64_t)head * args->group;
        one.kv_heads = 1;
        one.acc += rows * args->head_dim;
        one.max += rows;
        one.sum += rows;
        one.queries = (const float *)args->queries + rows * args->head_dim;
        const char *panel = (const char *)args->panels +
                            (size_t)head * attention_head_bytes(DTYPE_INT8, args->head_dim);
        for (int64_t j = args->key_first; j < args->key_end; j += PANEL_TOKENS) {
            attend_panel(&one, panel, j);
            panel += args->panel_stride;
        }
    }
}

static void finish(float *out, const float *acc, const float *sum, int64_t rows, int head_dim)
{
    for (int64_t r = 0; r < rows; r++) {
        attention_ref_finish(out + r * head_dim, acc + r * head_dim, sum + r, 1, head_dim);
        attention_int8_rotate(out + r * head_dim, out + r * head_dim, head_dim);
    }
}

size_t attention_int8_ref_scratch_bytes(const struct kernels_limits *limits)
{
    return (BANDS_FRAMES_MAX + 1) * PANEL_TOKENS * (size_t)limits->head_dim * sizeof(float);
}

void attention_int8_ref_install(struct kernels *kernels)
{
    kernels->attention_store_keys = store_keys;
    kernels->attention_store_values = store_values;
    kernels->attention_prefill = attend;
    kernels->attention_decode = attend;
    kernels->attention_finish = finish;
}
