/* Attention of prefill in 16-bit integers, for CPUs without a bf16 product: what is rounded, and
 * why no sum overflows. Queries, keys and values are bf16 as they were given; a variant makes whole
 * numbers of them in units that are powers of two. A product's sum is exact in int32.
 *
 * - A query or a key counts in the smallest unit in which its length is below 2^15: a product of
 *   two is below 2^30 + 2^23, whichever of its terms are added first.
 * - A value counts in the unit in which its largest element is at least 2^12 and below 2^13. A bf16
 *   has eight bits, so that is at most 2^13 - 2^5.
 * - A row's probabilities in a panel, each times its value's unit, count in the smallest unit in
 *   which all are below 2^15 and their sum below 2^18; rounded, that is 2^18 + 35 at most. So their
 *   product with values is below (2^18 + 35) * (2^13 - 2^5) < 2^31.
 *
 * A number of eight bits is off only where it is below 2^7 units, by half a unit at most; in what
 * is 2^14 units long and more, few elements are. A unit depends on one row's, one token's, or one
 * row and panel's numbers, so results do not depend on how calls are cut. What is not finite, or
 * has a length whose square float32 cannot hold, makes its unit a NaN. What is below 2^-79 may be
 * 0.
 *
 * Scores, maxima, sums and acc are float32 as attention.h says; a row's sum is of probabilities
 * before they are rounded. Decode stays in float32: few rows do not pay for the conversion.
 */
#pragma once

#include "kernels/attention.h"

enum {
    ATTENTION_INTEGERS_NAN = 0x7fc00000,
    ATTENTION_INTEGERS_UNITS = 254, /* exponents of a unit and of what is multiplied by, together */
    ATTENTION_INTEGERS_LENGTH = 99, /* see attention_integers_row_unit */
    ATTENTION_INTEGERS_VALUE = 12,  /* bits of a value's largest element */
    ATTENTION_INTEGERS_MOST = 14,   /* of the largest probability */
    ATTENTION_INTEGERS_TOTAL = 17,  /* of their sum */
};

/* Exponents are those of float32, with their excess of 127, whatever the sign. */
static inline int attention_integers_exponent(float x)
{
    return (int)(dtype_bits_from_f32(x) << 1 >> 24);
}

/* A unit's, of a query or key whose squares add up to `squares`: half of theirs, rounded up, less
 * 15 bits. */
static inline int attention_integers_row_unit(float squares)
{
    return (attention_integers_exponent(squares) + ATTENTION_INTEGERS_LENGTH) / 2;
}

/* The unit itself; a NaN of squares that are not finite. */
static inline float attention_integers_row_scale(float squares)
{
    const uint32_t bits = attention_integers_exponent(squares) == 255
                              ? (uint32_t)ATTENTION_INTEGERS_NAN
                              : (uint32_t)attention_integers_row_unit(squares) << 23;
    return dtype_f32_from_bits(bits);
}
