/* The row kernels on a GPU against float64: norms, biases, rotation and store, swiglu, logits,
 * weights of every type. Fresh data, poisoned outputs between canaries. Argument: a seed. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "kernels/kernels_cuda.h"
#include "tests/gpu/gpu_cases.h"
#include "tests/gpu/gpu_memory.h"
#include "tests/support/quantize.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

enum { POISON = 0xff };

static struct random seed;

static float *normals(int64_t count)
{
    float *values = malloc((size_t)count * sizeof *values);
    assert_non_null(values);
    for (int64_t i = 0; i < count; i++)
        values[i] = random_normal(&seed);
    return values;
}

static struct gpu_memory floats_on_gpu(const float *values, int64_t count)
{
    return gpu_memory_create((size_t)count * sizeof(float), values, POISON);
}

static size_t bytes_of(enum dtype dtype)
{
    return dtype == DTYPE_F32 ? 4 : 2;
}

/* What the GPU left at `memory`, as float32. */
static float *read_back(const struct gpu_memory *memory, enum dtype dtype)
{
    const size_t count = memory->bytes / bytes_of(dtype);
    float *values = malloc(count * sizeof *values);
    uint16_t *raw = malloc(memory->bytes);
    assert_non_null(values);
    assert_non_null(raw);
    gpu_memory_read(memory, dtype == DTYPE_F32 ? (void *)values : raw);
    for (size_t i = 0; dtype != DTYPE_F32 && i < count; i++)
        values[i] = dtype == DTYPE_BF16 ? dtype_f32_from_bf16(raw[i]) : dtype_f32_from_f16(raw[i]);
    free(raw);
    return values;
}

/* A result rounded once to its type, after `slack` of float32 work on numbers of size `scale`. */
static void expect_near(float got, double want, enum dtype dtype, double scale, double slack)
{
    const double step = dtype == DTYPE_F32 ? 0 : dtype == DTYPE_BF16 ? 0x1p-8 : 0x1p-11;
    const double budget =
        1.01 * step * fabs(want) + slack * scale + (dtype == DTYPE_F16 ? 1e-7 : 0);
    if (!(fabs((double)got - want) <= budget))
        fail_msg("%.9g where %.9g is due (budget %.3g, %s)", (double)got, want, budget,
                 dtype_name(dtype));
}

static const enum dtype outputs[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};

static void norms_and_adds(void **unused)
{
    (void)unused;
    static const int64_t widths[] = {4, 576, 1000, 4096};
    for (int n = 0; n < 12; n++) {
        const int64_t rows = 1 + n % 5, width = widths[n % 4], count = rows * width;
        const enum dtype dtype = outputs[n % 3];
        float *x = normals(count), *add = normals(count), *weight = normals(width);
        struct gpu_memory hidden = floats_on_gpu(x, count), added = floats_on_gpu(add, count);
        struct gpu_memory weights = floats_on_gpu(weight, width), other = floats_on_gpu(x, count);
        struct gpu_memory out = gpu_memory_create((size_t)count * bytes_of(dtype), NULL, POISON);
        const struct kernels_cuda_rmsnorm args = {
            .out = out.at,
            .out_dtype = dtype,
            .hidden = hidden.at,
            .add = n % 2 ? added.at : NULL,
            .weight = weights.at,
            .rows = rows,
            .width = width,
            .eps = 1e-5f,
        };
        gpu_memory_settle("rmsnorm", kernels_cuda_find()->rmsnorm(&args, NULL));
        struct kernels_cuda_rmsnorm only_add = args;
        only_add.out = NULL;
        only_add.hidden = other.at;
        gpu_memory_settle("rmsnorm", kernels_cuda_find()->rmsnorm(&only_add, NULL));
        float *summed = read_back(&other, DTYPE_F32);
        float *got = read_back(&out, dtype), *stream = read_back(&hidden, DTYPE_F32);
        for (int64_t r = 0; r < rows; r++) {
            double squares = 0;
            for (int64_t i = r * width; i < (r + 1) * width; i++) {
                assert_true(stream[i] == (n % 2 ? x[i] + add[i] : x[i]));
                assert_true(summed[i] == stream[i]);
                squares += (double)stream[i] * stream[i];
            }
            const double scale = 1 / sqrt(squares / (double)width + (double)1e-5f);
            for (int64_t i = 0; i < width; i++) {
                const double want = stream[r * width + i] * scale * weight[i];
                expect_near(got[r * width + i], want, dtype, fabs(want), 1e-6);
            }
        }
        free(x);
        free(add);
        free(weight);
        free(got);
        free(stream);
        free(summed);
        gpu_memory_destroy(&other);
        gpu_memory_destroy(&hidden);
        gpu_memory_destroy(&added);
        gpu_memory_destroy(&weights);
        gpu_memory_destroy(&out);
    }
}

static void norms_heads_by_themselves(void **unused)
{
    (void)unused;
    static const int head_dims[] = {16, 64, 80, 128, 256};
    for (int n = 0; n < 10; n++) {
        const int heads[] = {1 + n % 6, n % 3}, all = heads[0] + heads[1];
        const int head_dim = head_dims[n % 5];
        const int64_t rows = 1 + 3 * n, stride = (int64_t)(all + 1) * head_dim; /* and v */
        float *x = normals(rows * stride), *weight = normals(2 * head_dim);
        struct gpu_memory at = floats_on_gpu(x, rows * stride);
        struct gpu_memory weights = floats_on_gpu(weight, 2 * head_dim);
        const struct kernels_cuda_norm_heads args = {
            .x = at.at,
            .stride = stride,
            .weights = {weights.at, (float *)weights.at + head_dim},
            .heads = {heads[0], heads[1]},
            .rows = rows,
            .head_dim = head_dim,
            .eps = 1e-5f,
        };
        gpu_memory_settle("norm_heads", kernels_cuda_find()->norm_heads(&args, NULL));
        float *got = read_back(&at, DTYPE_F32);
        for (int64_t i = 0; i < rows * stride; i++) {
            const int64_t head = i % stride / head_dim, first = i - i % head_dim;
            const float *of_kind = weight + (head < heads[0] ? 0 : head_dim);
            double squares = 0;
            for (int d = 0; d < head_dim; d++)
                squares += (double)x[first + d] * x[first + d];
            const double want =
                x[i] / sqrt(squares / head_dim + (double)1e-5f) * of_kind[i % head_dim];
            if (head == all)
                assert_true(got[i] == x[i]);
            else
                expect_near(got[i], want, DTYPE_F32, fabs(want), 1e-6);
        }
        free(x);
        free(weight);
        free(got);
        gpu_memory_destroy(&at);
        gpu_memory_destroy(&weights);
    }
}

static void adds_biases_to_their_columns(void **unused)
{
    (void)unused;
    for (int n = 0; n < 9; n++) {
        const int64_t widths[] = {96, 32 + n, 16}, width = 96 + 32 + n + 16;
        const int64_t rows = 1 + n, stride = width + 8, first = n % 2 ? 80 : 0;
        const int64_t end = n % 3 ? width - 4 : width;
        float *x = normals(rows * stride), *vector = normals(width);
        struct gpu_memory y = floats_on_gpu(x, rows * stride);
        struct gpu_memory vectors = floats_on_gpu(vector, width);
        struct kernels_cuda_bias args = {
            .y = y.at,
            .stride = stride,
            .vectors = {vectors.at, (float *)vectors.at + 96, (float *)vectors.at + 128 + n},
            .widths = {widths[0], widths[1], widths[2]},
            .vector_count = 3,
            .rows = rows,
            .first = first,
            .end = end,
        };
        gpu_memory_settle("bias", kernels_cuda_find()->bias(&args, NULL));
        float *got = read_back(&y, DTYPE_F32);
        for (int64_t i = 0; i < rows * stride; i++) {
            const int64_t column = i % stride;
            assert_true(got[i] == (column >= first && column < end ? x[i] + vector[column] : x[i]));
        }
        args.end = width + 1; /* there is no such column */
        assert_int_equal(kernels_cuda_find()->bias(&args, NULL), 1);
        free(x);
        free(vector);
        free(got);
        gpu_memory_destroy(&y);
        gpu_memory_destroy(&vectors);
    }
}

static void multiplies_gates(void **unused)
{
    (void)unused;
    for (int n = 0; n < 9; n++) {
        const int64_t rows = 1 + n, width = 100 + 4 * n, stride = 2 * width;
        const enum dtype dtype = outputs[n % 3];
        float *x = normals(rows * stride);
        for (int64_t i = 0; i < rows * stride; i++)
            x[i] *= 8;
        struct gpu_memory in = floats_on_gpu(x, rows * stride);
        struct gpu_memory out =
            gpu_memory_create((size_t)(rows * width) * bytes_of(dtype), NULL, POISON);
        const struct kernels_cuda_swiglu args = {
            .out = out.at,
            .out_dtype = dtype,
            .out_stride = width,
            .gate = in.at,
            .up = (float *)in.at + width,
            .in_stride = stride,
            .rows = rows,
            .width = width,
        };
        gpu_memory_settle("swiglu", kernels_cuda_find()->swiglu(&args, NULL));
        float *got = read_back(&out, dtype);
        for (int64_t i = 0; i < rows * width; i++) {
            const double gate = x[i / width * stride + i % width];
            const double up = x[i / width * stride + width + i % width];
            const double want = gate / (1 + exp(-gate)) * up;
            expect_near(got[i], want, dtype, fabs(want), 1e-6);
        }
        free(x);
        free(got);
        gpu_memory_destroy(&in);
        gpu_memory_destroy(&out);
    }
}

/* ---- rotation ---- */

enum { ROWS = 70, FRAMES = 3, HEADS = 3, KV_HEADS = 2 };

static const struct bands_frame frames[FRAMES] = {
    BANDS_FRAME(1, -40000), {0.5, 0, 3, 7, 4096.25, INFINITY}, {1, 100, 1, 1, 3, 50}};

static double position_of(int frame, int64_t index)
{
    const double positions[FRAMES] = {(double)(index - 40000),
                                      0.5 * (double)(3 * index / 7) + 4096.25,
                                      fmin(50, (double)(index % 100 + 3))};
    return positions[frame];
}

/* ln L of `logn=L`; the last frame is the keys'. */
static const double logn = 3.7;

static double magnitude_of(int frame, int64_t index)
{
    return 1.25 * (frame < FRAMES - 1 ? fmax(1, log((double)index + 1) / logn) : 1);
}

struct rope_case {
    int head_dim;
    int64_t indices[ROWS];
    double inv_freq[ATTENTION_HEAD_DIM_MAX / 2];
    struct gpu_memory indices_at, table;
};

/* The table of the last frame is the keys'. Checks every angle. */
static struct rope_case rope_case_create(int head_dim)
{
    struct rope_case c = {.head_dim = head_dim};
    const int half = head_dim / 2;
    for (int r = 0; r < ROWS; r++)
        c.indices[r] = r < 35 ? r : 131000 + r;
    for (int p = 0; p < half; p++)
        c.inv_freq[p] = pow(500000, -2.0 * p / head_dim);
    c.indices_at = gpu_memory_create(sizeof c.indices, c.indices, 0);
    c.table = gpu_memory_create((size_t)(FRAMES * ROWS * half) * 2 * sizeof(float), NULL, POISON);
    struct kernels_cuda_rope_table args = {
        .table = c.table.at,
        .indices = c.indices_at.at,
        .query_frames = FRAMES - 1,
        .logn = logn,
        .frame_count = FRAMES,
        .rows = ROWS,
        .half = half,
        .magnitude = 1.25,
    };
    memcpy(args.inv_freq, c.inv_freq, sizeof args.inv_freq);
    memcpy(args.frames, frames, sizeof frames);
    gpu_memory_settle("rope_table", kernels_cuda_find()->rope_table(&args, NULL));
    float *got = read_back(&c.table, DTYPE_F32);
    for (int64_t i = 0; i < FRAMES * ROWS * half; i++) {
        const int frame = (int)(i / half / ROWS);
        const int64_t index = c.indices[i / half % ROWS];
        const double angle = position_of(frame, index) * c.inv_freq[i % half];
        const double magnitude = magnitude_of(frame, index);
        expect_near(got[2 * i], magnitude * cos(angle), DTYPE_F32, magnitude, 1e-7);
        expect_near(got[2 * i + 1], magnitude * sin(angle), DTYPE_F32, magnitude, 1e-7);
    }
    free(got);
    return c;
}

static void rope_case_destroy(struct rope_case *c)
{
    gpu_memory_destroy(&c->indices_at);
    gpu_memory_destroy(&c->table);
}

/* Element d of a head turned by `frame` at row r. */
static double turned(const struct rope_case *c, int frame, int r, const float *head, int d)
{
    const int half = c->head_dim / 2;
    const double position = position_of(frame, c->indices[r]);
    const double angle = (double)position * c->inv_freq[d % half];
    return magnitude_of(frame, c->indices[r]) *
           (d < half ? head[d] * cos(angle) - head[d + half] * sin(angle)
                     : head[d] * cos(angle) + head[d - half] * sin(angle));
}

static void rotates_queries_in_every_frame(void **unused)
{
    (void)unused;
    static const int head_dims[] = {64, 128, 80, 16};
    for (int n = 0; n < 8; n++) {
        struct rope_case c = rope_case_create(head_dims[n % 4]);
        const enum dtype operand = n < 4 ? DTYPE_BF16 : DTYPE_F16;
        const int64_t width = HEADS * c.head_dim, stride = width + 12;
        float *x = normals(ROWS * stride);
        struct gpu_memory in = floats_on_gpu(x, ROWS * stride);
        struct gpu_memory out =
            gpu_memory_create((size_t)(FRAMES * ROWS * width) * 2, NULL, POISON);
        const struct kernels_cuda_rope_queries args = {
            .out = out.at,
            .frame_stride = ROWS * width,
            .q = in.at,
            .q_stride = stride,
            .table = c.table.at,
            .table_stride = ROWS * c.head_dim,
            .frame_count = FRAMES,
            .rows = ROWS,
            .heads = HEADS,
            .head_dim = c.head_dim,
            .operand = operand,
        };
        gpu_memory_settle("rope_queries", kernels_cuda_find()->rope_queries(&args, NULL));
        float *got = read_back(&out, operand);
        for (int64_t i = 0; i < FRAMES * ROWS * width; i++) {
            const int frame = (int)(i / width / ROWS), r = (int)(i / width % ROWS);
            const float *head = x + r * stride + i % width / c.head_dim * c.head_dim;
            expect_near(got[i], turned(&c, frame, r, head, (int)(i % c.head_dim)), operand, 8,
                        5e-7);
        }
        free(x);
        free(got);
        gpu_memory_destroy(&in);
        gpu_memory_destroy(&out);
        rope_case_destroy(&c);
    }
}

/* Compares one row of one head in a record: K in frame `frame`, or V where that is negative. */
static void expect_stored(const struct rope_case *c, const float *records, enum dtype operand,
                          int64_t record, int r, int h, const float *want, int frame)
{
    const float *at =
        records +
        ((record * KV_HEADS + h) * PANEL_TOKENS + c->indices[r] % PANEL_TOKENS) * c->head_dim;
    for (int d = 0; d < c->head_dim; d++)
        expect_near(at[d], frame >= 0 ? turned(c, frame, r, want, d) : (double)want[d], operand, 8,
                    frame >= 0 ? 5e-7 : 0);
}

/* K in two frames for all that are kept, in three for sinks. */
static void stores_keys_where_they_are_kept(void **unused)
{
    (void)unused;
    enum { RECORDS = 9, SINKS = 20, PANEL_FRAMES = 2 };
    for (int n = 0; n < 4; n++) {
        struct rope_case c = rope_case_create(n % 2 ? 128 : 80);
        const enum dtype operand = n < 2 ? DTYPE_BF16 : DTYPE_F16;
        const int64_t width = 2 * KV_HEADS * c.head_dim;
        const size_t record_bytes = attention_record_bytes(DTYPE_BF16, KV_HEADS, c.head_dim);
        int64_t records[ROWS];
        for (int r = 0; r < ROWS; r++) /* two panels, in other places; some rows are not kept */
            records[r] = r % 7 == 3 ? -1 : c.indices[r] / PANEL_TOKENS % 2 ? 5 : 1;
        float *x = normals(ROWS * width);
        struct gpu_memory in = floats_on_gpu(x, ROWS * width);
        struct gpu_memory where = gpu_memory_create(sizeof records, records, 0);
        struct gpu_memory cache = gpu_memory_create(RECORDS * record_bytes, NULL, POISON);
        struct gpu_memory sinks = gpu_memory_create((FRAMES + 1) * record_bytes, NULL, POISON);
        const struct kernels_cuda_rope_store args = {
            .cache = cache.at,
            .sink_cache = sinks.at,
            .sinks = SINKS,
            .records = where.at,
            .indices = c.indices_at.at,
            .k = in.at,
            .v = (float *)in.at + width / 2,
            .stride = width,
            .table = c.table.at,
            .table_stride = ROWS * c.head_dim,
            .panel_frames = PANEL_FRAMES,
            .key_frames = FRAMES,
            .rows = ROWS,
            .kv_heads = KV_HEADS,
            .head_dim = c.head_dim,
            .operand = operand,
        };
        gpu_memory_settle("rope_store", kernels_cuda_find()->rope_store(&args, NULL));
        float *kept = read_back(&cache, operand), *sunk = read_back(&sinks, operand);
        for (int r = 0; r < ROWS; r++)
            for (int h = 0; h < KV_HEADS; h++) {
                const float *k = x + r * width + h * c.head_dim, *v = k + width / 2;
                for (int f = 0; f < PANEL_FRAMES && records[r] >= 0; f++)
                    expect_stored(&c, kept, operand, records[r] + f, r, h, k, f);
                if (records[r] >= 0)
                    expect_stored(&c, kept, operand, records[r] + PANEL_FRAMES, r, h, v, -1);
                for (int f = 0; f < FRAMES && c.indices[r] < SINKS; f++)
                    expect_stored(&c, sunk, operand, f, r, h, k, f);
                if (c.indices[r] < SINKS)
                    expect_stored(&c, sunk, operand, FRAMES, r, h, v, -1);
            }
        assert_true(isnan(kept[0])); /* record 0 is nobody's */
        assert_true(isnan(sunk[SINKS * c.head_dim]));
        struct gpu_memory *used[] = {&in, &where, &cache, &sinks};
        for (size_t i = 0; i < sizeof used / sizeof *used; i++)
            gpu_memory_destroy(used[i]);
        free(x);
        free(kept);
        free(sunk);
        rope_case_destroy(&c);
    }
}

/* That of a head of 64 elements just those of the pair of `bad` are NaNs. */
static void expect_nan_at(const float *head, int bad)
{
    for (int d = 0; d < 64; d++)
        assert_int_equal(isnan(head[d]) != 0, d % 32 == bad % 32);
}

/* A score of minus infinity would hide it from attention. */
static void an_infinity_in_a_query_or_a_key_becomes_a_nan(void **unused)
{
    (void)unused;
    enum { WIDTH = 64 };
    static const int bad[][2] = {{5, 3}, {9, 40}}; /* row, element */
    struct rope_case c = rope_case_create(WIDTH);
    const size_t record_bytes = attention_record_bytes(DTYPE_BF16, 1, WIDTH);
    int64_t records[ROWS];
    for (int r = 0; r < ROWS; r++)
        records[r] = c.indices[r] < PANEL_TOKENS ? 0 : -1;
    float *x = normals(ROWS * WIDTH);
    x[bad[0][0] * WIDTH + bad[0][1]] = INFINITY;
    x[bad[1][0] * WIDTH + bad[1][1]] = -INFINITY;
    struct gpu_memory in = floats_on_gpu(x, ROWS * WIDTH);
    struct gpu_memory where = gpu_memory_create(sizeof records, records, 0);
    struct gpu_memory turned_at = gpu_memory_create((size_t)(FRAMES * ROWS * WIDTH) * 2, NULL, 0);
    struct gpu_memory cache = gpu_memory_create(2 * record_bytes, NULL, 0);
    const struct kernels_cuda_rope_queries queries = {
        .out = turned_at.at,
        .frame_stride = ROWS * WIDTH,
        .q = in.at,
        .q_stride = WIDTH,
        .table = c.table.at,
        .table_stride = ROWS * WIDTH,
        .frame_count = FRAMES,
        .rows = ROWS,
        .heads = 1,
        .head_dim = WIDTH,
        .operand = DTYPE_BF16,
    };
    const struct kernels_cuda_rope_store keys = {
        .cache = cache.at,
        .records = where.at,
        .indices = c.indices_at.at,
        .k = in.at,
        .v = in.at,
        .stride = WIDTH,
        .table = c.table.at,
        .panel_frames = 1,
        .key_frames = 1,
        .rows = ROWS,
        .kv_heads = 1,
        .head_dim = WIDTH,
        .operand = DTYPE_BF16,
    };
    gpu_memory_settle("rope_queries", kernels_cuda_find()->rope_queries(&queries, NULL));
    gpu_memory_settle("rope_store", kernels_cuda_find()->rope_store(&keys, NULL));
    float *q = read_back(&turned_at, DTYPE_BF16), *kept = read_back(&cache, DTYPE_BF16);
    for (int n = 0; n < 2; n++) {
        const int row = bad[n][0] * WIDTH;
        for (int frame = 0; frame < FRAMES; frame++)
            expect_nan_at(q + frame * ROWS * WIDTH + row, bad[n][1]);
        expect_nan_at(kept + row, bad[n][1]);
    }
    struct gpu_memory *used[] = {&in, &where, &turned_at, &cache};
    for (size_t i = 0; i < sizeof used / sizeof *used; i++)
        gpu_memory_destroy(used[i]);
    free(x);
    free(q);
    free(kept);
    rope_case_destroy(&c);
}

/* ---- logits ---- */

static void reads_logits(void **unused)
{
    (void)unused;
    enum { LOGIT_ROWS = 3 };
    static const int64_t vocabs[] = {1, 511, 49152};
    for (int n = 0; n < 3; n++) {
        const int64_t vocab = vocabs[n];
        float *x = normals(LOGIT_ROWS * vocab);
        const int32_t ids[LOGIT_ROWS] = {0, -1, (int32_t)vocab - 1};
        for (int64_t i = 0; i < LOGIT_ROWS * vocab; i++)
            x[i] = 50 * x[i] - 20;
        x[2 * vocab + vocab / 2] = x[2 * vocab + vocab / 3] = 500; /* the lower id wins */
        struct gpu_memory in = floats_on_gpu(x, LOGIT_ROWS * vocab);
        struct gpu_memory ids_at = gpu_memory_create(sizeof ids, ids, 0);
        struct kernels_cuda_logits_row got[LOGIT_ROWS];
        struct gpu_memory out = gpu_memory_create(sizeof got, NULL, POISON);
        const struct kernels_cuda_logits args = {
            .out = out.at, .logits = in.at, .ids = ids_at.at, .rows = LOGIT_ROWS, .vocab = vocab};
        gpu_memory_settle("logits", kernels_cuda_find()->logits(&args, NULL));
        gpu_memory_read(&out, got);
        for (int r = 0; r < LOGIT_ROWS; r++) {
            const float *row = x + r * vocab;
            int64_t best = 0;
            double sum = 0;
            for (int64_t i = 1; i < vocab; i++)
                best = row[i] > row[best] ? i : best;
            for (int64_t i = 0; i < vocab; i++)
                sum += exp((double)row[i] - (double)row[best]);
            const double all = (double)row[best] + log(sum);
            assert_int_equal(got[r].best, best);
            assert_true(got[r].max == row[best]);
            expect_near(got[r].logsumexp, all, DTYPE_F32, fmax(1, fabs(all)), 2e-6);
            expect_near(got[r].logprob, ids[r] < 0 ? 0 : (double)row[ids[r]] - all, DTYPE_F32,
                        fabs(all) + 300, 1e-6);
        }
        free(x);
        gpu_memory_destroy(&in);
        gpu_memory_destroy(&ids_at);
        gpu_memory_destroy(&out);
    }
}

/* The log-probability of an id whose own logit is finite, the first, the last or one in between
 * not. */
static void a_logit_that_is_not_finite_is_never_lost(void **unused)
{
    (void)unused;
    enum { VOCAB = 1300 };
    static const float bad[] = {NAN, -NAN, INFINITY, -INFINITY};
    static const int64_t places[] = {0, 511, 700, VOCAB - 1};
    for (int n = 0; n < 16; n++) {
        float *x = normals(VOCAB);
        const int32_t id = 5;
        x[places[n / 4]] = bad[n % 4];
        struct gpu_memory in = floats_on_gpu(x, VOCAB);
        struct gpu_memory ids_at = gpu_memory_create(sizeof id, &id, 0);
        struct kernels_cuda_logits_row got;
        struct gpu_memory out = gpu_memory_create(sizeof got, NULL, 0);
        const struct kernels_cuda_logits args = {
            .out = out.at, .logits = in.at, .ids = ids_at.at, .rows = 1, .vocab = VOCAB};
        gpu_memory_settle("logits", kernels_cuda_find()->logits(&args, NULL));
        gpu_memory_read(&out, &got);
        assert_true(isnan(got.logsumexp) && isnan(got.logprob));
        free(x);
        gpu_memory_destroy(&in);
        gpu_memory_destroy(&ids_at);
        gpu_memory_destroy(&out);
    }
}

/* ---- weights ---- */

struct weights_case {
    struct kernels_cuda_matrix matrix;
    struct gpu_memory rows;
    float *values; /* [out, in], exact */
};

static struct weights_case weights_case_create(enum dtype dtype, int64_t out, int64_t in)
{
    struct weights_case c = {.matrix = {.dtype = dtype, .out = out, .in = in}};
    const size_t row_bytes = dtype_row_bytes(dtype, in);
    char *rows = malloc((size_t)out * row_bytes);
    assert_non_null(rows);
    c.values = normals(out * in);
    for (int64_t o = 0; o < out; o++) {
        quantize_row(rows + (size_t)o * row_bytes, c.values + o * in, dtype, in);
        dtype_dequantize_row(c.values + o * in, rows + (size_t)o * row_bytes, dtype, in);
    }
    c.rows = gpu_memory_create((size_t)out * row_bytes, rows, 0);
    c.matrix.rows = c.rows.at;
    free(rows);
    return c;
}

static void weights_case_destroy(struct weights_case *c)
{
    gpu_memory_destroy(&c->rows);
    free(c->values);
}

static void expands_every_type_exactly(void **unused)
{
    (void)unused;
    enum { OUT = 37, IN = 768, FIRST = 5, END = 36, IDS = 9 };
    for (int dtype = 0; dtype < DTYPE_ON_GPU; dtype++) {
        struct weights_case c = weights_case_create((enum dtype)dtype, OUT, IN);
        const enum dtype operand = dtype % 2 ? DTYPE_BF16 : DTYPE_F16;
        struct gpu_memory out = gpu_memory_create((END - FIRST) * IN * 2, NULL, POISON);
        const struct kernels_cuda_dequantize args = {
            .out = out.at, .operand = operand, .matrix = c.matrix, .first = FIRST, .end = END};
        gpu_memory_settle("dequantize", kernels_cuda_find()->dequantize(&args, NULL));
        float *got = read_back(&out, operand);
        for (int64_t i = 0; i < (END - FIRST) * IN; i++) {
            const float x = c.values[FIRST * IN + i];
            const float want = operand == DTYPE_BF16 ? dtype_f32_from_bf16(dtype_bf16_from_f32(x))
                                                     : dtype_f32_from_f16(dtype_f16_from_f32(x));
            assert_true(got[i] == want);
        }
        int32_t ids[IDS];
        for (int i = 0; i < IDS; i++)
            ids[i] = (int32_t)random_between(&seed, 0, OUT);
        struct gpu_memory ids_at = gpu_memory_create(sizeof ids, ids, 0);
        struct gpu_memory hidden = gpu_memory_create(IDS * IN * sizeof(float), NULL, POISON);
        const struct kernels_cuda_embed embed = {
            .hidden = hidden.at, .matrix = c.matrix, .ids = ids_at.at, .rows = IDS};
        gpu_memory_settle("embed", kernels_cuda_find()->embed(&embed, NULL));
        float *rows = read_back(&hidden, DTYPE_F32);
        for (int64_t i = 0; i < IDS * IN; i++)
            assert_true(rows[i] == c.values[ids[i / IN] * IN + i % IN]);
        free(got);
        free(rows);
        gpu_memory_destroy(&out);
        gpu_memory_destroy(&ids_at);
        gpu_memory_destroy(&hidden);
        weights_case_destroy(&c);
    }
}

/* The same bits for a row alone as among others. */
static void expect_rows_apart(const struct weights_case *c, int64_t rows)
{
    const int64_t in = c->matrix.in, out = c->matrix.out;
    float *x = normals(rows * in);
    struct gpu_memory x_at = floats_on_gpu(x, rows * in);
    struct gpu_memory all = gpu_memory_create((size_t)(rows * out) * 4, NULL, POISON);
    struct gpu_memory each = gpu_memory_create((size_t)(rows * out) * 4, NULL, POISON);
    struct kernels_cuda_matmul args = {.y = all.at,
                                       .y_stride = out,
                                       .x = x_at.at,
                                       .x_stride = in,
                                       .rows = rows,
                                       .matrices = {c->matrix},
                                       .matrix_count = 1,
                                       .out_end = out};
    gpu_memory_settle("matmul_decode", kernels_cuda_find()->matmul_decode(&args, NULL));
    args.rows = 1;
    for (int64_t r = 0; r < rows; r++) {
        args.y = (float *)each.at + r * out;
        args.x = (const float *)x_at.at + r * in;
        gpu_memory_settle("matmul_decode", kernels_cuda_find()->matmul_decode(&args, NULL));
    }
    float *together = read_back(&all, DTYPE_F32), *apart = read_back(&each, DTYPE_F32);
    assert_memory_equal(together, apart, all.bytes);
    free(x);
    free(together);
    free(apart);
    gpu_memory_destroy(&x_at);
    gpu_memory_destroy(&all);
    gpu_memory_destroy(&each);
}

/* Outputs [first, end) of two matrices laid end to end; the rest of y stays poisoned. */
static void expect_product(const struct weights_case c[2], int64_t rows, int64_t first, int64_t end,
                           bool accumulate)
{
    const int64_t in = c[0].matrix.in, width = c[0].matrix.out + c[1].matrix.out;
    const int64_t x_stride = in + 4, y_stride = width + 3;
    float *x = normals(rows * x_stride), *before = normals(rows * y_stride);
    struct gpu_memory x_at = floats_on_gpu(x, rows * x_stride);
    struct gpu_memory y_at = floats_on_gpu(before, rows * y_stride);
    const struct kernels_cuda_matmul args = {
        .y = y_at.at,
        .y_stride = y_stride,
        .x = x_at.at,
        .x_stride = x_stride,
        .rows = rows,
        .matrices = {c[0].matrix, c[1].matrix},
        .matrix_count = 2,
        .out_first = first,
        .out_end = end,
        .accumulate = accumulate,
    };
    gpu_memory_settle("matmul_decode", kernels_cuda_find()->matmul_decode(&args, NULL));
    float *y = read_back(&y_at, DTYPE_F32);
    for (int64_t i = 0; i < rows * y_stride; i++) {
        const int64_t r = i / y_stride, o = i % y_stride;
        if (o < first || o >= end) {
            assert_true(y[i] == before[i]);
            continue;
        }
        const struct weights_case *mine = &c[o >= c[0].matrix.out];
        const float *w = mine->values + (o - (mine == c ? 0 : c[0].matrix.out)) * in;
        double want = accumulate ? (double)before[i] : 0, size = fabs(want);
        for (int64_t k = 0; k < in; k++) {
            want += (double)x[r * x_stride + k] * w[k];
            size += fabs((double)x[r * x_stride + k] * w[k]);
        }
        expect_near(y[i], want, DTYPE_F32, size, 4e-6);
    }
    free(x);
    free(before);
    free(y);
    gpu_memory_destroy(&x_at);
    gpu_memory_destroy(&y_at);
}

static void multiplies_every_type(void **unused)
{
    (void)unused;
    enum { IN = 1280 };
    static const int64_t row_counts[] = {1, 2, 8, 11};
    for (int dtype = 0; dtype < DTYPE_ON_GPU; dtype++) {
        struct weights_case c[2] = {
            weights_case_create((enum dtype)dtype, 45, IN),
            weights_case_create((enum dtype)((dtype + 3) % DTYPE_ON_GPU), 16, IN),
        };
        for (int n = 0; n < 4; n++) {
            expect_product(c, row_counts[n], 0, 61, n % 2);
            expect_product(c, row_counts[n], 16, 48, n % 2);
            expect_product(c, row_counts[n], 45, 45, false);
        }
        expect_rows_apart(&c[0], 9);
        weights_case_destroy(&c[0]);
        weights_case_destroy(&c[1]);
    }
}

static void refuses_what_it_has_no_kernel_for(void **unused)
{
    (void)unused;
    const struct kernels_cuda *kernels = kernels_cuda_find();
    struct kernels_cuda_matmul product = {.matrices = {{.dtype = DTYPE_Q4_K, .out = 1, .in = 128}},
                                          .matrix_count = 1,
                                          .rows = 1,
                                          .out_end = 1};
    assert_int_equal(kernels->matmul_decode(&product, NULL), 1); /* half a block */
    product.matrices[0] = (struct kernels_cuda_matrix){.dtype = DTYPE_F32, .out = 1, .in = 24};
    assert_int_equal(kernels->matmul_decode(&product, NULL), 1);
    product.matrices[0].dtype = DTYPE_ON_GPU;
    assert_int_equal(kernels->matmul_decode(&product, NULL), 1);
    const struct kernels_cuda_rmsnorm norm = {.rows = 1, .width = 6};
    assert_int_equal(kernels->rmsnorm(&norm, NULL), 1);
    const struct kernels_cuda_rope_queries rope = {.rows = 1, .heads = 1, .head_dim = 64};
    assert_int_equal(kernels->rope_queries(&rope, NULL), 1); /* into float32 */
    const struct kernels_cuda_embed nothing = {.matrix = {.dtype = DTYPE_F32, .in = 16}};
    assert_int_equal(kernels->embed(&nothing, NULL), 0);
}

int main(int count, char **arguments)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(norms_and_adds),
        cmocka_unit_test(norms_heads_by_themselves),
        cmocka_unit_test(adds_biases_to_their_columns),
        cmocka_unit_test(multiplies_gates),
        cmocka_unit_test(rotates_queries_in_every_frame),
        cmocka_unit_test(stores_keys_where_they_are_kept),
        cmocka_unit_test(an_infinity_in_a_query_or_a_key_becomes_a_nan),
        cmocka_unit_test(reads_logits),
        cmocka_unit_test(a_logit_that_is_not_finite_is_never_lost),
        cmocka_unit_test(expands_every_type_exactly),
        cmocka_unit_test(multiplies_every_type),
        cmocka_unit_test(refuses_what_it_has_no_kernel_for),
    };
    if (!gpu_memory_present())
        return GPU_ABSENT;
    seed.state = count > 1 ? strtoull(arguments[1], NULL, 0) : GPU_CASES_SEED;
    printf("seed %llu\n", (unsigned long long)seed.state);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
