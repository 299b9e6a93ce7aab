/* The transport between GPUs: what lies on the device goes by NCCL, what lies on the host by
 * another transport, which also says who is alive.
 */
#pragma once

#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/transport/nccl_api.h"
#include "worker/engine/transport/transport.h"

/* All ranks call it. Takes `host` where it succeeds, and aborts it where it fails; `streams` and
 * `nccl` are borrowed. `options` may be NULL.
 *
 * What is sent is read, and what is received is written, after all that was on streams->compute
 * when the request was posted. A gather of device memory does not wait: it is done in the order of
 * streams->compute, and must begin while this rank has no request under way. */
MUST_CHECK enum status transport_nccl_create(struct transport **transport, struct transport *host,
                                             const struct cuda_streams *streams,
                                             const struct nccl_api *nccl,
                                             const struct transport_options *options);
