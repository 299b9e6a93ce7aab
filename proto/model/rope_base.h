/* The base of rope for a longer window. */
#pragma once

#include <stdint.h>

/* The dynamic-NTK formula of transformers, with d for head_dim:
 *
 *     base * (factor * tokens / trained_tokens - (factor - 1)) ^ (d / (d - 2))
 *
 * LongRecipe's models were trained with bases from it. Rounded to float32, as which model files
 * hold it. head_dim > 2, factor >= 1, tokens >= trained_tokens > 0. */
double rope_base_stretched(double base, int head_dim, int64_t trained_tokens, double factor,
                           int64_t tokens);
