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

/* Whether one of the rank's queries sees one of `keys`. */
static bool is_seen(const struct ownership *ownership, const struct regimes *regimes,
                    const int32_t *positions, int rank, struct span keys)
{
    struct owned_span owned;
    int64_t index = keys.first;
    while (ownership_next(ownership, &index, ownership_tokens(ownership), &owned))
        if (owned.owner == rank && attention_spans_meet(regimes, positions, owned.span, keys))
            return true;
    return false;
}

/* The panels of one owned span that `to` needs: those next to each other are one message. */
static enum status add_span(struct key_exchange *exchange, const struct ownership *ownership,
                            const struct regimes *regimes, const int32_t *positions,
                            const struct owned_span *owned, int to)
{
    const int64_t panel = ownership_panel_tokens(ownership);
    struct key_message message = {.from = owned->owner, .to = to};
    for (int64_t first = owned->span.first; first < owned->span.end;) {
        const int64_t end = regimes_smaller(owned->span.end, (first / panel + 1) * panel);
        const struct span keys = {first, end};
        const bool seen = is_seen(ownership, regimes, positions, to, keys);
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

enum status key_exchange_make(struct key_exchange *exchange, const struct ownership *ownership,
                              const struct regimes *regimes, const int32_t *positions)
{
    exchange->count = 0;
    for (int to = 0; to < ownership_workers(ownership); to++) {
        struct owned_span owned;
        int64_t index = 0;
        while (ownership_next(ownership, &index, ownership_tokens(ownership), &owned))
            if (owned.owner != to)
                TRY(add_span(exchange, ownership, regimes, positions, &owned, to));
    }
    return STATUS_OK;
}

void key_exchange_deinit(struct key_exchange *exchange)
{
    free(exchange->list);
    *exchange = (struct key_exchange){0};
}
