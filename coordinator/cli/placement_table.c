/* Owns the words for a rank's placement. */
#include "coordinator/cli/placement_table.h"

#include <string.h>

#include "coordinator/cli/console.h"
#include "coordinator/cli/text_table.h"
#include "proto/rpc/rpc_client.h"

enum { ASK_MS = 10000, CELL = TEXT_TABLE_CELL_BYTES };

static const char *or_dash(const char *text)
{
    return text[0] ? text : "-";
}

static void fill(struct text_table *table, const Longhaul__V1__WorkerGroup *group)
{
    text_table_head(table, "host|>rank|>threads|cpus|cores|node|address|gpu|link");
    for (size_t i = 0; i < group->n_ranks; i++) {
        const Longhaul__V1__WorkerRank *rank = group->ranks[i];
        const char *owner = rank->gpu[0] || !rank->cpus[0] ? "-"
                            : rank->cores_shared           ? "shared"
                                                           : "own";
        snprintf(table->cells[0], CELL, "%s", rank->host);
        snprintf(table->cells[1], CELL, "%d", rank->rank);
        snprintf(table->cells[2], CELL, "%d", rank->threads);
        snprintf(table->cells[3], CELL, "%s", or_dash(rank->cpus));
        if (rank->foreign_cores > 0)
            snprintf(table->cells[4], CELL, "%s, others hold %d", owner, rank->foreign_cores);
        else
            snprintf(table->cells[4], CELL, "%s", owner);
        snprintf(table->cells[5], CELL, "%s", or_dash(rank->memory_nodes));
        snprintf(table->cells[6], CELL, "%s%s%s", or_dash(rank->address),
                 rank->interface[0] ? " " : "", rank->interface);
        snprintf(table->cells[7], CELL, "%s", or_dash(rank->gpu));
        if (rank->link_bytes_per_second > 0)
            snprintf(table->cells[8], CELL, "%.2f GB/s", rank->link_bytes_per_second / 1e9);
        else
            snprintf(table->cells[8], CELL, "-");
        text_table_row(table);
    }
}

void placement_table_print(FILE *out, const Longhaul__V1__WorkerGroup *group)
{
    struct text_table table = {.out = out};
    for (int pass = 0; pass < 2; pass++) {
        table.printing = pass == 1;
        fill(&table, group);
    }
}

void placement_table_json(struct json_writer *writer, const Longhaul__V1__WorkerRank *rank)
{
    json_writer_text(writer, "cpus", rank->cpus);
    json_writer_text(writer, "memory_nodes", rank->memory_nodes);
    json_writer_boolean(writer, "cores_shared", rank->cores_shared);
    json_writer_integer(writer, "foreign_cores", rank->foreign_cores);
    json_writer_text(writer, "address", rank->address);
    json_writer_text(writer, "interface", rank->interface);
    json_writer_text(writer, "gpu", rank->gpu);
    json_writer_real(writer, "link_bytes_per_second", rank->link_bytes_per_second);
}

enum status placement_table_tell(struct rpc_client *client)
{
    const Longhaul__V1__GetClusterRequest request = LONGHAUL__V1__GET_CLUSTER_REQUEST__INIT;
    const struct rpc_stream_args call = {
        .path = "/longhaul.v1.Inference/GetCluster",
        .response = &longhaul__v1__get_cluster_response__descriptor,
        .timeout_ms = ASK_MS,
    };
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    TRY(rpc_client_call(client, &stream, &reply, &call, &request.base));
    const Longhaul__V1__GetClusterResponse *cluster =
        (const Longhaul__V1__GetClusterResponse *)reply;
    console_clear();
    for (size_t g = 0; g < cluster->n_groups; g++)
        placement_table_print(stderr, cluster->groups[g]);
    rpc_stream_close(stream);
    return STATUS_OK;
}
