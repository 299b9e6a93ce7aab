/* Owns the streams of one rank on its device. */
#include <stdio.h>
#include <string.h>

#include "worker/engine/device/cuda_runtime.h"

/* As many devices as there is room for; "..." stands for the others. */
static enum status find_links(struct cuda_lane *lane)
{
    static const char *const names[] = {
        [CUDA_LINK_HOST] = "host", [CUDA_LINK_PCIE] = "pcie", [CUDA_LINK_NVLINK] = "nvlink"};
    const size_t room = sizeof lane->links - sizeof ",nvlink,...";
    size_t used = 0;
    int other = 0;
    for (; other < lane->devices && used <= room; other++) {
        enum cuda_link link = CUDA_LINK_HOST;
        if (other != lane->device)
            TRY(lane->runtime->link(&link, lane->device, other));
        used +=
            (size_t)snprintf(lane->links + used, sizeof lane->links - used, "%s%s",
                             other > 0 ? "," : "", other == lane->device ? "self" : names[link]);
    }
    if (other < lane->devices)
        snprintf(lane->links + used, sizeof lane->links - used, ",...");
    return STATUS_OK;
}

enum status cuda_lane_open(struct cuda_lane *lane, const struct cuda_runtime *runtime,
                           const struct kernels_cuda *kernels, int local_rank, int local_size,
                           bool oversubscribe)
{
    enum status status = STATUS_OK;
    *lane = (struct cuda_lane){.runtime = runtime, .kernels = kernels};
    TRY(runtime->count(&lane->devices));
    if (lane->devices < 1)
        return fail(STATUS_FAILED_PRECONDITION, "this host has no GPU: use --device cpu");
    if (local_size > lane->devices && !oversubscribe)
        return fail(STATUS_FAILED_PRECONDITION,
                    "%d ranks on a host with %d GPUs: start one rank a GPU, or give "
                    "--oversubscribe-gpu, which is for tests of correctness only",
                    local_size, lane->devices);
    lane->device = local_rank % lane->devices;
    lane->ranks = (local_size - lane->device + lane->devices - 1) / lane->devices;
    TRY(runtime->open(lane->device, &lane->facts));
    TRY(find_links(lane));
    TRY_ELSE(runtime->stream_create(&lane->compute), undo);
    TRY_ELSE(runtime->stream_create(&lane->exchange), undo);
    return STATUS_OK;
undo:
    cuda_lane_close(lane);
    return status;
}

void cuda_lane_close(struct cuda_lane *lane)
{
    if (lane->runtime) {
        lane->runtime->stream_destroy(lane->exchange);
        lane->runtime->stream_destroy(lane->compute);
    }
    memset(lane, 0, sizeof *lane);
}
