/* Owns the names of the engine's parts. Promises that clients see of the engine's insides nothing
 * but names and seconds. */
#include "coordinator/report_message.h"

#include <stddef.h>

static const struct {
    const char *name;
    size_t offset; /* of its seconds in the rank's report */
} parts[REPORT_MESSAGE_PARTS] = {
    {"rows", offsetof(Longhaul__Control__V1__RankReport, rows_seconds)},
    {"attend", offsetof(Longhaul__Control__V1__RankReport, attend_seconds)},
    {"head", offsetof(Longhaul__Control__V1__RankReport, head_seconds)},
    {"step_qkv", offsetof(Longhaul__Control__V1__RankReport, step_qkv_seconds)},
    {"step_attend", offsetof(Longhaul__Control__V1__RankReport, step_attend_seconds)},
    {"step_output", offsetof(Longhaul__Control__V1__RankReport, step_output_seconds)},
    {"step_gate", offsetof(Longhaul__Control__V1__RankReport, step_gate_seconds)},
    {"step_down", offsetof(Longhaul__Control__V1__RankReport, step_down_seconds)},
    {"step_logits", offsetof(Longhaul__Control__V1__RankReport, step_logits_seconds)},
};

static void set_parts(struct report_message *message, const Longhaul__Control__V1__RankReport *from)
{
    for (size_t i = 0; i < REPORT_MESSAGE_PARTS; i++) {
        Longhaul__V1__ComputePart *part = &message->parts[i];
        longhaul__v1__compute_part__init(part);
        part->name = (char *)(size_t)parts[i].name; /* only read */
        part->seconds = *(const double *)(const void *)((const char *)from + parts[i].offset);
        message->pointers[i] = part;
    }
    message->report.n_parts = REPORT_MESSAGE_PARTS;
    message->report.parts = message->pointers;
}

void report_message_set(struct report_message *message, int rank,
                        const Longhaul__Control__V1__RankReport *from)
{
    Longhaul__V1__RankReport *report = &message->report;
    longhaul__v1__rank_report__init(report);
    report->rank = rank;
    report->sent_bytes = from->sent_bytes;
    report->received_bytes = from->received_bytes;
    report->predicted_sent_bytes = from->predicted_sent_bytes;
    report->predicted_received_bytes = from->predicted_received_bytes;
    report->compute_seconds = from->compute_seconds;
    report->exchange_wait_seconds = from->exchange_wait_seconds;
    report->exchange_seconds = from->exchange_seconds;
    report->memory_bytes = from->memory_bytes;
    report->base_bytes = from->base_bytes;
    report->peak_resident_bytes = from->peak_resident_bytes;
    report->cpu_seconds = from->cpu_seconds;
    report->voluntary_switches = from->voluntary_switches;
    report->involuntary_switches = from->involuntary_switches;
    report->wait_seconds = from->wait_seconds;
    report->host_cpu_seconds = from->host_cpu_seconds;
    report->host_cores = from->host_cores;
    set_parts(message, from);
}
