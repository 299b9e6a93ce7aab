/* Owns the choice between CPU and GPU. Promises that the ranks agree on it before one of them acts
 * on it. */
#include "worker/rank_place.h"

#include "proto/log.h"
#include "worker/agreement.h"
#include "worker/engine/device/cuda_find.h"
#include "worker/engine/transport/transport_nccl.h"

static enum status look(struct rank_place *place, const struct transport *host,
                        const struct nccl_api **nccl, const struct rank_place_request *request)
{
    const struct cuda_runtime *runtime = NULL;
    const struct kernels_cuda *kernels = NULL;
    if (request->cpu)
        return fail(STATUS_FAILED_PRECONDITION, "--device cpu was given");
    TRY(request->find_cuda ? request->find_cuda(&runtime, &kernels)
                           : cuda_find(&runtime, &kernels));
    if (host->size > 1 || request->nccl)
        TRY(request->find_nccl ? request->find_nccl(nccl) : nccl_find(nccl));
    TRY(cuda_streams_open(&place->streams, runtime, kernels, host->local_rank, host->local_size,
                          request->oversubscribe));
    place->on_gpu = true;
    return STATUS_OK;
}

static void leave_gpu(struct rank_place *place)
{
    if (place->on_gpu)
        cuda_streams_close(&place->streams);
    place->on_gpu = false;
}

enum status rank_place_open(struct rank_place *place, struct transport *host,
                            const struct rank_place_request *request)
{
    const struct nccl_api *nccl = NULL;
    *place = (struct rank_place){.transport = host};
    /* The first rank without decides for all. */
    enum status status = agreement_reach(host, look(place, host, &nccl, request));
    if (status == STATUS_OK && nccl)
        status =
            transport_nccl_create(&place->transport, host, &place->streams, nccl, request->options);
    if (status == STATUS_OK)
        return STATUS_OK;
    leave_gpu(place);
    if (request->cuda || request->nccl || transport_aborted(host))
        return status;
    if (host->rank == 0 && !request->cpu && (cuda_find_built() || request->find_cuda))
        log_line(LOG_INFO, "computing on the CPU", log_text("cause", status_message()));
    return STATUS_OK;
}

void rank_place_close(struct rank_place *place)
{
    transport_destroy(place->transport);
    leave_gpu(place);
    place->transport = NULL;
}
