/* Every variant of the gradients of the ops on rows, and of what an optimiser does with them:
 * against float64 finite differences, or the formula in float64 where it is no gradient, within the
 * bound of float32's roundings; between canaries. */
#include <math.h>
#include <stdlib.h>

#include "tests/kernels/subjects.h"
#include "tests/support/guarded.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

static const double U = 0x1p-24;
enum { WIDEST = 96, ROWS = 3 };

static struct guarded floats(int64_t count, float scale, struct random *random)
{
    struct guarded memory = guarded_create((size_t)count * sizeof(float), 0);
    for (int64_t i = 0; i < count; i++)
        ((float *)memory.at)[i] = scale * random_normal(random);
    return memory;
}

static void release(struct guarded *memory, int count)
{
    for (int m = 0; m < count; m++) {
        guarded_check(&memory[m]);
        guarded_destroy(&memory[m]);
    }
}

static void expect_near(const char *what, int64_t at, double got, double want, double bound)
{
    if (fabs(got - want) <= bound)
        return;
    print_error("%s[%lld]: got %.9g, not %.9g within %.3g\n", what, (long long)at, got, want,
                bound);
    assert_true(false);
}

/* A loss as a function of what *x is one of. */
typedef double loss_function(const void *context);

/* The central difference by *x, and in *error what doubling its step changes, and what rounding may
 * do to a loss of up to `size`. */
static double difference(loss_function *loss, const void *context, double *x, double size,
                         double *error)
{
    const double step = 0x1p-12, before = *x;
    double slopes[2];
    for (int wide = 0; wide < 2; wide++) {
        const double by = step * (1 + wide);
        *x = before + by;
        const double above = loss(context);
        *x = before - by;
        slopes[wide] = (above - loss(context)) / (2 * by);
    }
    *x = before;
    *error = fabs(slopes[1] - slopes[0]) + size * 0x1p-48 / step;
    return slopes[0];
}

static void widen(double *out, const void *in, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        out[i] = (double)((const float *)in)[i];
}

/* ---- rmsnorm ---- */

struct norm {
    int64_t width;
    double x[ROWS * WIDEST], weight[WIDEST], dy[ROWS * WIDEST];
};

static const float norm_eps = 1e-3f;

static double norm_root(const struct norm *norm, int64_t row)
{
    double squares = 0;
    for (int64_t i = 0; i < norm->width; i++)
        squares += norm->x[row * norm->width + i] * norm->x[row * norm->width + i];
    return sqrt(squares / (double)norm->width + (double)norm_eps);
}

static double norm_loss(const void *context)
{
    const struct norm *norm = context;
    double loss = 0;
    for (int64_t r = 0; r < ROWS; r++) {
        const double root = norm_root(norm, r);
        for (int64_t i = r * norm->width; i < (r + 1) * norm->width; i++)
            loss += norm->dy[i] * norm->x[i] / root * norm->weight[i - r * norm->width];
    }
    return loss;
}

static void expect_norm(struct norm *norm, const float *dx, const float *dweight, double before)
{
    const int64_t width = norm->width;
    double error, sizes[WIDEST] = {0};
    for (int64_t r = 0; r < ROWS; r++) {
        const double s = 1 / norm_root(norm, r);
        double along = 0;
        for (int64_t i = 0; i < width; i++)
            along += norm->dy[r * width + i] * norm->weight[i] * norm->x[r * width + i];
        for (int64_t i = r * width; i < (r + 1) * width; i++) {
            const double want = difference(norm_loss, norm, &norm->x[i], 1000, &error);
            const double size = fabs(s * norm->dy[i] * norm->weight[i - r * width]) +
                                fabs(s * s * s * along / (double)width * norm->x[i]);
            sizes[i - r * width] += fabs(norm->dy[i] * norm->x[i] * s);
            expect_near("dx", i, (double)dx[i], before + want,
                        error + 6 * U * (size + fabs(before)));
        }
    }
    for (int64_t i = 0; i < width; i++) {
        const double want = difference(norm_loss, norm, &norm->weight[i], 1000, &error);
        expect_near("dweight", i, (double)dweight[i], 2 + want,
                    error + (ROWS + 4) * U * (sizes[i] + 2));
    }
}

static void rmsnorm_equals_its_finite_differences(void **unused)
{
    (void)unused;
    static const int64_t widths[] = {1, 7, 8, 64, 90};
    for (int n = 0; subjects_at(n); n++)
        for (int w = 0; w < 10; w++) {
            struct random random = {(uint64_t)w};
            struct norm norm = {.width = widths[w % 5]};
            const int64_t count = ROWS * norm.width;
            enum { X, WEIGHT, DY, DX, DWEIGHT, ALL };
            struct guarded all[ALL] = {
                floats(count, 1, &random),      floats(norm.width, 1, &random),
                floats(count, 1, &random),      floats(count, 0, &random),
                floats(norm.width, 0, &random),
            };
            const bool accumulate = w < 5;
            for (int64_t i = 0; i < count; i++)
                ((float *)all[DX].at)[i] = accumulate ? 3 : NAN;
            for (int64_t i = 0; i < norm.width; i++)
                ((float *)all[DWEIGHT].at)[i] = 2;
            widen(norm.x, all[X].at, count);
            widen(norm.weight, all[WEIGHT].at, norm.width);
            widen(norm.dy, all[DY].at, count);
            struct rmsnorm_gradient_args args = {.dx = all[DX].at,
                                                 .dweight = all[DWEIGHT].at,
                                                 .dy = all[DY].at,
                                                 .x = all[X].at,
                                                 .weight = all[WEIGHT].at,
                                                 .rows = ROWS,
                                                 .width = norm.width,
                                                 .eps = norm_eps,
                                                 .accumulate = accumulate};
            subjects_at(n)->rmsnorm_gradient(&args);
            expect_norm(&norm, all[DX].at, all[DWEIGHT].at, accumulate ? 3 : 0);
            args.dx = all[DY].at; /* in place: the same bits */
            args.accumulate = false;
            subjects_at(n)->rmsnorm_gradient(&args);
            if (!accumulate)
                assert_memory_equal(all[DY].at, all[DX].at, all[DX].bytes);
            release(all, ALL);
        }
}

/* ---- swiglu ---- */

struct gate {
    double gate, up, dy;
};

static double gate_loss(const void *context)
{
    const struct gate *g = context;
    return g->dy * g->gate / (1 + exp(-g->gate)) * g->up;
}

static void swiglu_equals_its_finite_differences(void **unused)
{
    (void)unused;
    static const int64_t counts[] = {0, 1, 8, 13, 200};
    for (int n = 0; subjects_at(n); n++)
        for (int c = 0; c < 5; c++) {
            struct random random = {(uint64_t)c + 9};
            enum { GATE, UP, DY, DGATE, DUP, ALL };
            const int64_t count = counts[c];
            struct guarded all[ALL] = {floats(count, 4, &random), floats(count, 1, &random),
                                       floats(count, 1, &random), floats(count, 0, &random),
                                       floats(count, 0, &random)};
            struct swiglu_gradient_args args = {.dgate = all[DGATE].at,
                                                .dup = all[DUP].at,
                                                .dy = all[DY].at,
                                                .gate = all[GATE].at,
                                                .up = all[UP].at,
                                                .count = count};
            subjects_at(n)->swiglu_gradient(&args);
            for (int64_t i = 0; i < count; i++) {
                struct gate g = {(double)args.gate[i], (double)args.up[i], (double)args.dy[i]};
                const double t = 1 / (1 + exp(-g.gate));
                double error, size = fabs(g.dy * g.up) * t * (1 + 2 * fabs(g.gate));
                double want = difference(gate_loss, &g, &g.gate, 100, &error);
                /* The exponential is good to 2 units in the last place, 4 U. */
                expect_near("dgate", i, (double)args.dgate[i], want, error + 16 * U * size);
                want = difference(gate_loss, &g, &g.up, 100, &error);
                expect_near("dup", i, (double)args.dup[i], want,
                            error + 10 * U * fabs(g.dy * g.gate * t));
            }
            args.dgate = all[GATE].at; /* in place: the same bits */
            args.dup = all[UP].at;
            subjects_at(n)->swiglu_gradient(&args);
            assert_memory_equal(all[GATE].at, all[DGATE].at, all[GATE].bytes);
            assert_memory_equal(all[UP].at, all[DUP].at, all[UP].bytes);
            release(all, ALL);
        }
}

/* ---- sums ---- */

static void sums_over_rows_and_of_vectors_add_in_the_order_of_rows(void **unused)
{
    (void)unused;
    enum { STRIDE = WIDEST + 5, MANY = 9 };
    static const int64_t widths[] = {0, 1, 8, 45, WIDEST};
    for (int n = 0; subjects_at(n); n++)
        for (int w = 0; w < 5; w++) {
            struct random random = {(uint64_t)w + 20};
            const int64_t width = widths[w];
            struct guarded all[3] = {floats(width, 1, &random), floats(MANY * STRIDE, 1, &random),
                                     floats(width, 1, &random)};
            float *sum = all[0].at, *other = all[2].at, want[WIDEST], both[WIDEST];
            const float *dy = all[1].at;
            for (int64_t i = 0; i < width; i++) {
                want[i] = sum[i];
                for (int r = 0; r < MANY; r++)
                    want[i] += dy[r * STRIDE + i];
                both[i] = other[i] + dy[i];
            }
            subjects_at(n)->bias_gradient(sum, dy, STRIDE, MANY, width);
            subjects_at(n)->add(other, dy, width);
            assert_memory_equal(sum, want, (size_t)width * sizeof(float));
            assert_memory_equal(other, both, (size_t)width * sizeof(float));
            release(all, 3);
        }
}

/* ---- rope ---- */

static void rope_gradient_is_the_transpose_of_rope(void **unused)
{
    (void)unused;
    enum { TOKENS = 3, HEADS = 2, GAP = 5 };
    static const int head_dims[] = {16, 64, 80, 256};
    for (int n = 0; subjects_at(n); n++)
        for (int d = 0; d < 8; d++) {
            const int head_dim = head_dims[d % 4], half = head_dim / 2;
            const int64_t stride = HEADS * head_dim + GAP;
            const bool accumulate = d < 4;
            struct random random = {(uint64_t)d + 30};
            struct guarded all[3] = {floats(TOKENS * stride, 1, &random),
                                     floats(TOKENS * head_dim, 1, &random),
                                     floats(TOKENS * stride, 0, &random)};
            const float *x = all[0].at, *table = all[1].at;
            float *out = all[2].at;
            for (int64_t i = 0; i < TOKENS * stride; i++)
                out[i] = accumulate || i % stride >= HEADS * head_dim ? 7 : NAN;
            const struct rope_args args = {.out = out,
                                           .out_stride = stride,
                                           .x = x,
                                           .x_stride = stride,
                                           .table = table,
                                           .tokens = TOKENS,
                                           .heads = HEADS,
                                           .head_dim = head_dim};
            subjects_at(n)->rope_gradient(&args, accumulate);
            for (int64_t i = 0; i < TOKENS * stride; i++) {
                if (i % stride >= HEADS * head_dim) {
                    assert_true(out[i] == 7);
                    continue;
                }
                const int64_t place = i % stride % head_dim, p = place % half;
                const float *row = x + i - place, *pair = table + (i / stride * half + p) * 2;
                const double low = (double)row[p], high = (double)row[p + half];
                const double c = (double)pair[0], s = (double)pair[1];
                const double want = place < half ? low * c + high * s : high * c - low * s;
                const double size = (fabs(low) + fabs(high)) * (fabs(c) + fabs(s));
                expect_near("rope", i, (double)out[i], want + 7 * accumulate,
                            3 * U * (size + 7 * accumulate));
            }
            release(all, 3);
        }
}

/* ---- cross-entropy ---- */

struct entropy {
    int64_t width;
    double x[WIDEST];
    int32_t target;
};

static double entropy_loss(const void *context)
{
    const struct entropy *entropy = context;
    double sum = 0;
    for (int64_t i = 0; i < entropy->width; i++)
        sum += exp(entropy->x[i]);
    return log(sum) - entropy->x[entropy->target];
}

static void cross_entropy_equals_its_finite_differences(void **unused)
{
    (void)unused;
    static const int64_t widths[] = {1, 2, 8, 49, WIDEST};
    enum { TARGETS = 4 };
    const float weight = 0.25f;
    for (int n = 0; subjects_at(n); n++)
        for (int w = 0; w < 5; w++) {
            struct random random = {(uint64_t)w + 40};
            const int64_t width = widths[w];
            struct guarded logits = floats(TARGETS * width, 4, &random);
            const int32_t targets[TARGETS] = {0, -1, (int32_t)width - 1, (int32_t)width / 2};
            double rows[TARGETS * WIDEST], want = 0, bound = 0;
            widen(rows, logits.at, TARGETS * width);
            const double loss =
                subjects_at(n)->cross_entropy(&(struct cross_entropy_args){.logits = logits.at,
                                                                           .targets = targets,
                                                                           .rows = TARGETS,
                                                                           .width = width,
                                                                           .weight = weight});
            for (int r = 0; r < TARGETS; r++) {
                const float *got = (float *)logits.at + r * width;
                struct entropy entropy = {.width = width, .target = targets[r]};
                memcpy(entropy.x, rows + r * width, (size_t)width * sizeof(double));
                for (int64_t i = 0; targets[r] < 0 && i < width; i++)
                    assert_true(got[i] == 0);
                if (targets[r] < 0)
                    continue;
                /* Logits differ by less than 40; an exponential is good to 4 U beside that. */
                const double each = (4 + 40) * U;
                want += entropy_loss(&entropy);
                bound += each + 1e-12;
                for (int64_t i = 0; i < width; i++) {
                    double error;
                    const double slope =
                        difference(entropy_loss, &entropy, &entropy.x[i], 40, &error);
                    const double p = slope + (i == targets[r]);
                    expect_near("logits", i, (double)got[i], (double)weight * slope,
                                (double)weight * (error + p * (2 * each + 4 * U) + U));
                }
            }
            expect_near("loss", w, loss, want, bound);
            release(&logits, 1);
        }
}

/* ---- the optimiser ---- */

static void expect_adamw(const struct adamw_args *args, const double *before, int64_t i)
{
    const double w = before[i], m_before = before[args->count + i];
    const double v_before = before[2 * args->count + i], step = (double)args->step;
    const double beta1 = (double)args->beta1, beta2 = (double)args->beta2;
    const double g = (double)args->gradient_scale * (double)args->gradient[i];
    const double m = beta1 * m_before + (1 - beta1) * g;
    const double v = beta2 * v_before + (1 - beta2) * g * g;
    const double rate = (double)args->learning_rate / (1 - pow(beta1, step));
    const double divisor = sqrt(v) / sqrt(1 - pow(beta2, step)) + (double)args->epsilon;
    const double moved = rate * m / divisor;
    const double m_error = U * (2 * fabs(beta1 * m_before) + 5 * fabs((1 - beta1) * g));
    const double kept = w * (1 - (double)args->learning_rate * (double)args->weight_decay);
    expect_near("moment", i, (double)args->moment[i], m, m_error);
    expect_near("variance", i, (double)args->variance[i], v, 6 * U * v);
    expect_near("weights", i, (double)args->weights[i], kept - moved,
                rate / divisor * m_error + 11 * U * fabs(moved) + 3 * U * fabs(w));
}

static void adamw_is_its_formula_however_a_vector_is_cut(void **unused)
{
    (void)unused;
    enum { COUNT = 43 };
    static const int64_t steps[] = {1, 2, 1000};
    for (int n = 0; subjects_at(n); n++)
        for (int s = 0; s < 3; s++) {
            struct random random = {(uint64_t)s + 50};
            struct guarded all[4], cut[3];
            double before[3 * COUNT];
            for (int a = 0; a < 4; a++)
                all[a] = floats(COUNT, 1, &random);
            for (int i = 0; i < COUNT; i++) {
                float *v = &((float *)all[2].at)[i];
                *v *= *v;
                ((float *)all[3].at)[i] *= i % 7 ? 1 : 0;
                *v *= i % 14 ? 1 : 0; /* nothing has ever come: the weight decays alone */
                ((float *)all[1].at)[i] *= i % 14 ? 1 : 0;
            }
            for (int a = 0; a < 3; a++) {
                widen(before + a * COUNT, all[a].at, COUNT);
                cut[a] = guarded_create(all[a].bytes, 0);
                memcpy(cut[a].at, all[a].at, all[a].bytes);
            }
            const struct adamw_args args = {.weights = all[0].at,
                                            .moment = all[1].at,
                                            .variance = all[2].at,
                                            .gradient = all[3].at,
                                            .count = COUNT,
                                            .step = steps[s],
                                            .gradient_scale = 0.6f,
                                            .learning_rate = 0.01f,
                                            .beta1 = 0.9f,
                                            .beta2 = 0.95f,
                                            .epsilon = 1e-8f,
                                            .weight_decay = 0.1f};
            subjects_at(n)->adamw(&args);
            for (int64_t i = 0; i < COUNT; i++)
                expect_adamw(&args, before, i);
            for (int64_t first = 0; first < COUNT; first += 11) {
                struct adamw_args part = args;
                part.weights = (float *)cut[0].at + first;
                part.moment = (float *)cut[1].at + first;
                part.variance = (float *)cut[2].at + first;
                part.gradient += first;
                part.count = COUNT - first < 11 ? COUNT - first : 11;
                subjects_at(n)->adamw(&part);
            }
            for (int a = 0; a < 3; a++)
                assert_memory_equal(cut[a].at, all[a].at, all[a].bytes);
            release(cut, 3);
            release(all, 4);
        }
}

static void squares_are_summed_in_float64(void **unused)
{
    (void)unused;
    static const int64_t counts[] = {0, 1, 16, 31, 10007};
    for (int n = 0; subjects_at(n); n++)
        for (int c = 0; c < 5; c++) {
            struct random random = {(uint64_t)c + 60};
            struct guarded x = floats(counts[c], 1, &random);
            double sum = 0;
            for (int64_t i = 0; i < counts[c]; i++)
                sum += (double)((float *)x.at)[i] * (double)((float *)x.at)[i];
            /* Squares of float32 are exact in float64. */
            expect_near("squares", c, subjects_at(n)->sum_of_squares(x.at, counts[c]), sum,
                        2 * (double)counts[c] * 0x1p-53 * sum);
            release(&x, 1);
        }
}

/* ---- what is not a number ---- */

static void what_is_not_a_number_is_never_lost(void **unused)
{
    (void)unused;
    enum { WIDTH = 19 };
    static const uint32_t bad[] = {0x7fc00000, 0xffc00000, 0x7fffffff,
                                   0xffffffff, 0x7f800001, 0x7f800000};
    for (int n = 0; subjects_at(n); n++)
        for (int i = 0; i < 6 * WIDTH; i++) {
            const struct kernels *kernels = subjects_at(n);
            const float x = dtype_f32_from_bits(bad[i / WIDTH]);
            const int at = i % WIDTH;
            const int32_t target = 3;
            float row[WIDTH] = {0}, ones[WIDTH], dx[WIDTH], dweight[WIDTH] = {0}, dup[WIDTH];
            for (int d = 0; d < WIDTH; d++)
                ones[d] = 1;
            row[at] = x;
            assert_false(isfinite(kernels->sum_of_squares(row, WIDTH)));
            for (int which = 0; which < 2; which++) {
                kernels->rmsnorm_gradient(&(struct rmsnorm_gradient_args){.dx = dx,
                                                                          .dweight = dweight,
                                                                          .dy = which ? row : ones,
                                                                          .x = which ? ones : row,
                                                                          .weight = ones,
                                                                          .rows = 1,
                                                                          .width = WIDTH,
                                                                          .eps = 1e-5f});
                assert_false(isfinite(dx[at]));
                kernels->swiglu_gradient(&(struct swiglu_gradient_args){.dgate = dx,
                                                                        .dup = dup,
                                                                        .dy = which ? row : ones,
                                                                        .gate = which ? ones : row,
                                                                        .up = ones,
                                                                        .count = WIDTH});
                assert_false(isfinite(dx[at]) && isfinite(dup[at]));
            }
            const double loss = kernels->cross_entropy(&(struct cross_entropy_args){
                .logits = row, .targets = &target, .rows = 1, .width = WIDTH, .weight = 1});
            assert_true(isnan(loss));
            for (int d = 0; d < WIDTH; d++)
                assert_true(isnan(row[d]));
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rmsnorm_equals_its_finite_differences),
        cmocka_unit_test(swiglu_equals_its_finite_differences),
        cmocka_unit_test(sums_over_rows_and_of_vectors_add_in_the_order_of_rows),
        cmocka_unit_test(rope_gradient_is_the_transpose_of_rope),
        cmocka_unit_test(cross_entropy_equals_its_finite_differences),
        cmocka_unit_test(adamw_is_its_formula_however_a_vector_is_cut),
        cmocka_unit_test(squares_are_summed_in_float64),
        cmocka_unit_test(what_is_not_a_number_is_never_lost),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
