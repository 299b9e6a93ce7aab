/* Attention of training with AVX-512: a register tile of 12 rows x 32 columns; the rest is AVX2's.
 * A sum is the same chain as there, and what a wider strip takes in beside is exactly 0: the same
 * bits.
 */
#include <immintrin.h>

#include "kernels/attention_gradient_avx2.h"
#include "kernels/variants.h"

enum { STRIP = ATTENTION_GRADIENT_STRIP, FEW = 4, PANELS = 2, PANEL = ATTENTION_GRADIENT_PANEL };

#define INLINE static inline __attribute__((always_inline))

/* So many of k, whose columns of a lie evenly; *a and *b go on. */
INLINE void add_products(__m512 sums[STRIP][PANELS],
                         const struct attention_gradient_product *product, const float **a,
                         const float **b, int depth, const int rows, const int panels)
{
    const int64_t a_row = product->a_row, a_column = product->a_column;
    for (; depth > 0; depth--, *a += a_column, *b += PANEL) {
        __m512 columns[PANELS];
#pragma GCC unroll 2
        for (int p = 0; p < panels; p++)
            columns[p] = _mm512_loadu_ps(*b + p * product->b_panel);
#pragma GCC unroll 12
        for (int r = 0; r < rows; r++) {
            const __m512 factor = _mm512_set1_ps((*a)[r * a_row]);
#pragma GCC unroll 2
            for (int p = 0; p < panels; p++)
                sums[r][p] = _mm512_fmadd_ps(factor, columns[p], sums[r][p]);
        }
    }
}

INLINE void put(float *c, __m512 sums, bool accumulate)
{
    _mm512_storeu_ps(c, accumulate ? _mm512_add_ps(_mm512_loadu_ps(c), sums) : sums);
}

/* Rows [first, first + rows) of the product. */
INLINE void tile(const struct attention_gradient_product *product, int first, const int rows,
                 const int panels)
{
    __m512 sums[STRIP][PANELS];
    float *const *c = product->c + first;
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++) {
        __builtin_prefetch(c[r], 1);
        sums[r][0] = sums[r][1] = _mm512_setzero_ps();
    }
    const float *a = product->a + first * product->a_row, *b = product->b;
    const int64_t jump = product->a_block - product->a_depth * product->a_column;
    int depth = product->depth;
    for (; depth >= product->a_depth; depth -= product->a_depth, a += jump)
        add_products(sums, product, &a, &b, product->a_depth, rows, panels);
    add_products(sums, product, &a, &b, depth, rows, panels);
#pragma GCC unroll 12
    for (int r = 0; r < rows; r++)
#pragma GCC unroll 2
        for (int p = 0; p < panels; p++)
            put(c[r] + p * PANEL, sums[r][p], product->accumulate);
}

INLINE void multiply_panels(const struct attention_gradient_product *product, int rows,
                            const int panels)
{
    int first = 0;
    if (rows == STRIP)
        return tile(product, 0, STRIP, panels);
    for (; first + FEW <= rows; first += FEW)
        tile(product, first, FEW, panels);
    for (; first < rows; first++)
        tile(product, first, 1, panels);
}

static void multiply(const struct attention_gradient_product *product, int rows, int panels)
{
    if (panels == PANELS)
        multiply_panels(product, rows, PANELS);
    else
        multiply_panels(product, rows, 1);
}

static const struct attention_gradient_ops ops = {
    .strip_rows = STRIP,
    .tile_panels = PANELS,
    .multiply = multiply,
    .pack_rows = attention_gradient_avx2_pack_rows,
    .pack_columns = attention_gradient_avx2_pack_columns,
    .softmax = attention_gradient_avx2_softmax,
    .differentiate = attention_gradient_avx2_differentiate,
};

static void forward(const struct attention_gradient_tile *one,
                    const struct attention_gradient_state *state)
{
    attention_gradient_walk_forward(one, state, &ops);
}

static void backward(const struct attention_gradient_tile *one,
                     const struct attention_gradient_flow *flow)
{
    attention_gradient_walk_backward(one, flow, &ops);
}

void attention_gradient_avx512_install(struct kernels *kernels)
{
    kernels->attention_gradient_forward = forward;
    kernels->attention_gradient_backward = backward;
}
