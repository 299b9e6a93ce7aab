/* A fuzz target: one function that must survive any bytes, and the seeds to start from.
 *
 * Built by clang (preset fuzz) a target is a libFuzzer program. In the other presets fuzz_main.c
 * runs it over a fixed number of mutations of its seeds, as a test.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

/* The name is libFuzzer's. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes);

/* Writes seed `index` to `data` and returns its bytes, at most `room`; 0 past the last one. */
size_t fuzz_seed(int index, uint8_t *data, size_t room);
