/* Owns the copying of product_copy_avx2.h: whole vectors along whichever direction is dense, turned
 * eight by eight where the panel has the other one; what is dense in neither is copied one by
 * one. */
#include "kernels/product_copy_avx2.h"

#include <immintrin.h>
#include <string.h>

enum { LANES = PRODUCT_WALK_GROUP };

#define INLINE static inline __attribute__((always_inline))

INLINE int64_t least(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

/* The first `count` lanes; none where it is not positive. */
INLINE __m256i first_lanes(int64_t count)
{
    const __m256i lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count), lanes);
}

/* v[i][j] becomes v[j][i]. */
INLINE void turn(__m256 v[LANES])
{
    __m256 pairs[LANES], quads[LANES];
#pragma GCC unroll 4
    for (int i = 0; i < LANES; i += 2) {
        pairs[i] = _mm256_unpacklo_ps(v[i], v[i + 1]);
        pairs[i + 1] = _mm256_unpackhi_ps(v[i], v[i + 1]);
    }
#pragma GCC unroll 2
    for (int i = 0; i < LANES; i += 4) {
        quads[i] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0x44);
        quads[i + 1] = _mm256_shuffle_ps(pairs[i], pairs[i + 2], 0xee);
        quads[i + 2] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0x44);
        quads[i + 3] = _mm256_shuffle_ps(pairs[i + 1], pairs[i + 3], 0xee);
    }
#pragma GCC unroll 4
    for (int i = 0; i < LANES / 2; i++) {
        v[i] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x20);
        v[i + 4] = _mm256_permute2f128_ps(quads[i], quads[i + 4], 0x31);
    }
}

/* LANES vectors `stride` apart, of which `vectors` are there, the first `count` elements of each;
 * zeros elsewhere. */
INLINE void load(__m256 v[LANES], const float *from, int64_t stride, int64_t vectors, int64_t count)
{
    const __m256i mask = first_lanes(count);
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i++)
        v[i] = i < vectors ? _mm256_maskload_ps(from + i * stride, mask) : _mm256_setzero_ps();
}

INLINE void load_all(__m256 v[LANES], const float *from, int64_t stride)
{
#pragma GCC unroll 8
    for (int i = 0; i < LANES; i++)
        v[i] = _mm256_loadu_ps(from + i * stride);
}

/* Into the second-level cache: a line of a matrix is copied in pieces that are too short for the
 * processor to foresee the next one. */
INLINE void fetch(const float *at)
{
    __builtin_prefetch(at, 0, 2);
}

/* B's columns are dense along k. */
static void turn_b_panel(float *panel, const struct product_lines *from, int64_t first)
{
    for (int l = 0; l < from->width; l += LANES) {
        const float *lines = from->from + (first + l) * from->line_stride;
        int64_t present = from->lines - first - l;
        int64_t k = 0;
        for (; present >= LANES && k + LANES <= from->depth; k += LANES) {
            __m256 v[LANES];
            load_all(v, lines + k, from->line_stride);
            for (int i = 0; i < LANES; i++)
                fetch(lines + k + (from->width + i) * from->line_stride);
            turn(v);
#pragma GCC unroll 8
            for (int i = 0; i < LANES; i++)
                _mm256_store_ps(panel + (k + i) * from->width + l, v[i]);
        }
        for (; k < from->depth; k += LANES) {
            __m256 v[LANES];
            int64_t count = least(LANES, from->depth - k);
            load(v, lines + k, from->line_stride, present, count);
            turn(v);
#pragma GCC unroll 8
            for (int i = 0; i < LANES; i++)
                if (i < count)
                    _mm256_store_ps(panel + (k + i) * from->width + l, v[i]);
        }
    }
}

/* B's rows are dense. */
static void copy_b_rows(float *panels, const struct product_lines *from)
{
    enum { AHEAD = 8 };
    for (int64_t k = 0; k < from->depth; k++) {
        const float *row = from->from + k * from->depth_stride;
        float *to = panels + k * from->width;
        for (int64_t l = 0; l < from->lines; l += from->width) {
            for (int i = 0; i < from->width; i += LANES) {
                fetch(row + l + i + AHEAD * from->depth_stride);
                _mm256_store_ps(to + i,
                                _mm256_maskload_ps(row + l + i, first_lanes(from->lines - l - i)));
            }
            to += from->width * PRODUCT_DEPTH;
        }
    }
}

static float element(const struct product_lines *from, int64_t line, int64_t k)
{
    if (line >= from->lines || k >= from->depth)
        return 0;
    return from->from[line * from->line_stride + k * from->depth_stride];
}

static void copy_b_panel(float *panel, const struct product_lines *from, int64_t first)
{
    for (int64_t k = 0; k < from->depth; k++)
        for (int l = 0; l < from->width; l++)
            *panel++ = element(from, first + l, k);
}

static void copy_b(float *panels, const struct product_lines *from)
{
    if (from->line_stride == 1) {
        copy_b_rows(panels, from);
        return;
    }
    for (int64_t l = 0; l < from->lines; l += from->width)
        if (from->depth_stride == 1)
            turn_b_panel(panels + l * PRODUCT_DEPTH, from, l);
        else
            copy_b_panel(panels + l * PRODUCT_DEPTH, from, l);
}

/* A's rows are dense along k. */
static void copy_a_rows(float *panel, const struct product_lines *from, int64_t first)
{
    for (int64_t k = 0; k < from->depth; k += LANES) {
        const __m256i mask = first_lanes(from->depth - k);
        const float *at = from->from + first * from->line_stride + k;
        for (int l = 0; l < from->width; l++, at += from->line_stride, panel += LANES) {
            fetch(at + from->width * from->line_stride);
            _mm256_store_ps(panel, first + l < from->lines ? _mm256_maskload_ps(at, mask)
                                                           : _mm256_setzero_ps());
        }
    }
}

/* A's columns are dense. */
static void turn_a(float *panels, const struct product_lines *from)
{
    for (int64_t k = 0; k < from->depth; k += LANES, panels += from->width * LANES)
        for (int64_t first = 0; first < from->lines; first += from->width)
            for (int l = 0; l < from->width; l += LANES) {
                __m256 v[LANES];
                const float *at = from->from + k * from->depth_stride + first + l;
                float *to = panels + first * PRODUCT_DEPTH + l * LANES;
                load(v, at, from->depth_stride, from->depth - k, from->lines - first - l);
                for (int i = 0; i < LANES; i++)
                    fetch(at + (LANES + i) * from->depth_stride);
                turn(v);
#pragma GCC unroll 8
                for (int i = 0; i < LANES; i++)
                    if (l + i < from->width)
                        _mm256_store_ps(to + i * LANES, v[i]);
            }
}

static void copy_a_panel(float *panel, const struct product_lines *from, int64_t first)
{
    for (int64_t start = 0; start < from->depth; start += LANES)
        for (int l = 0; l < from->width; l++)
            for (int64_t k = start; k < start + LANES; k++)
                *panel++ = element(from, first + l, k);
}

static void copy_a(float *panels, const struct product_lines *from)
{
    if (from->depth_stride != 1 && from->line_stride == 1) {
        turn_a(panels, from);
        return;
    }
    for (int64_t l = 0; l < from->lines; l += from->width)
        if (from->depth_stride == 1)
            copy_a_rows(panels + l * PRODUCT_DEPTH, from, l);
        else
            copy_a_panel(panels + l * PRODUCT_DEPTH, from, l);
}

/* As dtype_bf16_from_f32, in place; count is a multiple of LANES. */
static void round_panel(float *values, int64_t count)
{
    const __m256i kept = _mm256_set1_epi32((int)0xffff0000);
    for (int64_t i = 0; i < count; i += LANES) {
        __m256 value = _mm256_load_ps(values + i);
        __m256i bits = _mm256_castps_si256(value);
        __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
        __m256i rounded = _mm256_add_epi32(bits, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
        __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
        __m256 is_nan = _mm256_cmp_ps(value, value, _CMP_UNORD_Q);
        rounded = _mm256_blendv_epi8(rounded, quiet, _mm256_castps_si256(is_nan));
        _mm256_store_si256((__m256i *)(values + i), _mm256_and_si256(rounded, kept));
    }
}

/* The first `depth` elements of each line. */
static void round_panels(float *panels, const struct product_lines *from, int64_t depth)
{
    for (int64_t l = 0; l < from->lines; l += from->width)
        round_panel(panels + l * PRODUCT_DEPTH, depth * from->width);
}

void product_copy_avx2_a(void *panels, const struct product_lines *from, void *spare)
{
    (void)spare;
    copy_a(panels, from);
}

void product_copy_avx2_b(void *panels, const struct product_lines *from, void *spare)
{
    (void)spare;
    copy_b(panels, from);
}

void product_copy_avx2_rounded_a(void *panels, const struct product_lines *from, void *spare)
{
    (void)spare;
    copy_a(panels, from);
    round_panels(panels, from, (from->depth + LANES - 1) / LANES * LANES);
}

void product_copy_avx2_rounded_b(void *panels, const struct product_lines *from, void *spare)
{
    (void)spare;
    copy_b(panels, from);
    round_panels(panels, from, from->depth);
}
