/* Owns the names of the JSON members that run, score and plan share. Promises not to change one
 * within a schema_version. */
#include "coordinator/cli/plan_report.h"

/* "unknown" for a value of a newer coordinator. */
#define NAME_OF(names, value)                                                                      \
    ((size_t)(value) < sizeof(names) / sizeof(names)[0] ? (names)[value] : "unknown")

static const char *const partitions[] = {"unknown", "contiguous", "zigzag"};
static const char *const schedules[] = {"unknown", "gather", "halo", "ring"};
static const char *const caches[] = {"unknown", "bf16", "f32", "int8"};

void plan_report_json(struct json_writer *writer, const Longhaul__V1__PlanSummary *plan)
{
    if (!plan) {
        json_writer_null(writer, "plan");
        return;
    }
    json_writer_begin_object(writer, "plan");
    json_writer_text(writer, "method", plan->method);
    json_writer_integer(writer, "workers", plan->workers);
    json_writer_text(writer, "partition", NAME_OF(partitions, plan->partition));
    json_writer_text(writer, "schedule", NAME_OF(schedules, plan->schedule));
    json_writer_integer(writer, "context_tokens", plan->context_tokens);
    json_writer_integer(writer, "stage_tokens", plan->stage_tokens);
    json_writer_text(writer, "cache", NAME_OF(caches, plan->cache));
    json_writer_text(writer, "kernels", plan->kernels);
    json_writer_integer(writer, "prompt_tokens", plan->prompt_tokens);
    json_writer_integer(writer, "memory_bytes", plan->memory_bytes);
    json_writer_integer(writer, "base_bytes", plan->base_bytes);
    json_writer_integer(writer, "sent_bytes", plan->sent_bytes);
    json_writer_real(writer, "flops", plan->flops);
    json_writer_real(writer, "seconds", plan->seconds);
    json_writer_begin_object(writer, "parts");
    for (size_t part = 0; part < plan->n_parts; part++)
        json_writer_real(writer, plan->parts[part]->name, plan->parts[part]->seconds);
    json_writer_end_object(writer);
    json_writer_real(writer, "token_seconds", plan->token_seconds);
    json_writer_real(writer, "load_seconds", plan->load_seconds);
    json_writer_text(writer, "text", plan->text);
    json_writer_end_object(writer);
}

void plan_report_usage_json(struct json_writer *writer, const Longhaul__V1__Usage *usage)
{
    json_writer_begin_object(writer, "usage");
    json_writer_integer(writer, "prompt_tokens", usage ? usage->prompt_tokens : 0);
    json_writer_integer(writer, "completion_tokens", usage ? usage->completion_tokens : 0);
    json_writer_integer(writer, "cached_tokens", usage ? usage->cached_tokens : 0);
    json_writer_integer(writer, "prefilled_tokens", usage ? usage->prefilled_tokens : 0);
    json_writer_integer(writer, "drafted_tokens", usage ? usage->drafted_tokens : 0);
    json_writer_integer(writer, "accepted_tokens", usage ? usage->accepted_tokens : 0);
    json_writer_end_object(writer);
}

void plan_report_seconds_json(struct json_writer *writer, const Longhaul__V1__Seconds *seconds)
{
    json_writer_begin_object(writer, "seconds");
    json_writer_real(writer, "load", seconds ? seconds->load : 0);
    json_writer_real(writer, "prefill", seconds ? seconds->prefill : 0);
    json_writer_real(writer, "decode", seconds ? seconds->decode : 0);
    json_writer_end_object(writer);
}

void plan_report_ranks_json(struct json_writer *writer, Longhaul__V1__RankReport *const *ranks,
                            size_t count)
{
    json_writer_begin_array(writer, "ranks");
    for (size_t i = 0; i < count; i++) {
        const Longhaul__V1__RankReport *rank = ranks[i];
        json_writer_begin_object(writer, NULL);
        json_writer_integer(writer, "rank", rank->rank);
        json_writer_integer(writer, "sent_bytes", rank->sent_bytes);
        json_writer_integer(writer, "received_bytes", rank->received_bytes);
        json_writer_integer(writer, "predicted_sent_bytes", rank->predicted_sent_bytes);
        json_writer_integer(writer, "predicted_received_bytes", rank->predicted_received_bytes);
        json_writer_real(writer, "compute_seconds", rank->compute_seconds);
        json_writer_begin_object(writer, "parts");
        for (size_t part = 0; part < rank->n_parts; part++)
            json_writer_real(writer, rank->parts[part]->name, rank->parts[part]->seconds);
        json_writer_end_object(writer);
        json_writer_real(writer, "exchange_wait_seconds", rank->exchange_wait_seconds);
        json_writer_real(writer, "exchange_seconds", rank->exchange_seconds);
        json_writer_real(writer, "slowness", rank->slowness);
        json_writer_integer(writer, "memory_bytes", rank->memory_bytes);
        json_writer_integer(writer, "peak_resident_bytes", rank->peak_resident_bytes);
        json_writer_integer(writer, "base_bytes", rank->base_bytes);
        json_writer_real(writer, "cpu_seconds", rank->cpu_seconds);
        json_writer_integer(writer, "voluntary_switches", rank->voluntary_switches);
        json_writer_integer(writer, "involuntary_switches", rank->involuntary_switches);
        json_writer_real(writer, "wait_seconds", rank->wait_seconds);
        json_writer_real(writer, "host_cpu_seconds", rank->host_cpu_seconds);
        json_writer_integer(writer, "host_cores", rank->host_cores);
        json_writer_end_object(writer);
    }
    json_writer_end_array(writer);
}
