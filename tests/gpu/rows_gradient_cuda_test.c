/* Training's kernels on rows on a GPU against float64, within what the roundings of each formula
 * and the additions of each sum may do; and their fixed sequence: the same call gives the same
 * bits. Fresh data, poisoned outputs between canaries. Argument: a seed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "kernels/kernels_cuda.h"
#include "tests/gpu/gpu_cases.h"
#include "tests/gpu/gpu_memory.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

enum { POISON = 0xff };

static const double U = 0x1p-24;

/* Relative errors of CUDA's expf and division, in units of U, with room for the host's. */
static const double EXP = 4, DIVIDE = 4;

static struct random seed;

static float *normals(int64_t count)
{
    float *values = malloc((size_t)(count + 1) * sizeof *values);
    assert_non_null(values);
    for (int64_t i = 0; i < count; i++)
        values[i] = random_normal(&seed);
    return values;
}

static struct gpu_memory on_gpu(const float *values, int64_t count)
{
    return gpu_memory_create((size_t)count * sizeof(float), values, POISON);
}

/* Of what is no longer needed on the GPU: its numbers. */
static void *taken(struct gpu_memory *memory)
{
    void *values = malloc(memory->bytes + 1);
    assert_non_null(values);
    gpu_memory_read(memory, values);
    gpu_memory_destroy(memory);
    return values;
}

static void expect_within(double got, double want, double bound)
{
    if (!(fabs(got - want) <= 1.01 * bound)) /* bounds are of the first order */
        fail_msg("%.9g where %.9g is due (bound %.3g)", got, want, bound);
}

/* ---- rmsnorm ---- */

struct norm_case {
    int64_t rows, width, stride;
    int heads;
    bool accumulate, in_place;
    float *dy, *x, *weight, *before, *dweight;
};

/* *scale and *mean of one row, and their relative and absolute errors. */
static void norm_of(const struct norm_case *c, int64_t at, double *scale, double *mean,
                    double *scale_error, double *mean_error)
{
    double squares = 0, along = 0, size = 0;
    for (int64_t i = 0; i < c->width; i++) {
        const double term = (double)c->dy[at + i] * c->weight[i] * c->x[at + i];
        squares += (double)c->x[at + i] * c->x[at + i];
        along += term;
        size += fabs(term);
    }
    const double additions = (double)c->width / 32 + 16;
    *scale = 1 / sqrt(squares / (double)c->width + (double)1e-5f);
    *scale_error = (additions / 2 + DIVIDE + 4) * U;
    *mean = along / (double)c->width * *scale * *scale;
    *mean_error = (additions + DIVIDE + 4) * U * size / (double)c->width * *scale * *scale +
                  2 * *scale_error * fabs(*mean);
}

static void expect_norm(const struct norm_case *c, const float *dx, const float *dweight)
{
    double *sums = calloc((size_t)(3 * c->width), sizeof *sums);
    assert_non_null(sums);
    for (int64_t r = 0; r < c->rows * c->heads; r++) {
        const int64_t at = r / c->heads * c->stride + r % c->heads * c->width;
        double scale, mean, scale_error, mean_error;
        norm_of(c, at, &scale, &mean, &scale_error, &mean_error);
        for (int64_t i = 0; i < c->width; i++) {
            const double dy = c->dy[at + i], x = c->x[at + i], first = dy * c->weight[i];
            const double base = c->accumulate ? c->before[at + i] : 0;
            const double want = scale * (first - x * mean);
            expect_within(dx[at + i], base + want,
                          scale * (fabs(first) + fabs(x * mean)) * (scale_error + 4 * U) +
                              scale * fabs(x) * mean_error + U * (fabs(base) + fabs(want)));
            sums[i] += dy * x * scale;
            sums[c->width + i] += fabs(dy * x * scale) * (scale_error + 2 * U);
            sums[2 * c->width + i] += fabs(dy * x * scale);
        }
    }
    for (int64_t i = 0; i < c->width; i++) {
        const double size = fabs((double)c->dweight[i]) + sums[2 * c->width + i];
        const double additions = (double)(KERNELS_CUDA_NORM_ROWS * c->heads + 64);
        expect_within(dweight[i], c->dweight[i] + sums[i],
                      sums[c->width + i] + additions * U * size);
    }
    free(sums);
}

static void check_norm(struct norm_case *c)
{
    const int64_t count = c->rows * c->stride;
    c->dy = normals(count);
    c->x = normals(count);
    c->weight = normals(c->width);
    c->before = normals(count);
    c->dweight = normals(c->width);
    float *first_dx = NULL;
    for (int repeat = 0; repeat < 2; repeat++) {
        struct gpu_memory dy = on_gpu(c->dy, count), x = on_gpu(c->x, count);
        struct gpu_memory weight = on_gpu(c->weight, c->width), dx = on_gpu(c->before, count);
        struct gpu_memory dweight = on_gpu(c->dweight, c->width);
        struct gpu_memory partial = on_gpu(NULL, kernels_cuda_norm_parts(c->rows) * c->width);
        const struct kernels_cuda_rmsnorm_gradient args = {
            .dx = c->in_place ? dy.at : dx.at,
            .dweight = dweight.at,
            .partial = partial.at,
            .dy = dy.at,
            .x = x.at,
            .stride = c->stride,
            .weight = weight.at,
            .rows = c->rows,
            .heads = c->heads,
            .width = c->width,
            .eps = 1e-5f,
            .accumulate = c->accumulate,
        };
        gpu_memory_settle("rmsnorm_gradient", kernels_cuda_find()->rmsnorm_gradient(&args, NULL));
        float *got = taken(c->in_place ? &dy : &dx), *got_weight = taken(&dweight);
        gpu_memory_destroy(c->in_place ? &dx : &dy);
        gpu_memory_destroy(&x);
        gpu_memory_destroy(&weight);
        gpu_memory_destroy(&partial);
        for (int64_t r = 0; r < c->rows; r++) /* what lies behind the heads is not touched */
            for (int64_t i = c->heads * c->width; i < c->stride; i++)
                assert_true(got[r * c->stride + i] ==
                            (c->in_place ? c->dy : c->before)[r * c->stride + i]);
        expect_norm(c, got, got_weight);
        if (first_dx)
            assert_memory_equal(first_dx, got, (size_t)count * sizeof *got);
        free(first_dx);
        first_dx = got;
        free(got_weight);
    }
    free(first_dx);
    free(c->dy);
    free(c->x);
    free(c->weight);
    free(c->before);
    free(c->dweight);
}

static void norms_give_rows_and_weights(void **unused)
{
    (void)unused;
    struct norm_case cases[] = {
        {.rows = 1, .width = 4, .stride = 4, .heads = 1},
        {.rows = 130, .width = 576, .stride = 576, .heads = 1, .accumulate = true},
        {.rows = 64, .width = 300, .stride = 300, .heads = 1, .in_place = true},
        {.rows = 67, .width = 64, .stride = 5 * 64, .heads = 3, .in_place = true},
        {.rows = 3, .width = 256, .stride = 2 * 256, .heads = 2},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        check_norm(&cases[i]);
}

/* ---- sums ---- */

static void columns_are_added_to_what_is_there(void **unused)
{
    (void)unused;
    static const int64_t shapes[][3] = {{1, 1, 1}, {70, 33, 40}, {300, 100, 100}, {31, 64, 65}};
    for (int n = 0; n < 4; n++) {
        const int64_t rows = shapes[n][0], width = shapes[n][1], stride = shapes[n][2];
        float *x = normals(rows * stride), *before = normals(width);
        struct gpu_memory x_at = on_gpu(x, rows * stride), sums = on_gpu(before, width);
        const struct kernels_cuda_column_sums args = {sums.at, x_at.at, stride, rows, width};
        gpu_memory_settle("column_sums", kernels_cuda_find()->column_sums(&args, NULL));
        float *got = taken(&sums);
        for (int64_t i = 0; i < width; i++) {
            double want = before[i], size = fabs(want);
            for (int64_t r = 0; r < rows; r++) {
                want += (double)x[r * stride + i];
                size += fabs((double)x[r * stride + i]);
            }
            expect_within(got[i], want, (double)(rows / 32 + 34) * U * size);
        }
        gpu_memory_destroy(&x_at);
        free(x);
        free(before);
        free(got);
    }
}

static void an_embedding_gets_its_rows_in_their_sequence(void **unused)
{
    (void)unused;
    enum { VOCAB = 9, ROWS = 11, WIDTH = 300, TOKENS = 3 };
    static const int32_t ids[TOKENS] = {1, 4, 8}, first[TOKENS + 1] = {0, 5, 6, ROWS};
    static const int32_t order[ROWS] = {0, 3, 4, 7, 10, 1, 2, 5, 6, 8, 9};
    float *dy = normals(ROWS * WIDTH), *want = normals(VOCAB * WIDTH);
    struct gpu_memory dy_at = on_gpu(dy, ROWS * WIDTH), dweight = on_gpu(want, VOCAB * WIDTH);
    struct gpu_memory ids_at = gpu_memory_create(sizeof ids, ids, 0);
    struct gpu_memory first_at = gpu_memory_create(sizeof first, first, 0);
    struct gpu_memory order_at = gpu_memory_create(sizeof order, order, 0);
    const struct kernels_cuda_embed_gradient args = {dweight.at,  dy_at.at, ids_at.at, first_at.at,
                                                     order_at.at, TOKENS,   WIDTH};
    gpu_memory_settle("embed_gradient", kernels_cuda_find()->embed_gradient(&args, NULL));
    for (int t = 0; t < TOKENS; t++)
        for (int32_t r = first[t]; r < first[t + 1]; r++)
            for (int i = 0; i < WIDTH; i++)
                want[ids[t] * WIDTH + i] += dy[order[r] * WIDTH + i];
    float *got = taken(&dweight);
    assert_memory_equal(got, want, VOCAB * WIDTH * sizeof *want);
    struct gpu_memory *const read[] = {&dy_at, &ids_at, &first_at, &order_at};
    for (int m = 0; m < 4; m++)
        gpu_memory_destroy(read[m]);
    free(got);
    free(dy);
    free(want);
}

/* ---- element by element ---- */

static void swiglu_goes_back_to_gate_and_up(void **unused)
{
    (void)unused;
    enum { COUNT = 1001 };
    float *dy = normals(COUNT), *gate = normals(COUNT), *up = normals(COUNT);
    gate[0] = 100;
    gate[1] = -100;
    struct gpu_memory dy_at = on_gpu(dy, COUNT), gate_at = on_gpu(gate, COUNT);
    struct gpu_memory up_at = on_gpu(up, COUNT);
    const struct kernels_cuda_swiglu_gradient args = {gate_at.at, dy_at.at, dy_at.at,
                                                      gate_at.at, up_at.at, COUNT};
    gpu_memory_settle("swiglu_gradient", kernels_cuda_find()->swiglu_gradient(&args, NULL));
    float *dgate = taken(&gate_at), *dup = taken(&dy_at);
    for (int i = 0; i < COUNT; i++) {
        const double g = gate[i], t = 1 / (1 + exp(-g)), flow = (double)dy[i] * up[i];
        const double part = (EXP + DIVIDE + 2) * U; /* of t */
        expect_within(dgate[i], flow * t * (1 + g * (1 - t)),
                      fabs(flow) * t * (part * (1 + fabs(g)) + 6 * U * (1 + fabs(g))) + 0x1p-126);
        expect_within(dup[i], (double)dy[i] * g * t,
                      fabs((double)dy[i] * g) * t * (part + 3 * U) + 0x1p-126);
    }
    gpu_memory_destroy(&up_at);
    free(dy);
    free(gate);
    free(up);
    free(dgate);
    free(dup);
}

static void numbers_are_added_wherever_they_lie(void **unused)
{
    (void)unused;
    enum { COUNT = 515 };
    float *sum = normals(COUNT), *x = normals(COUNT);
    struct gpu_memory sum_at = on_gpu(sum, COUNT), x_at = on_gpu(x, COUNT);
    const struct kernels_cuda_add args = {(float *)sum_at.at + 1, (float *)x_at.at + 2, COUNT - 2};
    gpu_memory_settle("add", kernels_cuda_find()->add(&args, NULL));
    float *got = taken(&sum_at);
    for (int i = 0; i < COUNT; i++)
        assert_true(got[i] == (i >= 1 && i < COUNT - 1 ? sum[i] + x[i + 1] : sum[i]));
    gpu_memory_destroy(&x_at);
    free(sum);
    free(x);
    free(got);
}

static void rows_are_rounded_to_operands(void **unused)
{
    (void)unused;
    enum { ROWS = 7, WIDTH = 36, STRIDE = 44 };
    float *x = normals(ROWS * STRIDE);
    struct gpu_memory x_at = on_gpu(x, ROWS * STRIDE);
    struct gpu_memory out = gpu_memory_create(ROWS * WIDTH * 2, NULL, POISON);
    const struct kernels_cuda_round args = {out.at, DTYPE_BF16, x_at.at, STRIDE, ROWS, WIDTH};
    gpu_memory_settle("round", kernels_cuda_find()->round(&args, NULL));
    uint16_t *got = taken(&out);
    for (int i = 0; i < ROWS * WIDTH; i++)
        assert_int_equal(got[i], dtype_bf16_from_f32(x[i / WIDTH * STRIDE + i % WIDTH]));
    gpu_memory_destroy(&x_at);
    free(x);
    free(got);
}

static void rows_are_copied_between_strides(void **unused)
{
    (void)unused;
    enum { ROWS = 7, WIDTH = 36, FROM = 44, TO = 40 };
    float *x = normals(ROWS * FROM), *before = normals(ROWS * TO);
    struct gpu_memory x_at = on_gpu(x, ROWS * FROM), out = on_gpu(before, ROWS * TO);
    const struct kernels_cuda_copy_rows args = {out.at, TO, x_at.at, FROM, ROWS, WIDTH};
    gpu_memory_settle("copy_rows", kernels_cuda_find()->copy_rows(&args, NULL));
    float *got = taken(&out);
    for (int i = 0; i < ROWS * TO; i++)
        assert_true(got[i] == (i % TO < WIDTH ? x[i / TO * FROM + i % TO] : before[i]));
    gpu_memory_destroy(&x_at);
    free(x);
    free(before);
    free(got);
}

static void rotation_is_undone_over_all_frames(void **unused)
{
    (void)unused;
    enum { FRAMES = 3, ROWS = 5, HEADS = 2, WIDTH = 32, HALF = WIDTH / 2, ROW = HEADS * WIDTH };
    enum { STRIDE = ROW + 8, TABLE = ROWS * WIDTH, FRAME = ROWS * ROW + 16 };
    float *x = normals(FRAMES * FRAME), *table = normals(FRAMES * TABLE);
    struct gpu_memory x_at = on_gpu(x, FRAMES * FRAME), table_at = on_gpu(table, FRAMES * TABLE);
    float *before = normals(ROWS * STRIDE);
    struct gpu_memory out = on_gpu(before, ROWS * STRIDE);
    const struct kernels_cuda_rope_gradient args = {
        .out = out.at,
        .out_stride = STRIDE,
        .x = x_at.at,
        .frame_stride = FRAME,
        .table = table_at.at,
        .table_stride = TABLE,
        .frame_count = FRAMES,
        .rows = ROWS,
        .heads = HEADS,
        .head_dim = WIDTH,
    };
    gpu_memory_settle("rope_gradient", kernels_cuda_find()->rope_gradient(&args, NULL));
    float *got = taken(&out);
    for (int64_t r = 0; r < ROWS; r++)
        for (int64_t d = 0; d < STRIDE; d++) {
            const int64_t p = d % HALF, low = r * ROW + d / WIDTH * WIDTH + p;
            double want = 0, size = 0;
            for (int64_t f = 0; d < ROW && f < FRAMES; f++) {
                const double a = x[f * FRAME + low], b = x[f * FRAME + low + HALF];
                const double cosine = table[f * TABLE + (r * HALF + p) * 2];
                const double sine = table[f * TABLE + (r * HALF + p) * 2 + 1];
                want += d % WIDTH < HALF ? a * cosine + b * sine : b * cosine - a * sine;
                size +=
                    fabs(a) * (fabs(cosine) + fabs(sine)) + fabs(b) * (fabs(cosine) + fabs(sine));
            }
            if (d >= ROW)
                assert_true(got[r * STRIDE + d] == before[r * STRIDE + d]);
            else
                expect_within(got[r * STRIDE + d], want, (2 * FRAMES + 1) * U * size);
        }
    gpu_memory_destroy(&x_at);
    gpu_memory_destroy(&table_at);
    free(x);
    free(table);
    free(before);
    free(got);
}

static void dots_of_rows(void **unused)
{
    (void)unused;
    static const int widths[] = {16, 48, 128, 256};
    for (int n = 0; n < 4; n++) {
        const int64_t rows = 5 + 8 * n, width = widths[n];
        float *a = normals(rows * width), *b = normals(rows * width);
        struct gpu_memory a_at = on_gpu(a, rows * width), b_at = on_gpu(b, rows * width);
        struct gpu_memory dot = on_gpu(NULL, rows);
        const struct kernels_cuda_attention_dots args = {dot.at, a_at.at, b_at.at, rows,
                                                         (int)width};
        gpu_memory_settle("attention_dots", kernels_cuda_find()->attention_dots(&args, NULL));
        float *got = taken(&dot);
        for (int64_t r = 0; r < rows; r++) {
            double want = 0, size = 0;
            for (int64_t i = r * width; i < (r + 1) * width; i++) {
                want += (double)a[i] * b[i];
                size += fabs((double)a[i] * b[i]);
            }
            expect_within(got[r], want, (double)(width / 32 + 8) * U * size);
        }
        gpu_memory_destroy(&a_at);
        gpu_memory_destroy(&b_at);
        free(a);
        free(b);
        free(got);
    }
}

/* ---- the loss and the optimiser ---- */

static void logits_become_their_gradients(void **unused)
{
    (void)unused;
    enum { ROWS = 5, WIDTH = 1500, LOST = 3 };
    static const int32_t targets[ROWS] = {0, WIDTH - 1, -1, 7, 800};
    const float weight = 0.125f;
    float *logits = normals(ROWS * WIDTH);
    for (int i = 0; i < WIDTH; i++)
        logits[4 * WIDTH + i] *= 30;
    logits[LOST * WIDTH + 600] = INFINITY;
    struct gpu_memory at = on_gpu(logits, ROWS * WIDTH);
    struct gpu_memory targets_at = gpu_memory_create(sizeof targets, targets, 0);
    struct gpu_memory losses = gpu_memory_create(ROWS * sizeof(double), NULL, POISON);
    const struct kernels_cuda_cross_entropy args = {at.at, losses.at, targets_at.at,
                                                    ROWS,  WIDTH,     weight};
    gpu_memory_settle("cross_entropy", kernels_cuda_find()->cross_entropy(&args, NULL));
    float *got = taken(&at);
    double *loss = taken(&losses);
    for (int r = 0; r < ROWS; r++) {
        const float *row = logits + r * WIDTH;
        double top = -INFINITY, sum = 0, range = 0;
        for (int i = 0; i < WIDTH; i++)
            top = fmax(top, (double)row[i]);
        for (int i = 0; i < WIDTH; i++) {
            sum += exp((double)row[i] - top);
            range = fmax(range, top - (double)row[i]);
        }
        /* An exponential's argument is rounded, and so is it; then WIDTH / 512 additions and 26. */
        const double each = (range + EXP + DIVIDE + 32) * U;
        for (int i = 0; i < WIDTH; i++) {
            const double p = exp((double)row[i] - top) / sum, is = i == targets[r];
            if (r == LOST)
                assert_true(isnan(got[r * WIDTH + i]));
            else if (targets[r] < 0)
                assert_true(got[r * WIDTH + i] == 0);
            else
                expect_within(got[r * WIDTH + i], (p - is) * (double)weight,
                              (2 * each * p + 2 * U) * (double)weight);
        }
        if (r == LOST)
            assert_true(isnan(loss[r]));
        else
            expect_within(loss[r], targets[r] < 0 ? 0 : log(sum) + top - (double)row[targets[r]],
                          each);
    }
    gpu_memory_destroy(&targets_at);
    free(logits);
    free(got);
    free(loss);
}

static void squares_are_added_in_float64(void **unused)
{
    (void)unused;
    const int64_t count = KERNELS_CUDA_SQUARES + 1000;
    float *x = normals(count);
    struct gpu_memory x_at = on_gpu(x, count);
    struct gpu_memory sums = gpu_memory_create(2 * sizeof(double), NULL, POISON);
    assert_int_equal(kernels_cuda_squares_sums(count), 2);
    const struct kernels_cuda_squares args = {sums.at, x_at.at, count};
    gpu_memory_settle("squares", kernels_cuda_find()->squares(&args, NULL));
    double *got = taken(&sums), want[2] = {0, 0};
    for (int64_t i = 0; i < count; i++)
        want[i / KERNELS_CUDA_SQUARES] += (double)x[i] * (double)x[i];
    for (int s = 0; s < 2; s++)
        expect_within(got[s], want[s], (double)KERNELS_CUDA_SQUARES * 0x1p-52 * want[s]);
    gpu_memory_destroy(&x_at);
    free(x);
    free(got);
}

static void adamw_takes_a_step(void **unused)
{
    (void)unused;
    enum { COUNT = 777 };
    float *weights = normals(COUNT), *moment = normals(COUNT), *variance = normals(COUNT);
    float *gradient = normals(COUNT);
    for (int i = 0; i < COUNT; i++)
        variance[i] *= variance[i];
    struct gpu_memory w = on_gpu(weights, COUNT), m = on_gpu(moment, COUNT);
    struct gpu_memory v = on_gpu(variance, COUNT), g = on_gpu(gradient, COUNT);
    const struct adamw_args args = {
        .weights = w.at,
        .moment = m.at,
        .variance = v.at,
        .gradient = g.at,
        .count = COUNT,
        .step = 3,
        .gradient_scale = 0.5f,
        .learning_rate = 0.01f,
        .beta1 = 0.9f,
        .beta2 = 0.99f,
        .epsilon = 1e-8f,
        .weight_decay = 0.1f,
    };
    const struct adamw_factors factors = adamw_factors(&args);
    gpu_memory_settle("adamw", kernels_cuda_find()->adamw(&args, NULL));
    float *got = taken(&w), *got_m = taken(&m), *got_v = taken(&v);
    for (int i = 0; i < COUNT; i++) {
        const double scaled = 0.5 * gradient[i], b1 = args.beta1, b2 = args.beta2;
        const double first = b1 * moment[i], second = (1 - b1) * scaled;
        const double squared = b2 * variance[i] + (1 - b2) * scaled * scaled;
        const double root = sqrt(squared) * factors.inverse_root, kept = weights[i] * factors.keep;
        const double step = factors.rate * (first + second) / (root + (double)args.epsilon);
        const double moments = (fabs(first) + fabs(second)) * 3 * U;
        expect_within(got_m[i], first + second, moments);
        expect_within(got_v[i], squared, 4 * U * squared);
        expect_within(got[i], kept - step,
                      fabs(step) * (DIVIDE + 12) * U + 3 * U * fabs(kept) +
                          factors.rate * moments / root);
    }
    gpu_memory_destroy(&g);
    free(weights);
    free(moment);
    free(variance);
    free(gradient);
    free(got);
    free(got_m);
    free(got_v);
}

static void refuses_what_it_has_no_kernel_for(void **unused)
{
    (void)unused;
    const struct kernels_cuda *kernels = kernels_cuda_find();
    const struct kernels_cuda_round odd = {
        .operand = DTYPE_BF16, .rows = 1, .width = 6, .x_stride = 8};
    assert_int_equal(kernels->round(&odd, NULL), 1);
    const struct kernels_cuda_round wide = {
        .operand = DTYPE_F32, .rows = 1, .width = 8, .x_stride = 8};
    assert_int_equal(kernels->round(&wide, NULL), 1);
    const struct kernels_cuda_rope_gradient rope = {.rows = 1, .heads = 1, .head_dim = 24};
    assert_int_equal(kernels->rope_gradient(&rope, NULL), 1);
    const struct adamw_args early = {.count = 1, .step = 0};
    assert_int_equal(kernels->adamw(&early, NULL), 1);
    const struct kernels_cuda_add nothing = {.count = 0};
    assert_int_equal(kernels->add(&nothing, NULL), 0);
}

/* The refusals come last. */
int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_give_rows_and_weights),
        cmocka_unit_test(columns_are_added_to_what_is_there),
        cmocka_unit_test(an_embedding_gets_its_rows_in_their_sequence),
        cmocka_unit_test(swiglu_goes_back_to_gate_and_up),
        cmocka_unit_test(numbers_are_added_wherever_they_lie),
        cmocka_unit_test(rows_are_rounded_to_operands),
        cmocka_unit_test(rows_are_copied_between_strides),
        cmocka_unit_test(rotation_is_undone_over_all_frames),
        cmocka_unit_test(dots_of_rows),
        cmocka_unit_test(logits_become_their_gradients),
        cmocka_unit_test(squares_are_added_in_float64),
        cmocka_unit_test(adamw_takes_a_step),
        cmocka_unit_test(refuses_what_it_has_no_kernel_for),
    };
    if (!gpu_memory_present())
        return GPU_ABSENT;
    seed.state = count > 1 ? strtoull(arguments[1], NULL, 0) : GPU_CASES_SEED;
    printf("seed %llu\n", (unsigned long long)seed.state);
    const size_t cases = sizeof tests / sizeof tests[0] - !GPU_REFUSES;
    return _cmocka_run_group_tests("rows_gradient", tests, cases, NULL, NULL);
}
