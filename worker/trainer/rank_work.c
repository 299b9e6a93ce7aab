/* Owns a rank's threads and its part of the mesh. */
#include "worker/trainer/rank_work.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"
#include "worker/agreement.h"
#include "worker/engine/transport/transport_split.h"
#include "worker/trainer/gpu_wait.h"
#include "worker/trainer/products.h"

enum { SIDE = 512, MEASURE_NS = 50000000, GPU_PRODUCTS = 16 };

static enum status find_kernels(struct rank_work *work, const char *name)
{
    work->kernels = name ? kernels_find(name) : kernels_best();
    if (!work->kernels)
        return fail(STATUS_INVALID_ARGUMENT, "there are no kernels \"%s\"", name);
    return kernels_runs_here(work->kernels)
               ? STATUS_OK
               : fail(STATUS_FAILED_PRECONDITION, "this CPU cannot run the kernels \"%s\"",
                      work->kernels->name);
}

/* Ranks with other kernels would have other bits. */
static enum status agree_on_kernels(const struct rank_work *work)
{
    char mine[32] = "", first[32];
    snprintf(mine, sizeof mine, "%s", work->kernels->name);
    memcpy(first, mine, sizeof first);
    TRY(transport_broadcast(work->transport, first, sizeof first));
    const bool same = strcmp(mine, first) == 0;
    return agreement_reach(work->transport,
                           same ? STATUS_OK
                                : fail(STATUS_FAILED_PRECONDITION,
                                       "this host's kernels are %s, those of rank 0 %s: say "
                                       "--kernels with one that all have",
                                       mine, first));
}

static enum status open_threads(struct rank_work *work, int threads)
{
    const struct binding *binding = &work->cores.binding;
    TRY(host_binding_agree(&work->cores, work->transport, threads, NULL));
    transport_set_cores_short(work->transport, !binding->pinned);
    return thread_pool_create(&work->pool, binding->threads,
                              binding->pinned ? binding->processing_units : NULL, !binding->pinned);
}

enum status rank_work_open(struct rank_work *work, struct transport *transport,
                           const struct mesh *mesh, int batch, int threads, const char *kernels)
{
    enum status status = STATUS_OK;
    *work = (struct rank_work){.transport = transport, .mesh = *mesh};
    TRY(mesh_check(mesh, transport->size, batch));
    work->place = mesh_place(mesh, transport->rank);
    TRY(agreement_reach(transport, find_kernels(work, kernels)));
    TRY(agree_on_kernels(work));
    TRY_ELSE(open_threads(work, threads), close);
    TRY_ELSE(transport_split(&work->sequence, transport, work->place.data), close);
    return STATUS_OK;
close:
    rank_work_close(work);
    return status;
}

void rank_work_leave(struct rank_work *work, void (*close)(void *context), void *context)
{
    work->left = close;
    work->left_context = context;
}

void rank_work_end(struct rank_work *work)
{
    if (work->left)
        work->left(work->left_context);
    work->left = NULL;
}

void rank_work_close(struct rank_work *work)
{
    transport_destroy(work->sequence);
    work->sequence = NULL;
    thread_pool_destroy(work->pool);
    work->pool = NULL;
    host_binding_release(&work->cores);
}

/* GPU_PRODUCTS products, whatever is in them. */
static enum status multiply_on_gpu(const struct rank_work *work, struct cuda_product *product)
{
    const struct cuda_streams *streams = work->streams;
    for (int repeat = 0; repeat < GPU_PRODUCTS; repeat++)
        TRY(streams->runtime->product(product, streams->compute));
    return gpu_wait(streams, work->transport);
}

static enum status gpu_product_rate(double *rate, const struct rank_work *work, int64_t side)
{
    const struct cuda_runtime *runtime = work->streams->runtime;
    const size_t square = (size_t)(side * side);
    void *memory = NULL, *workspace = NULL;
    enum status status = STATUS_OK;
    TRY_ELSE(runtime->allocate(&workspace, runtime->workspace_bytes), end);
    TRY_ELSE(runtime->allocate(&memory, 2 * square * sizeof(float)), end);
    TRY_ELSE(runtime->fill(memory, 0, 2 * square * sizeof(float), work->streams->compute), end);
    struct cuda_product product = {.y = memory,
                                   .y_stride = side,
                                   .x = (float *)memory + square,
                                   .w = (float *)memory + square + square / 2,
                                   .operand = DTYPE_BF16,
                                   .rows = side,
                                   .out = side,
                                   .in = side,
                                   .workspace = workspace,
                                   .workspace_bytes = runtime->workspace_bytes};
    TRY_ELSE(multiply_on_gpu(work, &product), end); /* its way of doing it is chosen */
    const int64_t begun_ns = clock_now_ns();
    TRY_ELSE(multiply_on_gpu(work, &product), end);
    *rate = 2.0 * (double)(side * side * side) * GPU_PRODUCTS /
            ((double)(clock_now_ns() - begun_ns) * 1e-9);
end:
    runtime->release(memory);
    runtime->release(workspace);
    return status;
}

enum status rank_work_product_rate(double *rate, const struct rank_work *work, enum dtype operand,
                                   int64_t width)
{
    if (work->streams)
        return gpu_product_rate(rate, work, width);
    const size_t square = (size_t)SIDE * SIDE;
    const size_t bytes = 3 * square * sizeof(float);
    float *matrices = aligned_alloc(64, bytes + products_scratch_bytes(work->pool));
    if (!matrices)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to measure a product");
    for (size_t i = 0; i < 3 * square; i++)
        matrices[i] = (float)(i % 17) / 16.0f;
    const struct product_args args = {
        .c = matrices,
        .c_stride = SIDE,
        .a = matrices + square,
        .a_row = SIDE,
        .a_column = 1,
        .b = matrices + 2 * square,
        .b_row = 1,
        .b_column = SIDE,
        .rows = SIDE,
        .columns = SIDE,
        .depth = SIDE,
        .operand = operand,
    };
    void *scratch = (char *)matrices + bytes;
    products_run(work->pool, work->kernels, &args, scratch); /* pages and threads are there */
    const int64_t begun_ns = clock_now_ns();
    int64_t now_ns = begun_ns, count = 0;
    for (; now_ns - begun_ns < MEASURE_NS; now_ns = clock_now_ns(), count++)
        products_run(work->pool, work->kernels, &args, scratch);
    *rate = 2.0 * SIDE * SIDE * SIDE * (double)count / ((double)(now_ns - begun_ns) * 1e-9);
    free(matrices);
    return STATUS_OK;
}
