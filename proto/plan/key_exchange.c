/* Owns the list of messages. */
#include "proto/plan/key_exchange.h"

#include <stdlib.h>

#include "kernels/attention_spans.h"

static enum status add(struct key_exchange *exchange, struct key_message message)
{
    if (exchange->count == exchange->capacity) {
        const int capacity = exchange->capacity ? 2 * exchange->capacity : 16;
        struct key_message *list = realloc(exchange->list, (size_t)capacity * sizeof *list);
        if (!list)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d messages of keys", capacity);
        exchange->list = list;
        exchange->capacity = capacity;
    }
    exchange->list[exchange->count++] = message;
    return STATUS_OK;
}

/* What one rank owns. */
struct owned {
    struct span *spans; /* [capacity] */
    int count, capacity;
};

static enum status find_owned(struct owned *owned, const struct ownership *ownership, int rank)
{
    struct owned_span next;
    int64_t index = 0;
    owned->count = 0;
    while (ownership_next(ownership, &index, ownership_tokens(ownership), &next)) {
        if (next.owner != rank)
            continue;
        if (owned->count == owned->capacity) {
            const int capacity = owned->capacity ? 2 * owned->capacity : 4;
            struct span *spans = realloc(owned->spans, (size_t)capacity * sizeof *spans);
            if (!spans)
                return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d spans of a rank",
                            capacity);
            owned->spans = spans;
            owned->capacity = capacity;
        }
        owned->spans[owned->count++] = next.span;
    }
    return STATUS_OK;
}

/* Whether one of the queries sees one of `keys`. */
static bool is_seen(const struct owned *queries, const struct regimes *regimes,
                    const int32_t *positions, struct span keys)
{
    for (int s = 0; s < queries->count; s++)
        if (attention_spans_meet(regimes, positions, queries->spans[s], keys))
            return true;
    return false;
}

/* The panels of one owned span that the queries of `to` see: those next to each other are one
 * message. */
static enum status add_span(struct key_exchange *exchange, int64_t panel,
                            const struct regimes *regimes, const int32_t *positions,
                            const struct owned_span *owned, const struct owned *queries, int to)
{
    struct key_message message = {.from = owned->owner, .to = to};
    for (int64_t first = owned->span.first; first < owned->span.end;) {
        const int64_t end = regimes_smaller(owned->span.end, (first / panel + 1) * panel);
        const struct span keys = {first, end};
        const bool seen = is_seen(queries, regimes, positions, keys);
        if (seen && message.keys.end == 0)
            message.keys.first = first;
        if (seen)
            message.keys.end = end;
        if (message.keys.end > 0 && (!seen || end == owned->span.end)) {
            TRY(add(exchange, message));
            message.keys = (struct span){0, 0};
        }
        first = end;
    }
    return STATUS_OK;
}

static enum status add_rank(struct key_exchange *exchange, struct owned *queries,
                            const struct ownership *ownership, const struct regimes *regimes,
                            const int32_t *positions, int to)
{
    struct owned_span owned;
    int64_t index = 0;
    TRY(find_owned(queries, ownership, to));
    while (ownership_next(ownership, &index, ownership_tokens(ownership), &owned))
        if (owned.owner != to)
            TRY(add_span(exchange, ownership_panel_tokens(ownership), regimes, positions, &owned,
                         queries, to));
    return STATUS_OK;
}

enum status key_exchange_make(struct key_exchange *exchange, const struct ownership *ownership,
                              const struct regimes *regimes, const int32_t *positions)
{
    struct owned queries = {0};
    enum status status = STATUS_OK;
    exchange->count = 0;
    for (int to = 0; status == STATUS_OK && to < ownership_workers(ownership); to++)
        status = add_rank(exchange, &queries, ownership, regimes, positions, to);
    free(queries.spans);
    return status;
}

void key_exchange_deinit(struct key_exchange *exchange)
{
    free(exchange->list);
    *exchange = (struct key_exchange){0};
}
