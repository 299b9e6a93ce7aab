/* Products of product.h on the threads of a rank: C is cut into parts, each of which one thread
 * computes alone, so that the bits do not depend on the cut.
 */
#pragma once

#include <stddef.h>

#include "kernels/kernels.h"
#include "worker/engine/device/thread_pool.h"

/* Of scratch for products_run, 64-byte aligned. */
size_t products_scratch_bytes(const struct thread_pool *pool);

/* The product of `args`, whose own scratch is not used. Only the pool's creating thread calls it;
 * nobody may skip its items. */
void products_run(struct thread_pool *pool, const struct kernels *kernels,
                  const struct product_args *args, void *scratch);
