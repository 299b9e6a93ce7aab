/* matmul_cuda_bench [OUT IN]: times the decode product of one row and the expansion to bf16, for
 * every type of weights, on the GPU. One JSON line each, beside the copy rate of the same run. */
#include <stdio.h>
#include <stdlib.h>

#include "kernels/kernels_cuda.h"
#include "tests/gpu/gpu_memory.h"
#include "tests/gpu/gpu_timing.h"

enum { SETS_MAX = 32 };

struct bench {
    struct kernels_cuda_matrix matrices[SETS_MAX];
    int sets;
    void *x, *y, *expanded;
};

static int product(void *context, int repeat)
{
    const struct bench *bench = context;
    const struct kernels_cuda_matrix *matrix = &bench->matrices[repeat % bench->sets];
    const struct kernels_cuda_matmul args = {
        .y = bench->y,
        .y_stride = matrix->out,
        .x = bench->x,
        .x_stride = matrix->in,
        .rows = 1,
        .matrices = {*matrix},
        .matrix_count = 1,
        .out_end = matrix->out,
    };
    return kernels_cuda_find()->matmul_decode(&args, NULL);
}

static int expansion(void *context, int repeat)
{
    const struct bench *bench = context;
    const struct kernels_cuda_dequantize args = {
        .out = bench->expanded,
        .operand = DTYPE_BF16,
        .matrix = bench->matrices[repeat % bench->sets],
        .end = bench->matrices[0].out,
    };
    return kernels_cuda_find()->dequantize(&args, NULL);
}

static void print_line(const char *what, const struct kernels_cuda_matrix *matrix,
                       struct gpu_timing timing, double bytes, double copy_rate)
{
    printf(
        "{\"bench\": \"%s\", \"dtype\": \"%s\", \"out\": %lld, \"in\": %lld, \"median_ms\": %.4f, "
        "\"least_ms\": %.4f, \"most_ms\": %.4f, \"repeats\": %d, \"share_of_copy_rate\": %.4g}\n",
        what, dtype_name(matrix->dtype), (long long)matrix->out, (long long)matrix->in,
        timing.median_ms, timing.least_ms, timing.most_ms, timing.repeats,
        bytes / (timing.median_ms * 1e-3) / copy_rate);
    fflush(stdout);
}

int main(int count, char **arguments)
{
    const int64_t out = count == 3 ? atoll(arguments[1]) : 14336;
    const int64_t in = count == 3 ? atoll(arguments[2]) : 4096;
    if (out < 1 || in < 256 || in % 256 != 0) {
        fprintf(stderr, "matmul_cuda_bench [OUT IN], IN a multiple of 256\n");
        return 2;
    }
    if (!gpu_memory_present())
        return GPU_ABSENT;
    const double copy_rate = gpu_timing_copy_rate(count == 3 ? 16 << 20 : 1 << 30);
    printf("{\"bench\": \"copy\", \"bytes_per_second\": %.4g}\n", copy_rate);
    struct bench bench = {.y = gpu_timing_memory((size_t)out * 4),
                          .x = gpu_timing_memory((size_t)in * 4),
                          .expanded = gpu_timing_memory((size_t)(out * in) * 2)};
    for (int dtype = 0; dtype < DTYPE_ON_GPU; dtype++) {
        const size_t bytes = (size_t)out * dtype_row_bytes((enum dtype)dtype, in);
        bench.sets = gpu_timing_sets(bytes);
        for (int s = 0; s < bench.sets; s++)
            bench.matrices[s] = (struct kernels_cuda_matrix){gpu_timing_numbers(bytes, 0),
                                                             (enum dtype)dtype, out, in};
        print_line("matmul_decode", bench.matrices, gpu_timing_of(product, &bench, 0.2),
                   (double)bytes, copy_rate);
        print_line("dequantize", bench.matrices, gpu_timing_of(expansion, &bench, 0.2),
                   (double)bytes + 2 * (double)out * (double)in, copy_rate);
        for (int s = 0; s < bench.sets; s++)
            gpu_timing_free((void *)(uintptr_t)bench.matrices[s].rows);
    }
    gpu_timing_free(bench.x);
    gpu_timing_free(bench.y);
    gpu_timing_free(bench.expanded);
    return 0;
}
