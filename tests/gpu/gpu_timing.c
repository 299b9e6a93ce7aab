/* Owns the events and the memory of benches. */
#include "tests/gpu/gpu_timing.h"

#include <cuda_runtime_api.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "kernels/dtype.h"
#include "tests/support/random.h"

enum { REPEATS_MOST = 200, REPEATS_LEAST = 3, CALLS_MOST = 64, POOL = 1 << 20 };

#define ROTATED_BYTES ((size_t)512 << 20) /* many times a cache */
#define BATCH_MS 1.0f

void gpu_timing_check(const char *what, int error)
{
    if (error == 0)
        return;
    fprintf(stderr, "%s: %s\n", what, cudaGetErrorString((cudaError_t)error));
    exit(1);
}

static int by_size(const void *a, const void *b)
{
    const float x = *(const float *)a, y = *(const float *)b;
    return (x > y) - (x < y);
}

/* Calls in a row between two events, and one before them, so that the device is busy while the host
 * puts the first ones on the stream: none of its gaps are timed. */
static float timed(int (*call)(void *context, int repeat), void *context, int *repeat, int calls,
                   cudaEvent_t events[2])
{
    float ms;
    gpu_timing_check("a timed call", call(context, (*repeat)++));
    gpu_timing_check("cudaEventRecord", (int)cudaEventRecord(events[0], NULL));
    for (int c = 0; c < calls; c++)
        gpu_timing_check("a timed call", call(context, (*repeat)++));
    gpu_timing_check("cudaEventRecord", (int)cudaEventRecord(events[1], NULL));
    gpu_timing_check("a timed call", (int)cudaEventSynchronize(events[1]));
    gpu_timing_check("cudaEventElapsedTime", (int)cudaEventElapsedTime(&ms, events[0], events[1]));
    return ms / (float)calls;
}

struct gpu_timing gpu_timing_of(int (*call)(void *context, int repeat), void *context,
                                double seconds)
{
    float times[REPEATS_MOST];
    cudaEvent_t events[2];
    double spent = 0;
    int count = 0, repeat = 0;
    for (int e = 0; e < 2; e++)
        gpu_timing_check("cudaEventCreate", (int)cudaEventCreate(&events[e]));
    timed(call, context, &repeat, 1, events);
    const float once = timed(call, context, &repeat, 1, events);
    const int calls = once >= BATCH_MS               ? 1
                      : once * CALLS_MOST < BATCH_MS ? CALLS_MOST
                                                     : (int)(BATCH_MS / once) + 1;
    while (count < REPEATS_MOST && (count < REPEATS_LEAST || spent < seconds * 1e3)) {
        times[count] = timed(call, context, &repeat, calls, events);
        spent += (double)times[count++] * calls;
    }
    qsort(times, (size_t)count, sizeof *times, by_size);
    for (int e = 0; e < 2; e++)
        gpu_timing_check("cudaEventDestroy", (int)cudaEventDestroy(events[e]));
    return (struct gpu_timing){
        .median_ms = (double)times[count / 2],
        .least_ms = (double)times[0],
        .most_ms = (double)times[count - 1],
        .repeats = count,
    };
}

struct copy {
    char *from, *to;
    size_t bytes;
};

static int copy_once(void *context, int repeat)
{
    const struct copy *copy = context;
    (void)repeat;
    return (int)cudaMemcpyAsync(copy->to, copy->from, copy->bytes, cudaMemcpyDeviceToDevice, NULL);
}

double gpu_timing_copy_rate(size_t bytes)
{
    struct copy copy = {gpu_timing_numbers(bytes, 1), gpu_timing_memory(bytes), bytes};
    const struct gpu_timing timing = gpu_timing_of(copy_once, &copy, 0.3);
    gpu_timing_free(copy.from);
    gpu_timing_free(copy.to);
    return 2 * (double)bytes / (timing.median_ms * 1e-3);
}

int gpu_timing_sets(size_t bytes)
{
    return bytes > ROTATED_BYTES / 16 ? (int)(ROTATED_BYTES / bytes) + 1 : 16;
}

void *gpu_timing_memory(size_t bytes)
{
    void *memory = NULL;
    gpu_timing_check("cudaMalloc", (int)cudaMalloc(&memory, bytes));
    gpu_timing_check("cudaMemset", (int)cudaMemset(memory, 0, bytes));
    return memory;
}

void gpu_timing_free(void *memory)
{
    gpu_timing_check("cudaFree", (int)cudaFree(memory));
}

void *gpu_timing_numbers(size_t bytes, int bf16)
{
    static uint16_t pool[POOL];
    struct random random = {bytes};
    char *memory = gpu_timing_memory(bytes);
    for (size_t i = 0; i < POOL && i < bytes / 2; i++) {
        const float x = random_normal(&random);
        pool[i] = bf16 ? dtype_bf16_from_f32(x) : dtype_f16_from_f32(x);
    }
    /* The pool over and over, from another place each time: no two rows are alike by design. */
    for (size_t done = 0, skip = 0; done < bytes; skip = (skip + 7919) % (POOL / 2)) {
        size_t count = sizeof pool - 2 * skip;
        if (bytes < sizeof pool) {
            count = bytes;
            skip = 0;
        }
        if (count > bytes - done)
            count = bytes - done;
        gpu_timing_check("cudaMemcpy", (int)cudaMemcpy(memory + done, pool + skip, count,
                                                       cudaMemcpyHostToDevice));
        done += count;
    }
    return memory;
}
