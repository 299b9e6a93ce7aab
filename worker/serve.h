/* One rank in service: joins the coordinator, loads the model, runs what it is told, reports, and
 * ends when it is told or when the coordinator or a peer is lost.
 */
#pragma once

#include <stdint.h>

#include "proto/plan/mesh.h"
#include "proto/rpc/rpc_client.h"
#include "proto/status.h"
#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/transport/transport.h"

struct serve_options {
    const char *model_path;
    const char *kernels; /* NULL: the best that all ranks can run */
    bool int8_cache;
    struct mesh mesh;     /* as it was asked for: mesh_parse */
    int64_t memory_bytes; /* most of a rank on a CPU; 0: its share of what the host has free */
    int threads;          /* 0: the rank's share of the cores */
    int process_ranks;    /* ranks that share this process */
    const struct cuda_streams
        *streams;        /* the rank's place on a GPU; NULL: it computes on the CPU */
    enum status refused; /* not OK: the rank joins only to say why it cannot serve */
    const char *refusal;
    const char *join_secret;      /* the file that holds it */
    int64_t join_deadline_ms;     /* longest wait for the coordinator */
    const char *coordinator;      /* its address, for workers */
    int64_t heartbeat_timeout_ms; /* a coordinator silent for longer is lost; so is a peer */
};

/* Plays the rank of `transport` until the end. OK when it was told to stop. */
MUST_CHECK enum status serve(struct transport *transport, struct rpc_client *client,
                             const struct serve_options *options);
