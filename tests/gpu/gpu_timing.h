/* Times of device work: events around calls in a row (one, where it is long), the median of many
 * such spans, inputs rotated so that none is found in the cache. */
#pragma once

#include <stddef.h>

struct gpu_timing {
    double median_ms, least_ms, most_ms;
    int repeats;
};

/* Calls call(context, repeat) with repeat = 0, 1, 2, ...: it puts work on the default stream and
 * returns a CUDA error. Calls before the first span warm up; the rest take about `seconds`, at
 * least three spans. Ends the program on an error. */
struct gpu_timing gpu_timing_of(int (*call)(void *context, int repeat), void *context,
                                double seconds);

/* Bytes a second, read plus written, of copies on the device of `bytes` each. */
double gpu_timing_copy_rate(size_t bytes);

/* How many sets of `bytes` are worth rotating among: beyond any cache, within memory. */
int gpu_timing_sets(size_t bytes);

/* Device memory of `bytes` full of normal numbers of 16 bits: bf16, or f16. Ends the program where
 * there is none. */
void *gpu_timing_numbers(size_t bytes, int bf16);

/* Zeroed device memory. */
void *gpu_timing_memory(size_t bytes);

void gpu_timing_free(void *memory);

/* Ends the program with a word where `error` is not 0. */
void gpu_timing_check(const char *what, int error);
