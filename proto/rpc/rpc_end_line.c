/* Owns the family of the calls that have ended. Promises that no text of a client is a label. */
#include "proto/rpc/rpc_end_line.h"

#include <stdbool.h>
#include <stdio.h>

#include "proto/clock.h"
#include "proto/metrics.h"

enum { NAME_BYTES = 128, OWN_FIELDS = 5 };

static struct metrics_family calls = {.name = "longhaul_rpc_server_requests",
                                      .help = "gRPC calls that have ended, by method and code.",
                                      .type = METRICS_COUNTER,
                                      .labels = {"method", "code"}};

void rpc_end_line_offer(void)
{
    metrics_offer(&calls);
}

static void count(const struct rpc_end_line *end)
{
    char name[NAME_BYTES] = "unknown";
    if (end->method)
        snprintf(name, sizeof name, "%s/%s", end->method->service, end->method->name);
    metrics_add(&calls, 1, name, status_name(end->code));
}

void rpc_end_line_tell(const struct rpc_end_line *end)
{
    const bool good = end->code == STATUS_OK || end->code == STATUS_CANCELLED;
    const bool routine = end->method && end->method->routine && good;
    struct log_field fields[RPC_END_LINE_NOTES_MAX + OWN_FIELDS] = {
        log_text("method", end->method ? end->method->name : end->path),
        log_text("peer", end->peer),
        log_text("code", status_name(end->code)),
    };
    size_t used = 3;
    if (end->tenant[0])
        fields[used++] = log_text("tenant", end->tenant);
    for (size_t n = 0; n < end->note_count; n++)
        fields[used++] = end->notes[n];
    fields[used++] = log_real("seconds", clock_seconds_since(end->begun_ns), 3);
    log_fields(routine ? LOG_DEBUG : LOG_INFO, "request ended", fields, used);
    count(end);
}
