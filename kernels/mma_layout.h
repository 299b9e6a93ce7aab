/* Where things lie in a warp's matrix fragments and in swizzled shared memory: pure index
 * arithmetic, the same code in the kernels and in the tests that replay it on the host.
 *
 * The product is m16n8k16 of 16-bit operands: C [16, 8] += A [16, 16] B [16, 8]. Registers hold two
 * neighbouring elements. A tile in shared memory is [rows, chunks] of 16 bytes (8 elements); chunk
 * c of row r lies at mma_layout_place(), so that the eight rows of one 8 x 8 matrix, read or
 * written together, lie in different banks.
 */
#pragma once

#ifdef __CUDACC__
#define MMA_LAYOUT_CALL static inline __host__ __device__
#else
#define MMA_LAYOUT_CALL static inline
#endif

enum { MMA_LAYOUT_CHUNK = 8 /* elements */ };

/* In chunks. `chunks` (of a row) is a multiple of 8, or an odd multiple of 4. */
MMA_LAYOUT_CALL int mma_layout_place(int chunks, int row, int chunk)
{
    const int swizzle = chunks % 8 == 0 ? row % 8 : row / 2 % 4;
    return row * chunks + (chunk ^ swizzle);
}

/* Element e (0..3) of a lane's part of C. */
MMA_LAYOUT_CALL int mma_layout_c_row(int lane, int e)
{
    return lane / 4 + e / 2 * 8;
}

MMA_LAYOUT_CALL int mma_layout_c_column(int lane, int e)
{
    return lane % 4 * 2 + e % 2;
}

/* Register a (0..3) of a lane's part of A holds columns `column` and `column` + 1 of a row. */
MMA_LAYOUT_CALL int mma_layout_a_row(int lane, int a)
{
    return lane / 4 + a % 2 * 8;
}

MMA_LAYOUT_CALL int mma_layout_a_column(int lane, int a)
{
    return lane % 4 * 2 + a / 2 * 8;
}

/* What a lane points at for ldmatrix.x4, which fills register m of all lanes from the eight rows
 * that lanes 8 m .. 8 m + 7 point at. `step` counts 16 elements along the chunks of a row.
 *
 * Queries: the four registers are A of 16 rows. */
MMA_LAYOUT_CALL int mma_layout_query_row(int lane)
{
    return lane / 8 % 2 * 8 + lane % 8;
}

MMA_LAYOUT_CALL int mma_layout_query_chunk(int lane, int step)
{
    return 2 * step + lane / 16;
}

/* Keys: registers 0, 1 are B of keys 0..7 and registers 2, 3 B of keys 8..15, summed over the
 * row. */
MMA_LAYOUT_CALL int mma_layout_key_row(int lane)
{
    return lane / 16 * 8 + lane % 8;
}

MMA_LAYOUT_CALL int mma_layout_key_chunk(int lane, int step)
{
    return 2 * step + lane / 8 % 2;
}

/* Values, transposed on the way: registers 0, 1 are B of elements 0..7 and registers 2, 3 B of
 * elements 8..15, summed over 16 keys. */
MMA_LAYOUT_CALL int mma_layout_value_row(int lane)
{
    return lane / 8 % 2 * 8 + lane % 8;
}

MMA_LAYOUT_CALL int mma_layout_value_chunk(int lane, int step)
{
    return 2 * step + lane / 16;
}
