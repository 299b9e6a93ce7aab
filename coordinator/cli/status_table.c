/* Owns the layout of the cluster's tables and the names of their JSON members. Promises columns as
 * wide as what stands in them, and names that do not change within a schema_version. */
#include "coordinator/cli/status_table.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/placement_table.h"
#include "coordinator/cli/text_table.h"
#include "proto/json_writer.h"
#include "proto/printable.h"

/* ---- words ---- */

static const char *group_state(Longhaul__V1__GroupState state)
{
    switch (state) {
    case LONGHAUL__V1__GROUP_STATE__GROUP_STATE_JOINING:
        return "joining";
    case LONGHAUL__V1__GROUP_STATE__GROUP_STATE_LOADING:
        return "loading";
    case LONGHAUL__V1__GROUP_STATE__GROUP_STATE_READY:
        return "ready";
    case LONGHAUL__V1__GROUP_STATE__GROUP_STATE_RUNNING:
        return "running";
    default:
        return "unknown";
    }
}

static const char *transport(Longhaul__V1__Transport kind)
{
    switch (kind) {
    case LONGHAUL__V1__TRANSPORT__TRANSPORT_LOOPBACK:
        return "loopback";
    case LONGHAUL__V1__TRANSPORT__TRANSPORT_MPI:
        return "mpi";
    case LONGHAUL__V1__TRANSPORT__TRANSPORT_NCCL:
        return "nccl";
    default:
        return "unknown";
    }
}

static bool is_running(const Longhaul__V1__ActiveRequest *request)
{
    return request->state == LONGHAUL__V1__REQUEST_STATE__REQUEST_STATE_RUNNING;
}

static const char *request_kind(const Longhaul__V1__ActiveRequest *request)
{
    return request->kind == LONGHAUL__V1__REQUEST_KIND__REQUEST_KIND_SCORE ? "score" : "generate";
}

/* Whether a group can take a request now or after the one that it has. */
static bool is_serving(const Longhaul__V1__GetClusterResponse *cluster)
{
    bool serving = false;
    for (size_t i = 0; i < cluster->n_groups; i++)
        serving = serving ||
                  cluster->groups[i]->state == LONGHAUL__V1__GROUP_STATE__GROUP_STATE_READY ||
                  cluster->groups[i]->state == LONGHAUL__V1__GROUP_STATE__GROUP_STATE_RUNNING;
    return serving;
}

static const char *cluster_state(const Longhaul__V1__GetClusterResponse *cluster)
{
    if (cluster->draining)
        return "draining: new requests are refused";
    return is_serving(cluster) ? "serving" : "waiting for workers";
}

/* ---- tables ---- */

/* "0.3 s", "12 s", "5 min", "2 h". */
static void print_age(char *text, double seconds)
{
    if (seconds < 9.95)
        snprintf(text, TEXT_TABLE_CELL_BYTES, "%.1f s", seconds);
    else if (seconds < 600)
        snprintf(text, TEXT_TABLE_CELL_BYTES, "%.0f s", seconds);
    else if (seconds < 36000)
        snprintf(text, TEXT_TABLE_CELL_BYTES, "%.0f min", seconds / 60);
    else
        snprintf(text, TEXT_TABLE_CELL_BYTES, "%.0f h", seconds / 3600);
}

static void fill_groups(struct text_table *table, const Longhaul__V1__GetClusterResponse *cluster)
{
    text_table_head(table, "group|state|>ranks|transport|>requests");
    for (size_t i = 0; i < cluster->n_groups; i++) {
        const Longhaul__V1__WorkerGroup *group = cluster->groups[i];
        snprintf(table->cells[0], TEXT_TABLE_CELL_BYTES, "%s", group->group_id);
        snprintf(table->cells[1], TEXT_TABLE_CELL_BYTES, "%s", group_state(group->state));
        snprintf(table->cells[2], TEXT_TABLE_CELL_BYTES, "%zu/%d", group->n_ranks, group->size);
        snprintf(table->cells[3], TEXT_TABLE_CELL_BYTES, "%s", transport(group->transport));
        snprintf(table->cells[4], TEXT_TABLE_CELL_BYTES, "%d/%d", group->running_requests,
                 group->places);
        text_table_row(table);
    }
}

static void fill_ranks(struct text_table *table, const Longhaul__V1__WorkerGroup *group)
{
    text_table_head(table, ">rank|host|>process|>threads|kernels|>heard|>worked|>load");
    for (size_t i = 0; i < group->n_ranks; i++) {
        const Longhaul__V1__WorkerRank *rank = group->ranks[i];
        snprintf(table->cells[0], TEXT_TABLE_CELL_BYTES, "%d", rank->rank);
        snprintf(table->cells[1], TEXT_TABLE_CELL_BYTES, "%s", rank->host);
        snprintf(table->cells[2], TEXT_TABLE_CELL_BYTES, "%" PRId64, rank->pid);
        snprintf(table->cells[3], TEXT_TABLE_CELL_BYTES, "%d", rank->threads);
        snprintf(table->cells[4], TEXT_TABLE_CELL_BYTES, "%s", rank->kernels);
        print_age(table->cells[5], rank->heartbeat_age_seconds);
        print_age(table->cells[6], rank->work_age_seconds);
        print_age(table->cells[7], rank->load_seconds);
        text_table_row(table);
    }
}

static void fill_requests(struct text_table *table, const Longhaul__V1__GetClusterResponse *cluster)
{
    text_table_head(table, "request|kind|state|>age|group|>prompt|>answer");
    for (size_t i = 0; i < cluster->n_requests; i++) {
        const Longhaul__V1__ActiveRequest *request = cluster->requests[i];
        snprintf(table->cells[0], TEXT_TABLE_CELL_BYTES, "%s", request->request_id);
        snprintf(table->cells[1], TEXT_TABLE_CELL_BYTES, "%s", request_kind(request));
        snprintf(table->cells[2], TEXT_TABLE_CELL_BYTES, "%s",
                 is_running(request) ? "running" : "waiting");
        print_age(table->cells[3], request->age_seconds);
        snprintf(table->cells[4], TEXT_TABLE_CELL_BYTES, "%s", request->group_id);
        snprintf(table->cells[5], TEXT_TABLE_CELL_BYTES, "%" PRId64 "/%" PRId64,
                 request->prompt_tokens_done, request->prompt_tokens);
        snprintf(table->cells[6], TEXT_TABLE_CELL_BYTES, "%" PRId64, request->completion_tokens);
        text_table_row(table);
    }
}

/* As it may stand on a terminal. */
static void print_name(const char *name)
{
    printable_write_line(stdout, name, strlen(name));
}

static void print_groups(const Longhaul__V1__GetClusterResponse *cluster)
{
    struct text_table groups = {.out = stdout};
    for (int pass = 0; pass < 2; pass++) {
        groups.printing = pass == 1;
        fill_groups(&groups, cluster);
    }
    for (size_t i = 0; i < cluster->n_groups; i++) {
        struct text_table ranks = {.out = stdout};
        putchar('\n');
        print_name(cluster->groups[i]->group_id);
        putchar('\n');
        for (int pass = 0; pass < 2; pass++) {
            ranks.printing = pass == 1;
            fill_ranks(&ranks, cluster->groups[i]);
        }
        putchar('\n');
        placement_table_print(stdout, cluster->groups[i]);
    }
}

void status_table_print(const Longhaul__V1__GetClusterResponse *cluster)
{
    size_t running = 0;
    for (size_t i = 0; i < cluster->n_requests; i++)
        running += is_running(cluster->requests[i]);
    printf("state     %s\nmodel     ", cluster_state(cluster));
    print_name(cluster->model[0] ? cluster->model : "without a name");
    printf(", context %" PRId64 " tokens\nversion   ", cluster->context_tokens);
    print_name(cluster->version);
    printf("\nrequests  %zu running, %zu waiting\n", running, cluster->n_requests - running);
    if (cluster->n_groups > 0) {
        putchar('\n');
        print_groups(cluster);
    }
    if (cluster->n_requests == 0)
        return;
    putchar('\n');
    struct text_table requests = {.out = stdout};
    for (int pass = 0; pass < 2; pass++) {
        requests.printing = pass == 1;
        fill_requests(&requests, cluster);
    }
}

/* ---- JSON ---- */

static void rank_json(struct json_writer *writer, const Longhaul__V1__WorkerRank *rank)
{
    json_writer_begin_object(writer, NULL);
    json_writer_integer(writer, "rank", rank->rank);
    json_writer_text(writer, "host", rank->host);
    json_writer_integer(writer, "pid", rank->pid);
    json_writer_text(writer, "kernels", rank->kernels);
    json_writer_integer(writer, "threads", rank->threads);
    placement_table_json(writer, rank);
    json_writer_real(writer, "heartbeat_age_seconds", rank->heartbeat_age_seconds);
    json_writer_real(writer, "work_age_seconds", rank->work_age_seconds);
    json_writer_real(writer, "load_seconds", rank->load_seconds);
    json_writer_end_object(writer);
}

static void group_json(struct json_writer *writer, const Longhaul__V1__WorkerGroup *group)
{
    json_writer_begin_object(writer, NULL);
    json_writer_text(writer, "group_id", group->group_id);
    json_writer_text(writer, "state", group_state(group->state));
    json_writer_integer(writer, "size", group->size);
    json_writer_text(writer, "transport", transport(group->transport));
    json_writer_text(writer, "running_request_id", group->running_request_id);
    json_writer_integer(writer, "running_requests", group->running_requests);
    json_writer_integer(writer, "places", group->places);
    json_writer_begin_array(writer, "ranks");
    for (size_t i = 0; i < group->n_ranks; i++)
        rank_json(writer, group->ranks[i]);
    json_writer_end_array(writer);
    json_writer_end_object(writer);
}

static void request_json(struct json_writer *writer, const Longhaul__V1__ActiveRequest *request)
{
    json_writer_begin_object(writer, NULL);
    json_writer_text(writer, "request_id", request->request_id);
    json_writer_text(writer, "kind", request_kind(request));
    json_writer_text(writer, "state", is_running(request) ? "running" : "waiting");
    json_writer_real(writer, "age_seconds", request->age_seconds);
    json_writer_text(writer, "group_id", request->group_id);
    json_writer_integer(writer, "prompt_tokens", request->prompt_tokens);
    json_writer_integer(writer, "prompt_tokens_done", request->prompt_tokens_done);
    json_writer_integer(writer, "completion_tokens", request->completion_tokens);
    json_writer_end_object(writer);
}

void status_table_print_json(const Longhaul__V1__GetClusterResponse *cluster)
{
    struct json_writer writer = {.file = stdout};
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    json_writer_text(&writer, "version", cluster->version);
    json_writer_text(&writer, "model", cluster->model);
    json_writer_integer(&writer, "context_tokens", cluster->context_tokens);
    json_writer_boolean(&writer, "serving", is_serving(cluster) && !cluster->draining);
    json_writer_boolean(&writer, "draining", cluster->draining);
    json_writer_begin_array(&writer, "groups");
    for (size_t i = 0; i < cluster->n_groups; i++)
        group_json(&writer, cluster->groups[i]);
    json_writer_end_array(&writer);
    json_writer_begin_array(&writer, "requests");
    for (size_t i = 0; i < cluster->n_requests; i++)
        request_json(&writer, cluster->requests[i]);
    json_writer_end_array(&writer);
    json_writer_end_object(&writer);
    putchar('\n');
}
