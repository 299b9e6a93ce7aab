/* Decode attention over several KV heads in one call: the bits are those of a call for each head,
 * whatever their number, also where their rows do not fit one chunk of the walk. */
#include <math.h>
#include <stdlib.h>

#include "tests/kernels/attention_case.h"
#include "tests/kernels/subjects.h"
#include "tests/support/guarded.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

enum { HEAD_DIM = 32, KEYS = 3 * PANEL_TOKENS - 11, PANELS = 3, FRAMES = 2 };

struct shape {
    int kv_heads, group;
    int64_t tokens;
};

struct heads {
    struct shape shape;
    const struct kernels *kernels;
    struct regimes regimes;
    struct guarded queries; /* [FRAMES, tokens, kv_heads, group, HEAD_DIM] operand */
    struct guarded panels;  /* [PANELS][K, V] records of kv_heads */
    struct guarded scratch;
};

/* As acc, max and sum lie one behind the other. */
static size_t state_floats(const struct shape *shape)
{
    return (size_t)shape->tokens * (size_t)(shape->kv_heads * shape->group) * (HEAD_DIM + 2);
}

static void fill_queries(struct heads *heads, size_t count, struct random *random)
{
    const bool wide = heads->kernels->operand == DTYPE_F32;
    heads->queries = guarded_create(count * (wide ? 4 : 2), 0);
    for (size_t i = 0; i < count; i++) {
        const float value = random_float(random);
        if (wide)
            ((float *)heads->queries.at)[i] = value;
        else
            ((uint16_t *)heads->queries.at)[i] = dtype_bf16_from_f32(value);
    }
}

static void fill_panels(struct heads *heads, struct random *random)
{
    const struct shape *shape = &heads->shape;
    const size_t bytes = attention_record_bytes(heads->kernels->cache, shape->kv_heads, HEAD_DIM);
    const size_t width = (size_t)shape->kv_heads * HEAD_DIM;
    float *keys = calloc(2 * width, sizeof *keys);
    assert_non_null(keys);
    heads->panels = guarded_create(2 * PANELS * bytes, 0);
    for (int64_t j = 0; j < KEYS; j++) {
        for (size_t i = 0; i < 2 * width; i++)
            keys[i] = random_float(random);
        char *panel = (char *)heads->panels.at + (size_t)(2 * (j / PANEL_TOKENS)) * bytes;
        heads->kernels->attention_store_keys(panel, j % PANEL_TOKENS, keys, shape->kv_heads,
                                             HEAD_DIM);
        heads->kernels->attention_store_values(panel + bytes, j % PANEL_TOKENS, keys + width,
                                               shape->kv_heads, HEAD_DIM);
    }
    free(keys);
}

static struct heads heads_create(const struct kernels *kernels, struct shape shape,
                                 struct random *random)
{
    struct heads heads = {.shape = shape, .kernels = kernels};
    const struct bands bands = attention_case_string(PANEL_TOKENS + 9, 5);
    regimes_make(&heads.regimes, &bands);
    const size_t rows = (size_t)shape.tokens * (size_t)(shape.kv_heads * shape.group);
    const struct kernels_limits limits = {.rows = KERNELS_ROWS_MAX,
                                          .width_max = HEAD_DIM,
                                          .head_dim = HEAD_DIM,
                                          .group = shape.group};
    fill_queries(&heads, FRAMES * rows * HEAD_DIM, random);
    fill_panels(&heads, random);
    heads.scratch = guarded_create(kernels->scratch_bytes(&limits), 0xff);
    return heads;
}

static void heads_destroy(struct heads *heads)
{
    guarded_destroy(&heads->queries);
    guarded_destroy(&heads->panels);
    guarded_destroy(&heads->scratch);
}

/* Heads [first, first + count) of the state, from empty. */
static void attend(struct heads *heads, float *state, int first, int count, bool decode)
{
    const struct shape *shape = &heads->shape;
    const int64_t all = (int64_t)shape->kv_heads * shape->group;
    const int64_t head = (int64_t)first * shape->group;
    float *max = state + shape->tokens * all * HEAD_DIM;
    const size_t operand = heads->kernels->operand == DTYPE_F32 ? 4 : 2;
    const size_t record_bytes =
        attention_record_bytes(heads->kernels->cache, shape->kv_heads, HEAD_DIM);
    struct attention_args args = {
        .acc = state + head * HEAD_DIM,
        .max = max + head,
        .sum = max + shape->tokens * all + head,
        .acc_stride = all * HEAD_DIM,
        .row_stride = all,
        .queries = (char *)heads->queries.at + (size_t)(head * HEAD_DIM) * operand,
        .frame_stride = shape->tokens * all * HEAD_DIM,
        .query_stride = all * HEAD_DIM,
        .query_first = KEYS - shape->tokens,
        .tokens = shape->tokens,
        .kv_heads = count,
        .group = shape->group,
        .head_dim = HEAD_DIM,
        .panels = (char *)heads->panels.at +
                  (size_t)first * attention_head_bytes(heads->kernels->cache, HEAD_DIM),
        .record_stride = record_bytes,
        .panel_stride = 2 * record_bytes,
        .key_end = KEYS,
        .regimes = &heads->regimes,
        .scale_log2 = 0.3f,
        .scratch = heads->scratch.at,
    };
    if (decode)
        heads->kernels->attention_decode(&args);
    else
        heads->kernels->attention_prefill(&args);
    guarded_check(&heads->scratch);
}

static struct guarded empty_state(const struct shape *shape)
{
    struct guarded state = guarded_create(state_floats(shape) * sizeof(float), 0);
    const int64_t rows = shape->tokens * shape->kv_heads * shape->group;
    for (int64_t r = 0; r < rows; r++)
        ((float *)state.at)[rows * HEAD_DIM + r] = -INFINITY;
    return state;
}

static void heads_give(struct heads *heads, bool decode)
{
    const struct shape *shape = &heads->shape;
    struct guarded together = empty_state(shape), apart = empty_state(shape);
    attend(heads, together.at, 0, shape->kv_heads, decode);
    for (int head = 0; head < shape->kv_heads; head++)
        attend(heads, apart.at, head, 1, decode);
    guarded_check(&together);
    assert_memory_equal(together.at, apart.at, together.bytes);
    /* the last head's sum */
    assert_true(((float *)apart.at)[state_floats(shape) - 1] > 0);
    guarded_destroy(&together);
    guarded_destroy(&apart);
}

static void heads_together_give_the_bits_of_each_alone(void **unused)
{
    (void)unused;
    static const struct shape shapes[] = {{1, 3, 1}, {3, 3, 1},  {3, 3, 7},  {8, 4, 1},
                                          {8, 4, 5}, {30, 5, 1}, {40, 3, 2}, {2, 96, 3}};
    struct random random = {11};
    for (int s = 0; subjects_at(s); s++)
        for (size_t i = 0; i < sizeof shapes / sizeof *shapes; i++) {
            struct heads heads = heads_create(subjects_at(s), shapes[i], &random);
            heads_give(&heads, true);
            heads_give(&heads, false);
            heads_destroy(&heads);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_together_give_the_bits_of_each_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
