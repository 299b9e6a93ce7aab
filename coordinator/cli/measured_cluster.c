/* Owns nothing. Promises to judge cores only where it can count them: on its own host. */
#include "coordinator/cli/measured_cluster.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/bench/host_facts.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/rpc/rpc_client.h"

enum { ASK_MS = 30000, HOST_BYTES = 64 };

static void count_group(struct measured_cluster *cluster, const Longhaul__V1__WorkerGroup *group)
{
    char host[HOST_BYTES] = "";
    struct host_facts facts;
    int threads_here = 0;
    gethostname(host, sizeof host - 1);
    host_facts_read(&facts);
    *cluster = (struct measured_cluster){.workers = group->size, .all_here = true};
    for (size_t i = 0; i < group->n_ranks; i++) {
        const Longhaul__V1__WorkerRank *rank = group->ranks[i];
        cluster->threads += rank->threads;
        if (strcmp(rank->host, host) == 0)
            threads_here += rank->threads;
        else
            cluster->all_here = false;
    }
    cluster->shared_cores = threads_here > facts.usable_cores;
}

enum status measured_cluster_read(struct measured_cluster *cluster, struct rpc_client *client)
{
    const struct rpc_stream_args call = {
        .path = "/longhaul.v1.Inference/GetCluster",
        .response = &longhaul__v1__get_cluster_response__descriptor,
        .timeout_ms = ASK_MS,
    };
    const Longhaul__V1__GetClusterRequest request = LONGHAUL__V1__GET_CLUSTER_REQUEST__INIT;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    TRY(rpc_client_call(client, &stream, &reply, &call, &request.base));
    const Longhaul__V1__GetClusterResponse *told = (const Longhaul__V1__GetClusterResponse *)reply;
    const bool ready = told->n_groups > 0 && told->groups[0]->n_ranks > 0;
    if (ready) {
        count_group(cluster, told->groups[0]);
        snprintf(cluster->model, sizeof cluster->model, "%s", told->model);
    }
    rpc_stream_close(stream);
    return ready ? STATUS_OK : fail(STATUS_UNAVAILABLE, "the coordinator has no workers yet");
}
