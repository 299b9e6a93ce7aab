/* Every variant of product.h: exact data bit for bit, float64 truth within the budget, canaries
 * around C and the scratch, in every direction of A and B, and the same bits in every variant and
 * however C is cut. */
#include <math.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "tests/kernels/subjects.h"
#include "tests/support/guarded.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

static const float UNTOUCHED = -77777.0f;

/* Which index of an operand is dense in memory. */
enum direction { BY_ROWS, BY_COLUMNS, NEITHER, DIRECTIONS };

struct matrix {
    float *at;
    int64_t row, column;
};

struct product {
    int64_t rows, columns, depth, c_stride;
    enum dtype operand;
    struct matrix a, b;
    struct guarded c, scratch;
};

/* [rows, columns] in some direction, with gaps of NaNs: whatever is read of them shows. */
static struct matrix matrix_create(struct random *random, enum direction direction, int64_t rows,
                                   int64_t columns, bool is_exact)
{
    int64_t gap = random_between(random, 0, 5);
    struct matrix matrix = {.row = columns + gap, .column = 1};
    if (direction == BY_COLUMNS)
        matrix = (struct matrix){.row = 1, .column = rows + gap};
    if (direction == NEITHER)
        matrix = (struct matrix){.row = (columns + gap) * 2, .column = 2};
    int64_t count = rows * matrix.row + columns * matrix.column + 1;
    matrix.at = malloc((size_t)count * sizeof(float));
    assert_non_null(matrix.at);
    for (int64_t i = 0; i < count; i++)
        matrix.at[i] = NAN;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            matrix.at[i * matrix.row + j * matrix.column] =
                is_exact ? (float)random_between(random, -9, 10) : random_float(random);
    return matrix;
}

static struct product product_create(struct random *random, int64_t rows, int64_t columns,
                                     int64_t depth, int directions, bool is_exact)
{
    struct product p = {.rows = rows,
                        .columns = columns,
                        .depth = depth,
                        .c_stride = columns + random_between(random, 0, 9)};
    p.a = matrix_create(random, (enum direction)(directions / DIRECTIONS), rows, depth, is_exact);
    p.b =
        matrix_create(random, (enum direction)(directions % DIRECTIONS), depth, columns, is_exact);
    p.c = guarded_create((size_t)(rows * p.c_stride + 1) * sizeof(float), 0);
    p.scratch = guarded_create(PRODUCT_SCRATCH_BYTES, 0xff); /* NaNs */
    return p;
}

static void product_destroy(struct product *p)
{
    free(p->a.at);
    free(p->b.at);
    guarded_destroy(&p->c);
    guarded_destroy(&p->scratch);
}

static void reset(struct product *p, float value)
{
    float *c = p->c.at;
    for (int64_t i = 0; i < p->rows * p->c_stride; i++)
        c[i] = i % p->c_stride < p->columns ? value : UNTOUCHED;
}

/* Rows, columns and elements of k from a first one on. */
struct part {
    int64_t row, rows, column, columns, k, depth;
};

static void multiply_part(struct product *p, const struct kernels *kernels, bool accumulate,
                          const struct part *part)
{
    const struct product_args args = {
        .c = (float *)p->c.at + part->row * p->c_stride + part->column,
        .c_stride = p->c_stride,
        .a = p->a.at + part->row * p->a.row + part->k * p->a.column,
        .a_row = p->a.row,
        .a_column = p->a.column,
        .b = p->b.at + part->k * p->b.row + part->column * p->b.column,
        .b_row = p->b.row,
        .b_column = p->b.column,
        .rows = part->rows,
        .columns = part->columns,
        .depth = part->depth,
        .operand = p->operand,
        .accumulate = accumulate,
        .scratch = p->scratch.at};
    kernels->product(&args);
    guarded_check(&p->c);
    guarded_check(&p->scratch);
}

static void multiply(struct product *p, const struct kernels *kernels, bool accumulate)
{
    const struct part all = {.rows = p->rows, .columns = p->columns, .depth = p->depth};
    multiply_part(p, kernels, accumulate, &all);
}

static double operand(const struct product *p, float value)
{
    return (double)(p->operand == DTYPE_BF16 ? dtype_f32_from_bf16(dtype_bf16_from_f32(value))
                                             : value);
}

/* A term meets at most PRODUCT_DEPTH roundings in its part and one for each part, and what was in c
 * one for each part: (1 + 2^-24)^n - 1 < 1.001 n 2^-24 for n < 2^14. */
static void expect_right(const struct product *p, const char *name, float before, bool is_exact)
{
    int64_t parts = (p->depth + PRODUCT_DEPTH - 1) / PRODUCT_DEPTH;
    int64_t longest = p->depth < PRODUCT_DEPTH ? p->depth : PRODUCT_DEPTH;
    for (int64_t i = 0; i < p->rows; i++)
        for (int64_t j = 0; j < p->c_stride; j++) {
            double got = (double)((float *)p->c.at)[i * p->c_stride + j];
            double sum = (double)before, sizes = fabs((double)before);
            for (int64_t k = 0; k < p->depth && j < p->columns; k++) {
                double term = operand(p, p->a.at[i * p->a.row + k * p->a.column]) *
                              operand(p, p->b.at[k * p->b.row + j * p->b.column]);
                sum += term;
                sizes += fabs(term);
            }
            double allowed = is_exact ? 0 : 1.001 * (double)(longest + parts) * 0x1p-24 * sizes;
            if (j >= p->columns ? got == (double)UNTOUCHED : fabs(got - sum) <= allowed)
                continue;
            fail_msg("%s: %lld x %lld x %lld: c[%lld][%lld] is %.9g, not %.9g (allowed %.3g)", name,
                     (long long)p->rows, (long long)p->columns, (long long)p->depth, (long long)i,
                     (long long)j, got, sum, allowed);
        }
}

static const int64_t sizes[][3] = {
    {1, 1, 1},     {5, 15, 7},    {6, 16, 8},    {7, 17, 9},    {11, 31, 255},
    {12, 32, 256}, {13, 33, 257}, {25, 47, 519}, {145, 40, 30}, {2, 1030, 261},
    {0, 5, 5},     {5, 0, 5},     {5, 5, 0},
};
enum { SIZES = sizeof sizes / sizeof sizes[0] };

/* One size in one pair of directions, with or without what was there before, in one operand: over
 * the directions all four take turns. */
static void check_size(struct random *random, const struct kernels *kernels, int size,
                       int directions, bool is_exact)
{
    struct product p = product_create(random, sizes[size][0], sizes[size][1], sizes[size][2],
                                      directions, is_exact);
    bool accumulate = (size + directions) / 2 % 2 == 1;
    p.operand = (size + directions) % 2 ? DTYPE_BF16 : DTYPE_F32;
    reset(&p, accumulate ? 2.5f : UNTOUCHED);
    multiply(&p, kernels, accumulate);
    expect_right(&p, kernels->name, accumulate ? 2.5f : 0, is_exact);
    product_destroy(&p);
}

static void check_all(bool is_exact, uint64_t seed)
{
    struct random random = {seed};
    for (int s = 0; subjects_at(s); s++)
        for (int size = 0; size < SIZES; size++)
            for (int directions = 0; directions < DIRECTIONS * DIRECTIONS; directions++)
                check_size(&random, subjects_at(s), size, directions, is_exact);
}

static void exact_data_gives_exact_sums(void **state)
{
    (void)state;
    check_all(true, 1);
}

static void random_data_stays_within_the_budget(void **state)
{
    (void)state;
    check_all(false, 2);
}

/* But for products of bf16 in pairs. */
static void every_variant_gives_the_bits_of_the_reference(void **state)
{
    (void)state;
    struct random random = {3};
    for (int size = 0; size < SIZES; size++)
        for (int i = 0; i < 4; i++) {
            struct product p =
                product_create(&random, sizes[size][0], sizes[size][1], sizes[size][2],
                               (int)random_between(&random, 0, 9), false);
            float *expected = malloc(p.c.bytes);
            assert_non_null(expected);
            p.operand = i % 2 ? DTYPE_BF16 : DTYPE_F32;
            reset(&p, 2.5f);
            multiply(&p, kernels_find("reference"), i / 2 == 1);
            memcpy(expected, p.c.at, p.c.bytes);
            for (int s = 0; subjects_at(s); s++) {
                if (p.operand == DTYPE_BF16 &&
                    strncmp(subjects_at(s)->name, "avx512_bf16", 11) == 0)
                    continue;
                reset(&p, 2.5f);
                multiply(&p, subjects_at(s), i / 2 == 1);
                assert_memory_equal(expected, p.c.at, p.c.bytes);
            }
            free(expected);
            product_destroy(&p);
        }
}

static int64_t cut(struct random *random, int64_t left, int64_t step)
{
    int64_t length = random_between(random, 1, left / step + 2) * step;
    return length < left ? length : left;
}

static void cuts_do_not_change_a_bit(void **state)
{
    (void)state;
    enum { ROWS = 40, COLUMNS = 90, DEPTH = 700 };
    struct random random = {4};
    for (int s = 0; subjects_at(s); s++)
        for (int directions = 0; directions < DIRECTIONS * DIRECTIONS; directions++) {
            struct product p = product_create(&random, ROWS, COLUMNS, DEPTH, directions, false);
            p.operand = directions % 2 ? DTYPE_BF16 : DTYPE_F32;
            reset(&p, 2.5f);
            multiply(&p, subjects_at(s), true);
            float *whole = malloc(p.c.bytes);
            assert_non_null(whole);
            memcpy(whole, p.c.at, p.c.bytes);
            reset(&p, 2.5f);
            struct part part = {0};
            for (; part.row < ROWS; part.row += part.rows) {
                part.rows = cut(&random, ROWS - part.row, 1);
                for (part.column = 0; part.column < COLUMNS; part.column += part.columns) {
                    part.columns = cut(&random, COLUMNS - part.column, 1);
                    for (part.k = 0; part.k < DEPTH; part.k += part.depth) {
                        part.depth = cut(&random, DEPTH - part.k, PRODUCT_DEPTH);
                        multiply_part(&p, subjects_at(s), true, &part);
                    }
                }
            }
            assert_memory_equal(whole, p.c.at, p.c.bytes);
            free(whole);
            product_destroy(&p);
        }
}

static const uint32_t not_finite[] = {0x7fc00000, 0xffffffff, 0x7f800001,
                                      0xff80ffff, 0x7f800000, 0xff800000};
enum { NOT_FINITE = sizeof not_finite / sizeof not_finite[0] };

static void what_is_not_finite_stays_so_and_touches_nothing_else(void **state)
{
    (void)state;
    enum { ROWS = 9, COLUMNS = 20, DEPTH = 11 };
    struct random random = {5};
    for (int s = 0; subjects_at(s); s++)
        for (int i = 0; i < NOT_FINITE * DIRECTIONS * DIRECTIONS; i++) {
            struct product p = product_create(&random, ROWS, COLUMNS, DEPTH, i / NOT_FINITE, false);
            int64_t row = random_between(&random, 0, ROWS), k = random_between(&random, 0, DEPTH);
            int64_t column = random_between(&random, 0, COLUMNS);
            p.operand = i % 2 ? DTYPE_BF16 : DTYPE_F32;
            p.a.at[row * p.a.row + k * p.a.column] =
                dtype_f32_from_bits(not_finite[i % NOT_FINITE]);
            p.b.at[k * p.b.row + column * p.b.column] =
                dtype_f32_from_bits(not_finite[i % NOT_FINITE]);
            reset(&p, 0);
            multiply(&p, subjects_at(s), false);
            for (int64_t r = 0; r < ROWS; r++)
                for (int64_t j = 0; j < COLUMNS; j++)
                    assert_int_equal(!isfinite(((float *)p.c.at)[r * p.c_stride + j]),
                                     r == row || j == column);
            product_destroy(&p);
        }
}

/* Ones, behind which memory cannot be read: [rows, columns] dense along one or the other. */
struct fenced {
    struct matrix matrix;
    char *pages;
    size_t bytes; /* that can be read */
};

static struct fenced fenced_create(enum direction direction, int64_t rows, int64_t columns)
{
    const size_t page = (size_t)sysconf(_SC_PAGESIZE);
    const size_t count = (size_t)(rows * columns);
    struct fenced fenced = {.bytes = (count * sizeof(float) + page - 1) / page * page};
    fenced.pages =
        mmap(NULL, fenced.bytes + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_true(fenced.pages != MAP_FAILED);
    assert_int_equal(mprotect(fenced.pages + fenced.bytes, page, PROT_NONE), 0);
    float *at = (float *)(void *)(fenced.pages + fenced.bytes) - count;
    for (size_t i = 0; i < count; i++)
        at[i] = 1;
    fenced.matrix =
        direction == BY_ROWS ? (struct matrix){at, columns, 1} : (struct matrix){at, 1, rows};
    return fenced;
}

static void fenced_destroy(struct fenced *fenced)
{
    munmap(fenced->pages, fenced->bytes + (size_t)sysconf(_SC_PAGESIZE));
}

static void nothing_is_read_behind_a_matrix(void **state)
{
    (void)state;
    struct random random = {6};
    for (int s = 0; subjects_at(s); s++)
        for (int size = 0; size < SIZES; size++)
            for (int i = 0; i < 4; i++) {
                const int64_t *of = sizes[size];
                struct product p = product_create(&random, of[0], of[1], of[2], 0, true);
                struct matrix a = p.a, b = p.b;
                struct fenced fenced_a = fenced_create((enum direction)(i / 2), of[0], of[2]);
                struct fenced fenced_b = fenced_create((enum direction)(i % 2), of[2], of[1]);
                p.a = fenced_a.matrix;
                p.b = fenced_b.matrix;
                p.operand = (size + i) % 2 ? DTYPE_BF16 : DTYPE_F32;
                reset(&p, UNTOUCHED);
                multiply(&p, subjects_at(s), false);
                expect_right(&p, subjects_at(s)->name, 0, true);
                fenced_destroy(&fenced_a);
                fenced_destroy(&fenced_b);
                p.a = a;
                p.b = b;
                product_destroy(&p);
            }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(exact_data_gives_exact_sums),
        cmocka_unit_test(random_data_stays_within_the_budget),
        cmocka_unit_test(every_variant_gives_the_bits_of_the_reference),
        cmocka_unit_test(cuts_do_not_change_a_bit),
        cmocka_unit_test(what_is_not_finite_stays_so_and_touches_nothing_else),
        cmocka_unit_test(nothing_is_read_behind_a_matrix),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
