/* Owns nothing but the wording. */
#include "coordinator/plan_reasons.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/printable.h"

__attribute__((format(printf, 2, 3))) static void add(struct plan_reasons *reasons,
                                                      const char *format, ...)
{
    char *line = reasons->lines[reasons->count];
    va_list list;
    va_start(list, format);
    vsnprintf(line, PLAN_REASON_BYTES, format, list);
    va_end(list);
    printable_mask_line(line, strlen(line));
    reasons->pointers[reasons->count++] = line;
}

static void tell_partition(struct plan_reasons *reasons, const struct planner_weighed *weighed)
{
    const double seconds[] = {weighed->seconds.contiguous_s, weighed->seconds.zigzag_s};
    const int chosen = weighed->choice.request.partition == PARTITION_ZIGZAG;
    static const char *const names[] = {"contiguous", "zigzag"};
    if (weighed->wanted.partition >= 0)
        add(reasons, "%s shards because that was asked for", names[chosen]);
    else if (seconds[chosen] == seconds[!chosen])
        add(reasons, "%s shards: %.3g s either way", names[chosen], seconds[chosen]);
    else
        add(reasons, "%s shards because %s: %.3g s against %.3g s", names[chosen],
            seconds[chosen] < seconds[!chosen] ? "they are faster"
                                               : "the others are faster by too little",
            seconds[chosen], seconds[!chosen]);
}

static void tell_schedule(struct plan_reasons *reasons, const struct planner_weighed *weighed)
{
    static const char *const whys[] = {
        [CHOICE_GATHER] = "every worker's keys are seen by those that come after",
        [CHOICE_HALO] = "keys are seen from a limited distance only",
        [CHOICE_RING] = "that was asked for",
    };
    const enum choice_schedule schedule = weighed->choice.request.schedule;
    add(reasons, "%s schedule because %s", choice_schedule_name(schedule),
        weighed->wanted.schedule >= 0 ? whys[CHOICE_RING] : whys[schedule]);
}

static void tell_stages(struct plan_reasons *reasons, const struct planner_weighed *weighed)
{
    const int64_t tokens = weighed->choice.request.stage_tokens;
    const struct chooser_request *wanted = &weighed->wanted;
    if (wanted->stage_tokens >= 0)
        add(reasons, "stages as asked for");
    else if (tokens == 0)
        add(reasons, "one stage because no other answer waits for it, and memory has room");
    else if (weighed->seconds.linked)
        add(reasons,
            "stages of %" PRId64 " tokens, the last in %.3g s, because the link would be busy for "
            "more than a quarter of shorter ones",
            tokens, weighed->seconds.stage_s);
    else if (weighed->seconds.stage_s > 0)
        add(reasons, "stages of %" PRId64 " tokens because others wait for %.3g s at most: %.3g s",
            tokens, wanted->stage_seconds, weighed->seconds.stage_s);
    else
        add(reasons,
            "stages of %" PRId64 " tokens because so many rows have room, or hold the keys in "
            "sight about once",
            tokens);
}

static void tell_home(struct plan_reasons *reasons, const struct planner_weighed *weighed)
{
    const struct chooser_weighed *seconds = &weighed->seconds;
    if (weighed->wanted.decode_home > 0)
        add(reasons, "worker 0 answers alone because that was asked for");
    else
        add(reasons,
            "worker 0 answers alone because it is faster, once its keys are there after %.3g s: "
            "%.3g ms a token against %.3g ms",
            seconds->home_s, seconds->alone_s * 1e3, seconds->shared_s * 1e3);
}

static void tell_split(struct plan_reasons *reasons, const struct planner_weighed *weighed)
{
    const struct chooser_weighed *seconds = &weighed->seconds;
    const unsigned split = weighed->choice.request.decode_split;
    char products[DECODE_SPLIT_TEXT_BYTES];
    decode_split_print(products, split);
    if (weighed->wanted.decode_split >= 0)
        add(reasons, "an answer's products are %s because that was asked for: %.3g ms a token",
            split ? "split" : "whole", seconds->split_s * 1e3);
    else if (split)
        add(reasons,
            "an answer's products %s are split because %s: %.3g ms a token against %.3g ms",
            products,
            weighed->wanted.shared_memory_bus ? "workers share a host's memory" : "that is faster",
            seconds->split_s * 1e3, seconds->whole_s * 1e3);
    else
        add(reasons, "an answer's products are whole because no split is faster: %.3g ms a token",
            seconds->whole_s * 1e3);
}

static void tell_mesh(struct plan_reasons *reasons, const struct planner_weighed *weighed)
{
    const int tensor = weighed->choice.group.tensor;
    if (weighed->whole_bytes == 0)
        add(reasons, "weights are shared out over %d ranks because that was asked for", tensor);
    else
        add(reasons,
            "weights are shared out over %d ranks because a rank would need %.2f GiB for the whole "
            "model, and %.2f GiB are there",
            tensor, (double)weighed->whole_bytes / 0x1p30, (double)weighed->memory_bytes / 0x1p30);
}

static void tell_sharers(struct plan_reasons *reasons, const struct planner_weighed *weighed)
{
    add(reasons, "weights lie in a host's memory once for %d workers: %.1f MB of it",
        weighed->weight_sharers, (double)weighed->weights_bytes / 1e6);
}

void plan_reasons_tell(struct plan_reasons *reasons, const struct planner_weighed *weighed,
                       const struct cost_file *costs)
{
    reasons->count = 0;
    if (group_choice_tensor(&weighed->choice.group) > 1)
        tell_mesh(reasons, weighed);
    if (weighed->weight_sharers > 1)
        tell_sharers(reasons, weighed);
    if (weighed->choice.group.workers > 1) {
        tell_partition(reasons, weighed);
        tell_schedule(reasons, weighed);
    }
    tell_stages(reasons, weighed);
    if (choice_is_home(&weighed->choice))
        tell_home(reasons, weighed);
    else if (weighed->choice.group.workers > 1)
        tell_split(reasons, weighed);
    if (costs && strcmp(costs->rates.kernels, weighed->choice.group.kernels) == 0)
        add(reasons, "by rates that were measured %s on %s with %s", costs->measured, costs->cpu,
            costs->model);
    else
        add(reasons, "by estimates of the kernels %s; `longhaul calibrate` measures this machine's",
            weighed->choice.group.kernels);
}
