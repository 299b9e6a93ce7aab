/* Matrix products by cuBLASLt, which is loaded at run time. */
#pragma once

#include "worker/engine/device/cuda_runtime.h"

/* FAILED_PRECONDITION where the library is not to be had. Any number of times. */
MUST_CHECK enum status cuda_products_load(void);

/* As cuda_runtime.product says. */
MUST_CHECK enum status cuda_products_run(const struct cuda_product *args,
                                         struct CUstream_st *stream);
