/* Copies panels of product_walk.h in float32, with AVX2: for the variants of AVX2 and AVX-512. */
#pragma once

#include "kernels/product_walk.h"

/* product_walk_ops.copy_a and copy_b: panels of A [ceil(depth / 8), width, 8], where elements past
 * depth are zeros, and of B [depth, width], whose width is a multiple of 8. `spare` is not
 * used. */
void product_copy_avx2_a(void *panels, const struct product_lines *from, void *spare);
void product_copy_avx2_b(void *panels, const struct product_lines *from, void *spare);

/* The same, rounded to bf16. */
void product_copy_avx2_rounded_a(void *panels, const struct product_lines *from, void *spare);
void product_copy_avx2_rounded_b(void *panels, const struct product_lines *from, void *spare);
