/* Blocks of CUDA threads on one CPU thread, for tests of kernels without a GPU.
 *
 * Every thread of a block is a fiber. A warp's lanes meet at each warp-wide operation, a block's
 * threads at each barrier; which warp runs, and how far ahead of the others, is random, so that a
 * missing barrier shows. Lanes that meet at different operations, and threads that wait for ever,
 * end the program with a word. Copies that a thread started are done as late as its waits allow,
 * and what they will overwrite is NaN from their start on.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct emulated_place {
    unsigned x, y, z;
};

extern struct emulated_place emulated_thread, emulated_block, emulated_block_size;
extern char *emulated_shared; /* the launch's dynamic shared memory */

/* Runs kernel(context) for every thread of every block. Threads are a multiple of 32. */
void emulated_launch(struct emulated_place grid, unsigned threads, size_t shared_bytes,
                     void (*kernel)(void *context), void *context);

/* Waits for the warp; all 32 lanes bring `bytes` (<= 64) of what they know, and get what all of
 * them brought, [32][64] bytes, good until the next exchange. `kind` must be the same in all. */
const char *emulated_exchange(int kind, const void *mine, size_t bytes);

/* Waits for the block. */
void emulated_barrier(void);

/* 16 bytes from memory to the shared memory at offset `to`, zeros where not `there`. */
void emulated_copy(uint32_t to, const void *from, bool there);
void emulated_copy_commit(void);
void emulated_copy_wait(int pending);

#ifdef __cplusplus
}
#endif
