/* Owns the names of the JSON members that run, score and plan share. Promises not to change one
 * within a schema_version. */
#include "coordinator/cli/plan_report.h"

#include "proto/choice_message.h"

static void choice_json(struct json_writer *writer, const Longhaul__V1__Choice *message)
{
    struct choice choice;
    char method[METHOD_TEXT_BYTES];
    if (choice_message_get(&choice, message) != STATUS_OK)
        return;
    method_print(&choice.method, method);
    json_writer_text(writer, "method", method);
    json_writer_integer(writer, "workers", choice.workers);
    json_writer_text(writer, "partition", choice_partition_name(choice.partition));
    json_writer_text(writer, "schedule", choice_schedule_name(choice.schedule));
    json_writer_integer(writer, "context_tokens", choice.context_tokens);
    json_writer_integer(writer, "stage_tokens", choice.stage_tokens);
    json_writer_integer(writer, "panel_tokens", choice.panel_tokens);
    json_writer_integer(writer, "block_tokens", choice.block_tokens);
    json_writer_text(writer, "cache", choice.cache == CHOICE_CACHE_BF16 ? "bf16" : "f32");
    json_writer_text(writer, "kernels", choice.kernels);
    json_writer_boolean(writer, "decode_split", choice.decode_split);
}

void plan_report_json(struct json_writer *writer, const Longhaul__V1__PlanSummary *plan)
{
    if (!plan) {
        json_writer_null(writer, "plan");
        return;
    }
    json_writer_begin_object(writer, "plan");
    if (plan->choice)
        choice_json(writer, plan->choice);
    json_writer_integer(writer, "prompt_tokens", plan->prompt_tokens);
    json_writer_integer(writer, "memory_bytes", plan->memory_bytes);
    json_writer_integer(writer, "base_bytes", plan->base_bytes);
    json_writer_integer(writer, "sent_bytes", plan->sent_bytes);
    json_writer_real(writer, "flops", plan->flops);
    json_writer_real(writer, "seconds", plan->seconds);
    json_writer_text(writer, "text", plan->text);
    json_writer_end_object(writer);
}

void plan_report_usage_json(struct json_writer *writer, const Longhaul__V1__Usage *usage)
{
    json_writer_begin_object(writer, "usage");
    json_writer_integer(writer, "prompt_tokens", usage ? usage->prompt_tokens : 0);
    json_writer_integer(writer, "completion_tokens", usage ? usage->completion_tokens : 0);
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
        json_writer_real(writer, "rows", rank->rows_seconds);
        json_writer_real(writer, "attend", rank->attend_seconds);
        json_writer_real(writer, "head", rank->head_seconds);
        json_writer_real(writer, "step_qkv", rank->step_qkv_seconds);
        json_writer_real(writer, "step_attend", rank->step_attend_seconds);
        json_writer_real(writer, "step_output", rank->step_output_seconds);
        json_writer_real(writer, "step_gate", rank->step_gate_seconds);
        json_writer_real(writer, "step_down", rank->step_down_seconds);
        json_writer_real(writer, "step_logits", rank->step_logits_seconds);
        json_writer_end_object(writer);
        json_writer_real(writer, "exchange_wait_seconds", rank->exchange_wait_seconds);
        json_writer_real(writer, "exchange_seconds", rank->exchange_seconds);
        json_writer_integer(writer, "memory_bytes", rank->memory_bytes);
        json_writer_integer(writer, "peak_resident_bytes", rank->peak_resident_bytes);
        json_writer_integer(writer, "base_bytes", rank->base_bytes);
        json_writer_end_object(writer);
    }
    json_writer_end_array(writer);
}
