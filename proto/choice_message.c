/* Owns nothing. Promises that a choice read from a message it set is the same choice, bit for
 * bit. */
#include "proto/choice_message.h"

#include <string.h>

void choice_message_set(struct choice_message *message, const struct choice *choice)
{
    Longhaul__Control__V1__Choice *m = &message->message;
    longhaul__control__v1__choice__init(m);
    method_print(&choice->request.method, message->method);
    m->method = message->method;
    m->workers = choice->group.workers;
    m->tensor = choice->group.tensor;
    m->partition = (Longhaul__Control__V1__Partition)(choice->request.partition + 1);
    m->schedule = (Longhaul__Control__V1__Schedule)(choice->request.schedule + 1);
    m->context_tokens = choice->request.context_tokens;
    m->stage_tokens = choice->request.stage_tokens;
    m->panel_tokens = choice->group.panel_tokens;
    m->block_tokens = choice->group.block_tokens;
    m->receive_slots = choice->group.receive_slots;
    m->cache = (Longhaul__Control__V1__CacheType)(choice->group.cache + 1);
    m->kernels = (char *)choice->group.kernels;
    m->decode_split = choice->request.decode_split;
    m->queries = (Longhaul__Control__V1__Queries)(choice->request.queries + 1);
    m->replicate_tokens = choice->request.replicate_tokens;
    m->window_tokens = choice->request.window_tokens;
    m->decode_home = choice->request.decode_home;
    m->weights.data = (uint8_t *)choice->request.weights.parts; /* only read */
    m->weights.len = (size_t)choice->request.weights.count;
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

enum status choice_message_get(struct choice *choice, const Longhaul__Control__V1__Choice *message)
{
    struct choice c = {
        .group.workers = message->workers,
        .group.tensor = message->tensor,
        .request.context_tokens = message->context_tokens,
        .request.stage_tokens = message->stage_tokens,
        .group.panel_tokens = message->panel_tokens,
        .group.block_tokens = message->block_tokens,
        .group.receive_slots = message->receive_slots,
        .request.decode_split = message->decode_split,
        .request.replicate_tokens = message->replicate_tokens,
        .request.window_tokens = message->window_tokens,
        .request.decode_home = message->decode_home,
    };
    int partition = 0, schedule = 0, cache = 0, queries = 0;
    TRY(named(&partition, message->partition, PARTITION_ZIGZAG, "partition"));
    TRY(named(&schedule, message->schedule, CHOICE_RING, "schedule"));
    TRY(named(&cache, message->cache, CHOICE_CACHE_INT8, "cache"));
    TRY(named(&queries, message->queries, CHOICE_AUTO, "queries"));
    c.request.partition = (enum partition_kind)partition;
    c.request.schedule = (enum choice_schedule)schedule;
    c.group.cache = (enum choice_cache)cache;
    c.request.queries = (enum choice_queries)queries;
    const size_t kernels_bytes = strlen(message->kernels);
    if (kernels_bytes >= sizeof c.group.kernels)
        return fail(STATUS_INVALID_ARGUMENT, "choice.kernels: longer than %zu bytes",
                    sizeof c.group.kernels - 1);
    memcpy(c.group.kernels, message->kernels, kernels_bytes);
    if (message->weights.len > sizeof c.request.weights.parts)
        return fail(STATUS_INVALID_ARGUMENT, "choice.weights: more than %zu",
                    sizeof c.request.weights.parts);
    c.request.weights.count = (int)message->weights.len;
    if (message->weights.len > 0)
        memcpy(c.request.weights.parts, message->weights.data, message->weights.len);
    /* A canonical spelling leaves nothing to the trained length. */
    TRY(method_parse(&c.request.method, message->method, 0));
    TRY(choice_check(&c));
    *choice = c;
    return STATUS_OK;
}
