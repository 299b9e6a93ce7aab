/* Device memory with canaries on both sides, for tests of kernels. Whoever asks for what the device
 * does not give ends the test. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* What a program returns that found no GPU: nothing was run, and nothing is shown. */
enum { GPU_ABSENT = 77 };

/* Whether a device can be used; prints which one, or that there is none. */
bool gpu_memory_present(void);

/* The device's multiprocessors. */
int gpu_memory_processors(void);

struct gpu_memory {
    void *at; /* device memory, 256-byte aligned, `bytes` long */
    size_t bytes;
    unsigned char *block;
};

/* Filled with the bytes of `from`, or with `fill` where that is NULL. */
struct gpu_memory gpu_memory_create(size_t bytes, const void *from, unsigned char fill);
void gpu_memory_destroy(struct gpu_memory *memory);

/* Waits for the device; fails the test on its error. */
void gpu_memory_settle(const char *what, int error);

void gpu_memory_read(const struct gpu_memory *memory, void *to);
void gpu_memory_write(const struct gpu_memory *memory, const void *from);

/* Fails the test if a byte outside [at, at + bytes) has changed. */
void gpu_memory_check(const struct gpu_memory *memory);
