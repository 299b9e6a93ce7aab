/* The CUDA kernels' index maps, replayed on the host. What ldmatrix and mma.m16n8k16 do is written
 * here from the PTX manual; where a lane points and what it believes its registers hold comes from
 * kernels/mma_layout.h, as in the kernels. A wrong index gives a wrong product. */
#include <stdbool.h>

#include "kernels/mma_layout.h"
#include "tests/support/unit.h"

enum { LANES = 32, KEYS = 64, CHUNKS_MAX = 32 };

static const int chunk_counts[] = {8, 12, 16, 32}; /* head_dim 64, 96, 128, 256 */

/* Shared memory as chunks of eight elements. */
static int memory[KEYS * CHUNKS_MAX][MMA_LAYOUT_CHUNK];

static void fill(int rows, int chunks, int (*value)(int row, int column))
{
    for (int r = 0; r < rows; r++)
        for (int c = 0; c < chunks; c++)
            for (int e = 0; e < MMA_LAYOUT_CHUNK; e++)
                memory[mma_layout_place(chunks, r, c)][e] = value(r, c * MMA_LAYOUT_CHUNK + e);
}

/* ldmatrix.x4: register m of lane l gets elements 2 (l % 4) and + 1 of row l / 4 of matrix m, whose
 * row i is what lane 8 m + i points at; .trans: of column l / 4. */
static void load_matrices(int out[LANES][4][2], const int place[LANES], bool transposed)
{
    for (int l = 0; l < LANES; l++)
        for (int m = 0; m < 4; m++)
            for (int h = 0; h < 2; h++) {
                int row = l / 4, element = l % 4 * 2 + h;
                out[l][m][h] = transposed ? memory[place[8 * m + element]][row]
                                          : memory[place[8 * m + row]][element];
            }
}

/* mma.m16n8k16: A row l / 4 + 8 (register % 2), column 2 (l % 4) + half + 8 (register / 2); B row 2
 * (l % 4) + half + 8 register, column l / 4; C row l / 4 + 8 (e / 2), column 2 (l % 4) + e % 2. */
static void multiply(int c[LANES][4], int a[LANES][4][2], int b[LANES][4][2], int b_first)
{
    int left[16][16], right[16][8];
    for (int l = 0; l < LANES; l++)
        for (int h = 0; h < 2; h++) {
            for (int r = 0; r < 4; r++)
                left[l / 4 + r % 2 * 8][l % 4 * 2 + h + r / 2 * 8] = a[l][r][h];
            for (int r = 0; r < 2; r++)
                right[l % 4 * 2 + h + r * 8][l / 4] = b[l][b_first + r][h];
        }
    for (int l = 0; l < LANES; l++)
        for (int e = 0; e < 4; e++)
            for (int k = 0; k < 16; k++)
                c[l][e] += left[l / 4 + e / 2 * 8][k] * right[k][l % 4 * 2 + e % 2];
}

static int query_value(int row, int column)
{
    return (row * 7 + column * 3) % 11 - 5;
}

static int key_value(int row, int column)
{
    return (row * 5 + column * 13 + row * column) % 7 - 3;
}

/* Where lanes point for step `step` of an operand. */
static void point(int place[LANES], int chunks, int first_row, int step, int (*row)(int),
                  int (*chunk)(int, int))
{
    for (int l = 0; l < LANES; l++)
        place[l] = mma_layout_place(chunks, first_row + row(l), chunk(l, step));
}

static void scores_come_out_where_the_maps_say(void **unused)
{
    (void)unused;
    for (int n = 0; n < 4; n++) {
        int chunks = chunk_counts[n];
        for (int keys = 0; keys < KEYS; keys += 16) {
            int c[2][LANES][4] = {0};
            for (int step = 0; step < chunks / 2; step++) {
                int place[LANES], a[LANES][4][2], b[LANES][4][2];
                fill(16, chunks, query_value);
                point(place, chunks, 0, step, mma_layout_query_row, mma_layout_query_chunk);
                load_matrices(a, place, false);
                fill(KEYS, chunks, key_value);
                point(place, chunks, keys, step, mma_layout_key_row, mma_layout_key_chunk);
                load_matrices(b, place, false);
                multiply(c[0], a, b, 0);
                multiply(c[1], a, b, 2);
            }
            for (int l = 0; l < LANES; l++)
                for (int e = 0; e < 8; e++) {
                    int row = mma_layout_c_row(l, e % 4);
                    int key = keys + e / 4 * 8 + mma_layout_c_column(l, e % 4);
                    int want = 0;
                    for (int d = 0; d < chunks * MMA_LAYOUT_CHUNK; d++)
                        want += query_value(row, d) * key_value(key, d);
                    assert_int_equal(c[e / 4][l][e % 4], want);
                }
        }
    }
}

static int probability(int row, int key)
{
    return (row * 3 + key * 5) % 9;
}

/* Probabilities stay in their lane: the C of two products is the A of the next. */
static void mixtures_come_out_where_the_maps_say(void **unused)
{
    (void)unused;
    for (int n = 0; n < 4; n++) {
        int chunks = chunk_counts[n];
        fill(KEYS, chunks, key_value);
        for (int step = 0; step < chunks / 2; step++) {
            int c[2][LANES][4] = {0};
            for (int keys = 0; keys < KEYS; keys += 16) {
                int place[LANES], a[LANES][4][2], b[LANES][4][2];
                for (int l = 0; l < LANES; l++)
                    for (int r = 0; r < 4; r++)
                        for (int h = 0; h < 2; h++)
                            /* register r is elements 2 (r % 2) + h of product r / 2 */
                            a[l][r][h] = probability(mma_layout_c_row(l, r % 2 * 2 + h),
                                                     keys + r / 2 * 8 +
                                                         mma_layout_c_column(l, r % 2 * 2 + h));
                point(place, chunks, keys, step, mma_layout_value_row, mma_layout_value_chunk);
                load_matrices(b, place, true);
                multiply(c[0], a, b, 0);
                multiply(c[1], a, b, 2);
            }
            for (int l = 0; l < LANES; l++)
                for (int e = 0; e < 8; e++) {
                    int row = mma_layout_c_row(l, e % 4);
                    int d = step * 16 + e / 4 * 8 + mma_layout_c_column(l, e % 4);
                    int want = 0;
                    for (int key = 0; key < KEYS; key++)
                        want += probability(row, key) * key_value(key, d);
                    assert_int_equal(c[e / 4][l][e % 4], want);
                }
        }
    }
}

/* Decode takes its queries from global memory, register by register. */
static void queries_lie_in_registers_as_ldmatrix_would_put_them(void **unused)
{
    (void)unused;
    for (int n = 0; n < 4; n++) {
        int chunks = chunk_counts[n];
        fill(16, chunks, query_value);
        for (int step = 0; step < chunks / 2; step++) {
            int place[LANES], a[LANES][4][2];
            point(place, chunks, 0, step, mma_layout_query_row, mma_layout_query_chunk);
            load_matrices(a, place, false);
            for (int l = 0; l < LANES; l++)
                for (int r = 0; r < 4; r++)
                    for (int h = 0; h < 2; h++)
                        assert_int_equal(a[l][r][h],
                                         query_value(mma_layout_a_row(l, r),
                                                     step * 16 + mma_layout_a_column(l, r) + h));
        }
    }
}

static void the_swizzle_gives_every_chunk_a_place_of_its_own(void **unused)
{
    (void)unused;
    for (int n = 0; n < 4; n++) {
        int chunks = chunk_counts[n];
        bool taken[KEYS * CHUNKS_MAX] = {0};
        for (int r = 0; r < KEYS; r++)
            for (int c = 0; c < chunks; c++) {
                int place = mma_layout_place(chunks, r, c);
                assert_true(place >= r * chunks && place < (r + 1) * chunks && !taken[place]);
                taken[place] = true;
            }
    }
}

/* Lanes 8 m .. 8 m + 7 read one matrix: eight chunks of 16 bytes, in eight groups of four banks. */
static void expect_no_conflict(const int place[LANES])
{
    for (int m = 0; m < LANES / 8; m++) {
        unsigned groups = 0;
        for (int i = 0; i < 8; i++)
            groups |= 1u << place[8 * m + i] % 8;
        assert_int_equal(groups, 0xff);
    }
}

static void no_two_rows_of_a_matrix_share_a_bank(void **unused)
{
    (void)unused;
    for (int n = 0; n < 4; n++) {
        int chunks = chunk_counts[n];
        for (int step = 0; step < chunks / 2; step++)
            for (int first = 0; first < KEYS; first += 16) {
                int place[LANES];
                point(place, chunks, first, step, mma_layout_query_row, mma_layout_query_chunk);
                expect_no_conflict(place);
                point(place, chunks, first, step, mma_layout_key_row, mma_layout_key_chunk);
                expect_no_conflict(place);
                point(place, chunks, first, step, mma_layout_value_row, mma_layout_value_chunk);
                expect_no_conflict(place);
            }
        /* Writing: eight threads in a row store eight chunks in a row of the tile. */
        for (int first = 0; first + 8 <= KEYS * chunks; first += 8) {
            unsigned groups = 0;
            for (int i = first; i < first + 8; i++)
                groups |= 1u << mma_layout_place(chunks, i / chunks, i % chunks) % 8;
            assert_int_equal(groups, 0xff);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scores_come_out_where_the_maps_say),
        cmocka_unit_test(mixtures_come_out_where_the_maps_say),
        cmocka_unit_test(queries_lie_in_registers_as_ldmatrix_would_put_them),
        cmocka_unit_test(the_swizzle_gives_every_chunk_a_place_of_its_own),
        cmocka_unit_test(no_two_rows_of_a_matrix_share_a_bank),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
