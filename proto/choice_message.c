/* Owns nothing. Promises that a choice read from a message it set is the same choice, bit for bit.
 */
#include "proto/choice_message.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void method_message_set(struct method_message *message, const struct method *method)
{
    longhaul__v1__method__init(&message->message);
    switch (method->kind) {
    case METHOD_ROPE:
        longhaul__v1__rope_method__init(&message->rope);
        message->message.kind_case = LONGHAUL__V1__METHOD__KIND_ROPE;
        message->message.rope = &message->rope;
        break;
    case METHOD_STRING:
        longhaul__v1__string_method__init(&message->string);
        message->string.optional_shift_case = LONGHAUL__V1__STRING_METHOD__OPTIONAL_SHIFT_SHIFT;
        message->string.shift = method->shift;
        message->string.optional_local_case = LONGHAUL__V1__STRING_METHOD__OPTIONAL_LOCAL_LOCAL;
        message->string.local = method->local;
        message->string.optional_logit_scale_case =
            LONGHAUL__V1__STRING_METHOD__OPTIONAL_LOGIT_SCALE_LOGIT_SCALE;
        message->string.logit_scale = method->logit_scale;
        message->message.kind_case = LONGHAUL__V1__METHOD__KIND_STRING;
        message->message.string = &message->string;
        break;
    case METHOD_LM_INFINITE:
        longhaul__v1__lm_infinite_method__init(&message->lm_infinite);
        message->lm_infinite.optional_window_case =
            LONGHAUL__V1__LM_INFINITE_METHOD__OPTIONAL_WINDOW_WINDOW;
        message->lm_infinite.window = method->window;
        message->lm_infinite.optional_sinks_case =
            LONGHAUL__V1__LM_INFINITE_METHOD__OPTIONAL_SINKS_SINKS;
        message->lm_infinite.sinks = method->sinks;
        message->lm_infinite.optional_ceiling_case =
            LONGHAUL__V1__LM_INFINITE_METHOD__OPTIONAL_CEILING_CEILING;
        message->lm_infinite.ceiling = method->ceiling;
        message->message.kind_case = LONGHAUL__V1__METHOD__KIND_LM_INFINITE;
        message->message.lm_infinite = &message->lm_infinite;
        break;
    }
}

/* One "name=value" of a method's spelling; ':' comes before the first, ',' before the others. */
__attribute__((format(printf, 2, 3))) static void append_parameter(char *text, const char *format,
                                                                   ...)
{
    size_t used = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    snprintf(text + used, METHOD_TEXT_BYTES - used, "%c", strchr(text, ':') ? ',' : ':');
    vsnprintf(text + used + 1, METHOD_TEXT_BYTES - used - 1, format, arguments);
    va_end(arguments);
}

/* By way of the spelling, so that defaults and refusals are the command line's. */
enum status method_message_get(struct method *method, const Longhaul__V1__Method *message,
                               int64_t trained_tokens)
{
    char text[METHOD_TEXT_BYTES] = "rope";
    if (message && message->kind_case == LONGHAUL__V1__METHOD__KIND_STRING) {
        const Longhaul__V1__StringMethod *string = message->string;
        strcpy(text, "string");
        if (string->optional_shift_case == LONGHAUL__V1__STRING_METHOD__OPTIONAL_SHIFT_SHIFT)
            append_parameter(text, "shift=%" PRId64, string->shift);
        if (string->optional_local_case == LONGHAUL__V1__STRING_METHOD__OPTIONAL_LOCAL_LOCAL)
            append_parameter(text, "local=%" PRId64, string->local);
        if (string->optional_logit_scale_case ==
            LONGHAUL__V1__STRING_METHOD__OPTIONAL_LOGIT_SCALE_LOGIT_SCALE)
            append_parameter(text, "logit_scale=%.17g", string->logit_scale);
    }
    if (message && message->kind_case == LONGHAUL__V1__METHOD__KIND_LM_INFINITE) {
        const Longhaul__V1__LmInfiniteMethod *lm = message->lm_infinite;
        strcpy(text, "lm_infinite");
        if (lm->optional_window_case == LONGHAUL__V1__LM_INFINITE_METHOD__OPTIONAL_WINDOW_WINDOW)
            append_parameter(text, "window=%" PRId64, lm->window);
        if (lm->optional_sinks_case == LONGHAUL__V1__LM_INFINITE_METHOD__OPTIONAL_SINKS_SINKS)
            append_parameter(text, "sinks=%" PRId64, lm->sinks);
        if (lm->optional_ceiling_case == LONGHAUL__V1__LM_INFINITE_METHOD__OPTIONAL_CEILING_CEILING)
            append_parameter(text, "ceiling=%" PRId64, lm->ceiling);
    }
    return method_parse(method, text, trained_tokens);
}

void choice_message_set(struct choice_message *message, const struct choice *choice)
{
    Longhaul__V1__Choice *m = &message->message;
    longhaul__v1__choice__init(m);
    method_message_set(&message->method, &choice->method);
    m->method = &message->method.message;
    m->workers = choice->workers;
    m->partition = (Longhaul__V1__PartitionKind)(choice->partition + 1);
    m->schedule = (Longhaul__V1__ScheduleKind)(choice->schedule + 1);
    m->context_tokens = choice->context_tokens;
    m->stage_tokens = choice->stage_tokens;
    m->panel_tokens = choice->panel_tokens;
    m->block_tokens = choice->block_tokens;
    m->receive_slots = choice->receive_slots;
    m->cache = (Longhaul__V1__CacheType)(choice->cache + 1);
    m->kernels = (char *)choice->kernels;
    m->decode_split = choice->decode_split;
    m->queries = (Longhaul__V1__QueriesKind)(choice->queries + 1);
    m->replicate_tokens = choice->replicate_tokens;
}

/* The message's values are the struct's plus one: zero is "not said". */
static enum status named(int *value, int number, int last, const char *name)
{
    if (number < 1 || number > last + 1)
        return fail(STATUS_INVALID_ARGUMENT, "choice.%s: %d names nothing this version knows", name,
                    number);
    *value = number - 1;
    return STATUS_OK;
}

enum status choice_message_get(struct choice *choice, const Longhaul__V1__Choice *message)
{
    struct choice c = {
        .workers = message->workers,
        .context_tokens = message->context_tokens,
        .stage_tokens = message->stage_tokens,
        .panel_tokens = message->panel_tokens,
        .block_tokens = message->block_tokens,
        .receive_slots = message->receive_slots,
        .decode_split = message->decode_split,
        .replicate_tokens = message->replicate_tokens,
    };
    int partition = 0, schedule = 0, cache = 0, queries = 0;
    TRY(named(&partition, message->partition, PARTITION_ROUND_ROBIN, "partition"));
    TRY(named(&schedule, message->schedule, CHOICE_RING, "schedule"));
    TRY(named(&cache, message->cache, CHOICE_CACHE_F32, "cache"));
    TRY(named(&queries, message->queries, CHOICE_AUTO, "queries"));
    c.partition = (enum partition_kind)partition;
    c.schedule = (enum choice_schedule)schedule;
    c.cache = (enum choice_cache)cache;
    c.queries = (enum choice_queries)queries;
    if (strlen(message->kernels) >= sizeof c.kernels)
        return fail(STATUS_INVALID_ARGUMENT, "choice.kernels: longer than %zu bytes",
                    sizeof c.kernels - 1);
    strcpy(c.kernels, message->kernels);
    TRY(method_message_get(&c.method, message->method, message->context_tokens));
    TRY(choice_check(&c));
    *choice = c;
    return STATUS_OK;
}
