/* Stands in for CUDA devices, their kernels and NCCL, in host memory: so that the engine's CUDA
 * device and its transport run in every build, and a missing wait, a wrong offset or an empty slot
 * fails without a card.
 *
 * - Device memory is at addresses that nobody can touch; only work on a stream reaches what lies
 *   behind them. It begins as NaN, and every allocation has a guard behind it.
 * - Streams are queues. Work is done late: some of it whenever its device is asked something, some
 *   by a thread that makes devices move on by themselves; the next stream is drawn at random among
 *   those whose next piece may run. The seed is printed by the tests that set it.
 * - A send waits for its receive and the other way round, as pieces of their streams, so an order
 *   that would lock real streams locks these.
 * - A kernel is its reference over the same panels.
 *
 * Each thread that opens a device has a device of its own.
 */
#pragma once

#include <stdint.h>

#include "kernels/kernels_cuda.h"
#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/transport/nccl_api.h"

const struct cuda_runtime *standin_runtime(void);
const struct kernels_cuda *standin_kernels(void);
const struct nccl_api *standin_nccl(void);

/* For devices opened from now on. */
void standin_seed(uint64_t seed);

/* How many devices a host has; 64 unless told. */
void standin_device_count(int devices);

/* After `calls` more calls on this thread's device a call fails, and so do all after it, as an
 * illegal access would, or by the error of standin_fail_with; 0: never. */
void standin_fail_after(int64_t calls);

/* The number of the error that devices fail by; 700 unless told. */
void standin_fail_with(int code);

/* From now on NCCL reports an error of its own to `rank` of every communicator; -1: to none. */
void standin_nccl_fail(int rank);

/* Counted since the last standin_seed, over all devices. */
struct standin_counts {
    int64_t allocations;
    int64_t captures;
    int64_t graph_launches;
    int64_t allocated_bytes; /* now */
    int64_t pinned_bytes;    /* now */
    int64_t bytes_to_host;   /* copied from devices */
};
struct standin_counts standin_counts(void);
