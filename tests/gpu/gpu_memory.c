/* Owns device memory in tests, through the CUDA runtime's C interface. */
#include "tests/gpu/gpu_memory.h"

#include <cuda_runtime_api.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/support/unit.h"

enum { GUARD = 512, CANARY = 0xc3 };

bool gpu_memory_present(void)
{
    int count = 0;
    struct cudaDeviceProp device;
    cudaError_t error = cudaGetDeviceCount(&count);
    if (error == cudaSuccess && count > 0)
        error = cudaGetDeviceProperties(&device, 0);
    if (error != cudaSuccess || count == 0) {
        printf("no GPU: nothing was run (%s)\n", cudaGetErrorString(error));
        return false;
    }
    printf("GPU: %s, sm_%d%d, %d multiprocessors\n", device.name, device.major, device.minor,
           device.multiProcessorCount);
    return true;
}

int gpu_memory_processors(void)
{
    struct cudaDeviceProp device;
    gpu_memory_settle("cudaGetDeviceProperties", (int)cudaGetDeviceProperties(&device, 0));
    return device.multiProcessorCount;
}

void gpu_memory_settle(const char *what, int error)
{
    if (error == 0)
        error = (int)cudaDeviceSynchronize();
    if (error != 0)
        fail_msg("%s: %s", what, cudaGetErrorString((cudaError_t)error));
}

struct gpu_memory gpu_memory_create(size_t bytes, const void *from, unsigned char fill)
{
    struct gpu_memory memory = {.bytes = bytes};
    void *block = NULL;
    gpu_memory_settle("cudaMalloc", (int)cudaMalloc(&block, bytes + 2 * GUARD));
    memory.block = block;
    memory.at = memory.block + GUARD;
    gpu_memory_settle("cudaMemset", (int)cudaMemset(memory.block, CANARY, bytes + 2 * GUARD));
    gpu_memory_settle("cudaMemset", (int)cudaMemset(memory.at, fill, bytes));
    if (from)
        gpu_memory_write(&memory, from);
    return memory;
}

void gpu_memory_destroy(struct gpu_memory *memory)
{
    gpu_memory_check(memory);
    gpu_memory_settle("cudaFree", (int)cudaFree(memory->block));
    *memory = (struct gpu_memory){0};
}

void gpu_memory_read(const struct gpu_memory *memory, void *to)
{
    gpu_memory_settle("cudaMemcpy",
                      (int)cudaMemcpy(to, memory->at, memory->bytes, cudaMemcpyDeviceToHost));
}

void gpu_memory_write(const struct gpu_memory *memory, const void *from)
{
    gpu_memory_settle("cudaMemcpy",
                      (int)cudaMemcpy(memory->at, from, memory->bytes, cudaMemcpyHostToDevice));
}

void gpu_memory_check(const struct gpu_memory *memory)
{
    unsigned char guard[2 * GUARD];
    gpu_memory_settle("cudaMemcpy",
                      (int)cudaMemcpy(guard, memory->block, GUARD, cudaMemcpyDeviceToHost));
    gpu_memory_settle("cudaMemcpy",
                      (int)cudaMemcpy(guard + GUARD, memory->block + GUARD + memory->bytes, GUARD,
                                      cudaMemcpyDeviceToHost));
    for (int i = 0; i < 2 * GUARD; i++)
        if (guard[i] != CANARY)
            fail_msg("a kernel wrote outside its output, %d bytes from its edge",
                     i < GUARD ? GUARD - i : i - GUARD + 1);
}
