/* Training's attention on a GPU, forward and back, against the float64 truth of
 * tests/kernels/attention_gradient_case.h within what float32 sums and factors rounded to bf16 may
 * do; shared out among ranks, which have the keys that their rows see. Argument: a seed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels_cuda.h"
#include "tests/gpu/gpu_cases.h"
#include "tests/gpu/gpu_memory.h"
#include "tests/kernels/attention_gradient_case.h"
#include "tests/support/plan_methods.h"
#include "tests/support/unit.h"

enum { LONGEST = 400, KV_HEADS = 2, PANEL = 2 * KERNELS_CUDA_TRAIN_KEYS, POISON = 0xff };

static struct random seed;

/* The case of each KV head: the same pairs, other numbers. */
struct heads {
    struct gradient_case c[KV_HEADS];
    struct gradient_truth truth[KV_HEADS];
    struct gradient_result result[KV_HEADS];
    struct regimes regimes;
};

/* Rows and keys of one rank, by index. */
struct share {
    int64_t rows, keys;
    int64_t row[LONGEST], key[LONGEST];
    int64_t place[LONGEST]; /* of a key that it has */
};

/* ---- what a rank has ---- */

static bool row_is_mine(int64_t index, int rank, int ranks)
{
    return index / PANEL % ranks == rank;
}

static bool sees_panel(const struct heads *heads, int64_t panel, int rank, int ranks)
{
    const int64_t tokens = heads->c[0].tokens;
    const struct span keys = {panel * PANEL, regimes_smaller((panel + 1) * PANEL, tokens)};
    for (int64_t i = keys.first; i < tokens; i++)
        if (row_is_mine(i, rank, ranks) &&
            attention_spans_meet(&heads->regimes, heads->c[0].positions, (struct span){i, i + 1},
                                 keys))
            return true;
    return false;
}

static void deal(struct share *share, const struct heads *heads, int rank, int ranks)
{
    share->rows = share->keys = 0;
    for (int64_t i = 0; i < heads->c[0].tokens; i++) {
        if (row_is_mine(i, rank, ranks))
            share->row[share->rows++] = i;
        if (ranks > 1 && !sees_panel(heads, i / PANEL, rank, ranks))
            continue;
        share->place[i] = share->keys;
        share->key[share->keys++] = i;
    }
}

/* first and end of each regime and row, one behind the other. */
static struct gpu_memory sight_of(const struct heads *heads, const struct share *share)
{
    const struct gradient_case *c = &heads->c[0];
    const int64_t count = heads->regimes.count * share->rows;
    int32_t *ranges = calloc((size_t)(2 * count), sizeof *ranges);
    int32_t first[LONGEST], end[LONGEST];
    assert_non_null(ranges);
    for (int32_t g = 0; g < heads->regimes.count; g++) {
        attention_spans_ranges(first, end, &heads->regimes.list[g], c->positions,
                               (struct span){0, c->tokens}, (struct span){0, c->tokens});
        for (int64_t r = 0; r < share->rows; r++) {
            const int64_t i = share->row[r];
            if (first[i] == end[i])
                continue;
            ranges[g * share->rows + r] = (int32_t)share->place[first[i]];
            ranges[count + g * share->rows + r] = (int32_t)share->place[end[i] - 1] + 1;
        }
    }
    const struct gpu_memory memory =
        gpu_memory_create((size_t)(2 * count) * sizeof *ranges, ranges, 0);
    free(ranges);
    return memory;
}

/* ---- to the GPU and back ---- */

/* [frames][count of `tokens`, KV_HEADS, width] from the cases' [frames][all tokens, width]. */
static struct gpu_memory bf16_on_gpu(double *const x[KV_HEADS], int frames, int64_t all,
                                     const int64_t *tokens, int64_t count, int64_t width)
{
    const int64_t row = KV_HEADS * width;
    uint16_t *values = calloc((size_t)(frames * count * row + 1), sizeof *values);
    assert_non_null(values);
    for (int64_t f = 0; f < frames; f++)
        for (int64_t r = 0; r < count; r++)
            for (int64_t d = 0; d < row; d++)
                values[(f * count + r) * row + d] = dtype_bf16_from_f32(
                    (float)x[d / width][(f * all + tokens[r]) * width + d % width]);
    const struct gpu_memory memory =
        gpu_memory_create((size_t)(frames * count * row) * sizeof *values, values, 0);
    free(values);
    return memory;
}

static struct gpu_memory floats_for(int64_t count)
{
    return gpu_memory_create((size_t)count * sizeof(float), NULL, POISON);
}

/* The way back of bf16_on_gpu, added to what is there: float32. */
static void take(float *const x[KV_HEADS], struct gpu_memory *memory, int frames, int64_t all,
                 const int64_t *tokens, int64_t count, int64_t width)
{
    const int64_t row = KV_HEADS * width;
    float *values = malloc(memory->bytes + 1);
    assert_non_null(values);
    gpu_memory_read(memory, values);
    for (int64_t f = 0; f < frames; f++)
        for (int64_t r = 0; r < count; r++)
            for (int64_t d = 0; d < row; d++)
                x[d / width][(f * all + tokens[r]) * width + d % width] +=
                    values[(f * count + r) * row + d];
    free(values);
    gpu_memory_destroy(memory);
}

/* [rows, KV_HEADS, group] from truth's [tokens, group], as float32. */
static struct gpu_memory states_on_gpu(const struct gradient_numbers *const x[KV_HEADS],
                                       const struct share *share, int group)
{
    const int64_t heads = KV_HEADS * group;
    float *values = calloc((size_t)(share->rows * heads + 1), sizeof *values);
    assert_non_null(values);
    for (int64_t r = 0; r < share->rows; r++)
        for (int64_t h = 0; h < heads; h++)
            values[r * heads + h] = (float)x[h / group]->value[share->row[r] * group + h % group];
    const struct gpu_memory memory =
        gpu_memory_create((size_t)(share->rows * heads) * sizeof *values, values, 0);
    free(values);
    return memory;
}

/* ---- a rank's part ---- */

struct on_gpu {
    struct gpu_memory ranges, q, k, v, dout, logsumexp, dot;
    struct gpu_memory out, out_logsumexp, dq, dk, dv;
};

static struct on_gpu upload(const struct heads *heads, const struct share *share)
{
    const struct gradient_case *c = heads->c;
    const struct gradient_truth *truth = heads->truth;
    const int64_t width = c->head_dim, wide = c->group * width, tokens = c->tokens;
    const int queries = c->bands.query_frames, keys = c->bands.key_frames;
    return (struct on_gpu){
        .ranges = sight_of(heads, share),
        .q = bf16_on_gpu((double *[]){c[0].q, c[1].q}, queries, tokens, share->row, share->rows,
                         wide),
        .k =
            bf16_on_gpu((double *[]){c[0].k, c[1].k}, keys, tokens, share->key, share->keys, width),
        .v = bf16_on_gpu((double *[]){c[0].v, c[1].v}, 1, tokens, share->key, share->keys, width),
        .dout = bf16_on_gpu((double *[]){c[0].dout, c[1].dout}, 1, tokens, share->row, share->rows,
                            wide),
        .logsumexp = states_on_gpu(
            (const struct gradient_numbers *[]){&truth[0].logsumexp, &truth[1].logsumexp}, share,
            c->group),
        .dot = states_on_gpu((const struct gradient_numbers *[]){&truth[0].dot, &truth[1].dot},
                             share, c->group),
        .out = floats_for(share->rows * KV_HEADS * wide),
        .out_logsumexp = floats_for(share->rows * KV_HEADS * c->group),
        .dq = floats_for(queries * share->rows * KV_HEADS * wide),
        .dk = floats_for(keys * share->keys * KV_HEADS * width),
        .dv = floats_for(share->keys * KV_HEADS * width),
    };
}

static struct kernels_cuda_operands operands_of(const struct heads *heads,
                                                const struct share *share, const struct on_gpu *on)
{
    const struct gradient_case *c = heads->c;
    struct kernels_cuda_operands operands = {
        .sight = {.count = heads->regimes.count,
                  .first = on->ranges.at,
                  .end = (int32_t *)on->ranges.at + heads->regimes.count * share->rows},
        .q = on->q.at,
        .q_frame_stride = share->rows * KV_HEADS * c->group * c->head_dim,
        .k = on->k.at,
        .k_frame_stride = share->keys * KV_HEADS * c->head_dim,
        .v = on->v.at,
        .query_frames = c->bands.query_frames,
        .key_frames = c->bands.key_frames,
        .rows = share->rows,
        .keys = share->keys,
        .heads = KV_HEADS * c->group,
        .kv_heads = KV_HEADS,
        .head_dim = c->head_dim,
        .scale_log2 = c->scale_log2,
    };
    for (int32_t g = 0; g < heads->regimes.count; g++) {
        operands.sight.query_frame[g] = heads->regimes.list[g].query_frame;
        operands.sight.key_frame[g] = heads->regimes.list[g].key_frame;
    }
    return operands;
}

static void download(struct heads *heads, const struct share *share, struct on_gpu *on)
{
    const struct gradient_case *c = heads->c;
    struct gradient_result *a = &heads->result[0], *b = &heads->result[1];
    const int64_t width = c->head_dim, wide = c->group * width, tokens = c->tokens;
    const int queries = c->bands.query_frames, keys = c->bands.key_frames;
    take((float *[]){a->out, b->out}, &on->out, 1, tokens, share->row, share->rows, wide);
    take((float *[]){a->logsumexp, b->logsumexp}, &on->out_logsumexp, 1, tokens, share->row,
         share->rows, c->group);
    take((float *[]){a->dq, b->dq}, &on->dq, queries, tokens, share->row, share->rows, wide);
    take((float *[]){a->dk, b->dk}, &on->dk, keys, tokens, share->key, share->keys, width);
    take((float *[]){a->dv, b->dv}, &on->dv, 1, tokens, share->key, share->keys, width);
    struct gpu_memory *const read[] = {&on->ranges, &on->q,         &on->k,  &on->v,
                                       &on->dout,   &on->logsumexp, &on->dot};
    for (int m = 0; m < 7; m++)
        gpu_memory_destroy(read[m]);
}

static void run_share(struct heads *heads, const struct share *share, bool head_by_head)
{
    const struct kernels_cuda *kernels = kernels_cuda_find();
    struct on_gpu on = upload(heads, share);
    struct kernels_cuda_attention_train forward = {operands_of(heads, share, &on), on.out.at,
                                                   on.out_logsumexp.at};
    struct kernels_cuda_attention_gradient back = {
        forward.operands, on.dout.at, on.logsumexp.at, on.dot.at, on.dq.at, on.dk.at, on.dv.at};
    for (int part = 0; part < (head_by_head ? KV_HEADS : 1); part++) {
        if (head_by_head)
            forward.operands.computed = (struct kernels_cuda_heads){part, part + 1};
        back.operands = forward.operands;
        gpu_memory_settle("attention_train", kernels->attention_train(&forward, NULL));
        gpu_memory_settle("attention_gradient", kernels->attention_gradient(&back, NULL));
    }
    download(heads, share, &on);
}

/* ---- cases ---- */

static float *zeros(int64_t count)
{
    float *x = calloc((size_t)count, sizeof *x);
    assert_non_null(x);
    return x;
}

static void run(struct heads *heads, int ranks, bool head_by_head)
{
    for (int h = 0; h < KV_HEADS; h++) {
        const struct gradient_truth *truth = &heads->truth[h];
        heads->result[h] = (struct gradient_result){
            zeros(truth->out.count), zeros(truth->logsumexp.count), zeros(truth->dq.count),
            zeros(truth->dk.count), zeros(truth->dv.count)};
    }
    for (int rank = 0; rank < ranks; rank++) {
        struct share share;
        deal(&share, heads, rank, ranks);
        run_share(heads, &share, head_by_head);
    }
}

static void round_operands(struct gradient_case *c)
{
    const int64_t rows = c->tokens * c->group * c->head_dim, keys = c->tokens * c->head_dim;
    double *const arrays[] = {c->q, c->k, c->v, c->dout};
    const int64_t counts[] = {c->bands.query_frames * rows, c->bands.key_frames * keys, keys, rows};
    for (int a = 0; a < 4; a++)
        for (int64_t i = 0; i < counts[a]; i++)
            arrays[a][i] = (double)dtype_f32_from_bf16(dtype_bf16_from_f32((float)arrays[a][i]));
}

/* Forward, a row has the same bits however many ranks there are. */
static void expect_same_bits(const float *a, const float *b, int64_t count)
{
    assert_memory_equal(a, b, (size_t)count * sizeof *a);
}

/* On one rank, and on `most_ranks`. */
static void check(const struct gradient_case *asked, int most_ranks, bool head_by_head)
{
    struct heads heads;
    float *alone[KV_HEADS];
    regimes_make(&heads.regimes, &asked->bands);
    for (int h = 0; h < KV_HEADS; h++) {
        heads.c[h] = *asked;
        gradient_case_create(&heads.c[h]);
        gradient_case_randomise(&heads.c[h], &seed);
        round_operands(&heads.c[h]);
        gradient_truth_create(&heads.truth[h], &heads.c[h]);
    }
    for (int n = 0; n < 2; n++) {
        const int ranks = n ? most_ranks : 1;
        run(&heads, ranks, head_by_head);
        for (int h = 0; h < KV_HEADS; h++) {
            const int64_t count = heads.truth[h].out.count;
            gradient_result_check(&heads.result[h], &heads.truth[h]);
            if (n > 0)
                expect_same_bits(heads.result[h].out, alone[h], count);
            else
                alone[h] = memcpy(zeros(count), heads.result[h].out, (size_t)count * sizeof(float));
            gradient_result_destroy(&heads.result[h]);
        }
    }
    for (int h = 0; h < KV_HEADS; h++) {
        free(alone[h]);
        gradient_truth_destroy(&heads.truth[h]);
        gradient_case_destroy(&heads.c[h]);
    }
}

static void check_method(const char *spelling, int64_t tokens, int64_t jump, int group,
                         int head_dim, int ranks, bool head_by_head)
{
    const struct method method = plan_methods_parse(spelling);
    int32_t positions[LONGEST];
    for (int t = 0; t < LONGEST; t++)
        positions[t] = (int32_t)(t + t / 9 * jump);
    struct gradient_case c = {
        .tokens = tokens,
        .group = group,
        .head_dim = head_dim,
        .positions = positions,
        .scale_log2 = 1.442695f / sqrtf((float)head_dim),
        .tile = KERNELS_CUDA_TRAIN_KEYS,
        .factor_rounding = 0x1p-8,
    };
    method_bands(&method, &c.bands);
    printf("%s, %lld tokens, jumps of %lld, group %d, head_dim %d\n", spelling, (long long)tokens,
           (long long)jump, group, head_dim);
    check(&c, ranks, head_by_head);
}

static void every_shape_is_within_its_bound(void **unused)
{
    (void)unused;
    static const struct {
        const char *spelling;
        int64_t tokens, jump;
        int group, head_dim;
    } cases[] = {
        {"rope", 1, 0, 1, 16},
        {"rope", 250, 0, 2, 64},
        {"rope", 97, 3, 3, 48},
        {"string:shift=60,local=7", 200, 0, 2, 80},
        {"string:shift=60,local=7", 111, 5, 5, 64},
        {"lm_infinite:window=30,sinks=3,ceiling=30", 180, 0, 2, 128},
        {"lm_infinite:window=30,sinks=3,ceiling=30", 150, 4, 1, 256},
        {"streaming_llm:window=20,sinks=4", 320, 2, 3, 64},
        {"dca:chunk=48,local=16", 190, 1, 1, 112},
        {"rerope:window=50", 130, 0, 9, 16},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_method(cases[i].spelling, cases[i].tokens, cases[i].jump, cases[i].group,
                     cases[i].head_dim, 3, i % 2);
}

static void every_method_is_within_its_bound(void **unused)
{
    (void)unused;
    for (int m = 0; m < plan_methods_count; m++)
        check_method(plan_methods[m].spelling, 110, m % 2 ? 3 : 0, 1 + m % 2, 32, 2, false);
}

static void what_it_has_no_kernel_for_is_refused(void **unused)
{
    (void)unused;
    const struct kernels_cuda *kernels = kernels_cuda_find();
    const struct kernels_cuda_operands fits = {
        .query_frames = 1, .key_frames = 1, .heads = 4, .kv_heads = 2, .head_dim = 64};
    struct kernels_cuda_attention_train args = {.operands = fits};
    assert_int_equal(kernels->attention_train(&args, NULL), 0); /* no rows */
    args.operands.head_dim = 72;
    assert_int_equal(kernels->attention_train(&args, NULL), 1);
    args.operands.head_dim = ATTENTION_HEAD_DIM_MAX + 16;
    assert_int_equal(kernels->attention_train(&args, NULL), 1);
    struct kernels_cuda_attention_gradient back = {.operands = fits};
    assert_int_equal(kernels->attention_gradient(&back, NULL), 0);
    back.operands.kv_heads = 3;
    assert_int_equal(kernels->attention_gradient(&back, NULL), 1);
    back.operands = fits;
    back.operands.computed = (struct kernels_cuda_heads){1, 3};
    assert_int_equal(kernels->attention_gradient(&back, NULL), 1);
}

/* The refusals come last. */
int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_shape_is_within_its_bound),
        cmocka_unit_test(every_method_is_within_its_bound),
        cmocka_unit_test(what_it_has_no_kernel_for_is_refused),
    };
    if (!gpu_memory_present())
        return GPU_ABSENT;
    seed.state = count > 1 ? strtoull(arguments[1], NULL, 0) : GPU_CASES_SEED;
    printf("seed %llu\n", (unsigned long long)seed.state);
    const size_t cases = sizeof tests / sizeof tests[0] - !GPU_REFUSES;
    return _cmocka_run_group_tests("attention_gradient", tests, cases, NULL, NULL);
}
