/* Owns the streams of one rank on its device. */
#include <stdio.h>
#include <string.h>

#include "kernels/kernels_cuda.h"
#include "worker/engine/device/cuda_runtime.h"

/* As many devices as there is room for; "..." stands for the others. */
static enum status find_links(struct cuda_streams *streams)
{
    static const char *const names[] = {
        [CUDA_LINK_HOST] = "host", [CUDA_LINK_PCIE] = "pcie", [CUDA_LINK_NVLINK] = "nvlink"};
    const size_t room = sizeof streams->links - sizeof ",nvlink,...";
    size_t used = 0;
    int other = 0;
    for (; other < streams->devices && used <= room; other++) {
        enum cuda_link link = CUDA_LINK_HOST;
        if (other != streams->device)
            TRY(streams->runtime->link(&link, streams->device, other));
        used +=
            (size_t)snprintf(streams->links + used, sizeof streams->links - used, "%s%s",
                             other > 0 ? "," : "", other == streams->device ? "self" : names[link]);
    }
    if (other < streams->devices)
        snprintf(streams->links + used, sizeof streams->links - used, ",...");
    return STATUS_OK;
}

enum status cuda_streams_open(struct cuda_streams *streams, const struct cuda_runtime *runtime,
                              const struct kernels_cuda *kernels, int local_rank, int local_size,
                              bool oversubscribe)
{
    enum status status = STATUS_OK;
    *streams = (struct cuda_streams){.runtime = runtime, .kernels = kernels};
    TRY(runtime->count(&streams->devices));
    if (streams->devices < 1)
        return fail(STATUS_FAILED_PRECONDITION, "this host has no GPU: use --device cpu");
    if (local_size > streams->devices && !oversubscribe)
        return fail(STATUS_FAILED_PRECONDITION,
                    "%d ranks on a host with %d GPUs: start one rank a GPU, or give "
                    "--oversubscribe-gpu, which is for tests of correctness only",
                    local_size, streams->devices);
    streams->device = local_rank % streams->devices;
    streams->ranks = (local_size - streams->device + streams->devices - 1) / streams->devices;
    TRY(runtime->open(streams->device, &streams->facts));
    TRY(find_links(streams));
    TRY_ELSE(runtime->stream_create(&streams->compute), undo);
    TRY_ELSE(runtime->stream_create(&streams->exchange), undo);
    return STATUS_OK;
undo:
    cuda_streams_close(streams);
    return status;
}

enum status cuda_streams_add(const struct cuda_streams *streams, float *sum, const float *values,
                             size_t count)
{
    const struct kernels_cuda_add args = {sum, values, (int64_t)count};
    return streams->runtime->launched(streams->kernels->add(&args, streams->compute), "add");
}

void cuda_streams_close(struct cuda_streams *streams)
{
    if (streams->runtime) {
        streams->runtime->stream_destroy(streams->exchange);
        streams->runtime->stream_destroy(streams->compute);
    }
    memset(streams, 0, sizeof *streams);
}
