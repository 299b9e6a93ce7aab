/* Owns a case's operands and results on the GPU. */
#include "tests/gpu/attention_on_gpu.h"

#include <math.h>
#include <stdlib.h>

#include "tests/support/unit.h"

enum { KV_HEADS = 2, POISON = 0xff /* NaN in every type */ };

static uint16_t to_operand(float value, enum dtype operand)
{
    return operand == DTYPE_BF16 ? dtype_bf16_from_f32(value) : dtype_f16_from_f32(value);
}

static float from_operand(uint16_t half, enum dtype operand)
{
    return operand == DTYPE_BF16 ? dtype_f32_from_bf16(half) : dtype_f32_from_f16(half);
}

static void *allocate(size_t bytes)
{
    void *memory = malloc(bytes + 1);
    assert_non_null(memory);
    return memory;
}

static void round_all(float *values, int64_t count, enum dtype operand)
{
    for (int64_t i = 0; i < count; i++)
        values[i] = from_operand(to_operand(values[i], operand), operand);
}

static int64_t panels_of(const struct attention_case *c)
{
    return (c->key_end - c->key_first + PANEL_TOKENS - 1) / PANEL_TOKENS;
}

static size_t panel_bytes_of(const struct attention_case *c)
{
    return (size_t)attention_case_records(c) *
           attention_record_bytes(DTYPE_BF16, KV_HEADS, c->head_dim);
}

/* One row of both heads of a record; the first head's holds other numbers. */
static void fill_row(const struct attention_on_gpu *on, uint16_t *record, int64_t row,
                     const float *operands)
{
    const int64_t width = on->c->head_dim;
    for (int64_t d = 0; d < width; d++) {
        record[row * width + d] = to_operand(100, on->operand);
        record[(PANEL_TOKENS + row) * width + d] = to_operand(operands[d], on->operand);
    }
}

/* [panels][records][KV_HEADS, PANEL_TOKENS, head_dim]; poison where no key is. */
static void upload_records(struct attention_on_gpu *on)
{
    const struct attention_case *c = on->c;
    const int frames = attention_case_records(c) - 1;
    const int64_t elements = (int64_t)KV_HEADS * PANEL_TOKENS * c->head_dim;
    uint16_t *records = allocate(on->records.bytes);
    memset(records, POISON, on->records.bytes);
    for (int64_t j = 0; j < c->key_end - c->key_first; j++) {
        uint16_t *panel = records + j / PANEL_TOKENS * (frames + 1) * elements;
        for (int f = 0; f < frames; f++)
            fill_row(on, panel + f * elements, j % PANEL_TOKENS, attention_case_key(c, f, j));
        fill_row(on, panel + frames * elements, j % PANEL_TOKENS, c->values + j * c->head_dim);
    }
    gpu_memory_write(&on->records, records);
    free(records);
}

/* [frames][tokens, heads, head_dim] */
static void upload_queries(struct attention_on_gpu *on)
{
    const struct attention_case *c = on->c;
    uint16_t *queries = allocate(on->queries.bytes);
    const int64_t rows = c->bands.query_frames * c->tokens;
    for (int64_t row = 0; row < rows; row++)
        for (int h = 0; h < on->heads; h++)
            for (int d = 0; d < c->head_dim; d++) {
                const float x = h < c->group
                                    ? 1
                                    : c->queries[(row * c->group + h - c->group) * c->head_dim + d];
                queries[(row * on->heads + h) * c->head_dim + d] = to_operand(x, on->operand);
            }
    gpu_memory_write(&on->queries, queries);
    free(queries);
}

void attention_on_gpu_upload(struct attention_on_gpu *on)
{
    upload_records(on);
    upload_queries(on);
}

struct attention_on_gpu attention_on_gpu_create(const struct kernels_cuda *kernels,
                                                struct attention_case *c, enum dtype operand,
                                                struct random *random, float spread)
{
    const struct kernels unrounded = {.operand = DTYPE_F32, .cache = DTYPE_F32};
    struct attention_on_gpu on = {
        .c = c, .kernels = kernels, .operand = operand, .heads = KV_HEADS * c->group};
    const int64_t keys = c->key_end - c->key_first;
    const size_t rows = (size_t)c->tokens * (size_t)on.heads;
    const size_t elements = rows * (size_t)c->head_dim;
    attention_case_randomise(c, &unrounded, random, spread);
    round_all(c->queries, c->bands.query_frames * c->tokens * c->group * c->head_dim, operand);
    round_all(c->keys, c->bands.key_frames * keys * c->head_dim, operand);
    round_all(c->values, keys * c->head_dim, operand);
    regimes_make(&on.regimes, &c->bands);
    on.queries = gpu_memory_create((size_t)c->bands.query_frames * elements * 2, NULL, 0);
    on.records = gpu_memory_create((size_t)panels_of(c) * panel_bytes_of(c), NULL, 0);
    on.acc = gpu_memory_create(elements * sizeof(float), NULL, POISON);
    on.max = gpu_memory_create(rows * sizeof(float), NULL, POISON);
    on.sum = gpu_memory_create(rows * sizeof(float), NULL, POISON);
    on.out = gpu_memory_create(elements * 2, NULL, POISON);
    attention_on_gpu_upload(&on);
    return on;
}

void attention_on_gpu_destroy(struct attention_on_gpu *on)
{
    struct gpu_memory *all[] = {&on->queries, &on->records, &on->acc, &on->max, &on->sum, &on->out};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        gpu_memory_destroy(all[i]);
}

struct attention_extent attention_on_gpu_extent(const struct attention_on_gpu *on, int64_t first,
                                                int64_t end)
{
    const size_t panel_bytes = panel_bytes_of(on->c);
    return (struct attention_extent){
        .records = (char *)on->records.at +
                   (size_t)((first - on->c->key_first) / PANEL_TOKENS) * panel_bytes,
        .first = first,
        .end = end,
        .store = (int32_t)on->c->store,
        .panel_records = attention_case_records(on->c),
        .span_end = ATTENTION_SPANS_MAX,
    };
}

struct attention_on_gpu_call attention_on_gpu_whole(const struct attention_on_gpu *on)
{
    return (struct attention_on_gpu_call){
        .extents = {attention_on_gpu_extent(on, on->c->key_first, on->c->key_end)},
        .extent_count = 1,
        .spans = {{0, on->c->query_first, on->c->tokens}},
        .span_count = 1,
        .first = true,
    };
}

static void poison(const struct gpu_memory *memory)
{
    void *bytes = allocate(memory->bytes);
    memset(bytes, POISON, memory->bytes);
    gpu_memory_write(memory, bytes);
    free(bytes);
}

void attention_on_gpu_prefill(struct attention_on_gpu *on, const struct attention_on_gpu_call *call)
{
    const struct attention_case *c = on->c;
    const struct kernels_cuda_prefill args = {
        .regimes = &on->regimes,
        .extents = call->extents,
        .extent_count = call->extent_count,
        .spans = call->spans,
        .span_count = call->span_count,
        .queries = on->queries.at,
        .frame_stride = c->tokens * on->heads * c->head_dim,
        .acc = on->acc.at,
        .max = on->max.at,
        .sum = on->sum.at,
        .out = on->out.at,
        .first = call->first,
        .last = call->last,
        .heads = on->heads,
        .kv_heads = KV_HEADS,
        .head_dim = c->head_dim,
        .operand = on->operand,
        .scale_log2 = c->scale_log2,
    };
    if (call->first) {
        poison(&on->acc);
        poison(&on->max);
        poison(&on->sum);
        poison(&on->out);
    }
    gpu_memory_settle("attention_prefill", on->kernels->attention_prefill(&args, NULL));
}

/* Panels dealt to splits in order, the first ones one more; an extent a split, but the last piece
 * of some split may be an extent of its own. */
static int deal(struct kernels_cuda_extent *extents, int32_t *split_first,
                const struct attention_case *c, int splits)
{
    const int64_t panels = panels_of(c);
    int64_t panel = 0;
    int count = 0;
    for (int s = 0; s < splits; s++) {
        int64_t end = panel + panels / splits + (s < panels % splits);
        split_first[s] = count;
        while (panel < end) {
            const int64_t next = end - panel > 1 ? end - 1 : end;
            const int64_t last = c->key_first + next * PANEL_TOKENS;
            extents[count++] = (struct kernels_cuda_extent){
                .record = (s % 2 ? panel : panel - 1) * attention_case_records(c),
                .first = c->key_first + panel * PANEL_TOKENS,
                .end = last < c->key_end ? last : c->key_end,
                .store = (int32_t)c->store,
                .base = s % 2 ? 0 : 2,
                .panel_records = attention_case_records(c),
            };
            panel = next;
        }
    }
    split_first[splits] = count;
    return count;
}

void attention_on_gpu_decode(struct attention_on_gpu *on, int splits)
{
    const struct attention_case *c = on->c;
    const size_t states =
        (size_t)(c->tokens * on->heads) * (size_t)(c->head_dim + 2) * sizeof(float);
    const size_t panel_bytes = panel_bytes_of(c);
    struct kernels_cuda_extent extents[64];
    int32_t split_first[32];
    assert_true(splits < 32);
    const int count = deal(extents, split_first, c, splits);
    struct gpu_memory extents_at = gpu_memory_create((size_t)count * sizeof *extents, extents, 0);
    struct gpu_memory splits_at =
        gpu_memory_create((size_t)(splits + 1) * sizeof *split_first, split_first, 0);
    struct gpu_memory index = gpu_memory_create(sizeof c->query_first, &c->query_first, 0);
    struct gpu_memory partial = gpu_memory_create((size_t)splits * states, NULL, POISON);
    struct gpu_memory state = gpu_memory_create(states, NULL, POISON);
    const struct kernels_cuda_decode args = {
        .regimes = &on->regimes,
        .bases = {on->records.at, NULL, (char *)on->records.at + panel_bytes},
        .extents = extents_at.at,
        .split_first = splits_at.at,
        .splits = splits,
        .index = index.at,
        .queries = on->queries.at,
        .frame_stride = c->tokens * on->heads * c->head_dim,
        .states = partial.at,
        .rows = c->tokens,
        .heads = on->heads,
        .kv_heads = KV_HEADS,
        .head_dim = c->head_dim,
        .operand = on->operand,
        .scale_log2 = c->scale_log2,
    };
    gpu_memory_settle("attention_decode", on->kernels->attention_decode(&args, NULL));
    const struct kernels_cuda_combine combine = {
        .states = partial.at,
        .count = splits,
        .state = state.at,
        .out = on->out.at,
        .out_dtype = on->operand,
        .rows = c->tokens,
        .heads = on->heads,
        .head_dim = c->head_dim,
    };
    poison(&on->out);
    gpu_memory_settle("attention_combine", on->kernels->attention_combine(&combine, NULL));
    char *all = allocate(states);
    gpu_memory_read(&state, all);
    gpu_memory_write(&on->acc, all);
    gpu_memory_write(&on->max, all + on->acc.bytes);
    gpu_memory_write(&on->sum, all + on->acc.bytes + on->max.bytes);
    free(all);
    struct gpu_memory *used[] = {&extents_at, &splits_at, &index, &partial, &state};
    for (size_t i = 0; i < sizeof used / sizeof *used; i++)
        gpu_memory_destroy(used[i]);
}

void attention_on_gpu_state(const struct attention_on_gpu *on, struct attention_state *state)
{
    const struct attention_case *c = on->c;
    float *acc = allocate(on->acc.bytes), *max = allocate(on->max.bytes);
    float *sum = allocate(on->sum.bytes);
    gpu_memory_read(&on->acc, acc);
    gpu_memory_read(&on->max, max);
    gpu_memory_read(&on->sum, sum);
    for (int64_t t = 0; t < c->tokens; t++) {
        for (int h = 0; h < c->group; h++) {
            const int64_t row = t * on->heads + c->group + h;
            memcpy(attention_state_acc(state, c, t, h), acc + row * c->head_dim,
                   (size_t)c->head_dim * sizeof(float));
            *attention_state_max(state, c, t, h) = max[row];
            *attention_state_sum(state, c, t, h) = sum[row];
        }
    }
    free(acc);
    free(max);
    free(sum);
}

void attention_on_gpu_expect_finished(const struct attention_on_gpu *on,
                                      const struct attention_state *state)
{
    const struct attention_case *c = on->c;
    const float step = on->operand == DTYPE_BF16 ? 0x1p-8f : 0x1p-11f; /* half a unit */
    uint16_t *out = allocate(on->out.bytes);
    gpu_memory_read(&on->out, out);
    for (int64_t t = 0; t < c->tokens; t++) {
        for (int h = 0; h < c->group; h++) {
            const float sum = *attention_state_sum(state, c, t, h);
            for (int d = 0; d < c->head_dim; d++) {
                const int64_t place = (t * on->heads + c->group + h) * c->head_dim + d;
                const float want = sum == 0 ? 0 : attention_state_acc(state, c, t, h)[d] / sum;
                const float got = from_operand(out[place], on->operand);
                assert_true(fabsf(got - want) <= 1.01f * step * fabsf(want) + 1e-7f);
            }
        }
    }
    free(out);
}
