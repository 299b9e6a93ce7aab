/* Windows of a text, in tokens: where each begins and ends. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "coordinator/eval/eval_fit.h"
#include "proto/status.h"

struct eval_windows_args {
    const char *text;
    size_t bytes;
    eval_fit_count *count;
    void *context;
};

/* The end of the longest run of whole words from `begin` on that has at most `tokens` tokens;
 * `*counted` is how many it has. A word ends before white space. `*end` is the text's end where all
 * of the rest fits. OUT_OF_RANGE where not even one word does. */
MUST_CHECK enum status eval_windows_end(size_t *end, int64_t *counted,
                                        const struct eval_windows_args *args, size_t begin,
                                        int64_t tokens);
