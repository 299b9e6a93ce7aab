/* Owns the formulas of one decoded token (spec: distribution.md 7). */
#include "proto/plan/cost.h"

#include "proto/plan/choice.h"
#include "proto/plan/layer_buffers.h"

enum { F32_BYTES = 4 };

/* Weights of the products of a set, in one layer; the logits' are the model's. */
static double weights_of(const struct model_shape *shape, unsigned set)
{
    const double hidden = (double)shape->hidden;
    const double heads = (double)(shape->heads * shape->head_dim);
    const double keys = (double)(shape->kv_heads * shape->head_dim);
    return (set & DECODE_SPLIT_QKV ? hidden * (heads + 2 * keys) : 0) +
           (set & DECODE_SPLIT_OUTPUT ? hidden * heads : 0) +
           (set & DECODE_SPLIT_GATE ? 2 * hidden * (double)shape->ffn : 0) +
           (set & DECODE_SPLIT_DOWN ? hidden * (double)shape->ffn : 0) +
           (set & DECODE_SPLIT_LOGITS ? hidden * (double)shape->vocab : 0);
}

/* Of the whole model. */
static double all_weights_of(const struct model_shape *shape, unsigned set)
{
    return (double)shape->layers * weights_of(shape, set & ~(unsigned)DECODE_SPLIT_LOGITS) +
           weights_of(shape, set & DECODE_SPLIT_LOGITS);
}

/* Of the bytes of all weights, those that a rank reads for a row where a set is split: all are
 * taken to be of one type. */
static double read_share(const struct model_shape *shape, unsigned split, int workers)
{
    return 1 - all_weights_of(shape, split) / all_weights_of(shape, DECODE_SPLIT_ALL) *
                   (1 - 1.0 / workers);
}

/* FLOPs of one row through the layers' products on one rank; logits are not counted. */
static double row_flops(const struct model_shape *shape, unsigned split, int workers)
{
    const unsigned of_layers = split & ~(unsigned)DECODE_SPLIT_LOGITS;
    return cost_row_flops(shape) * (double)shape->layers -
           2 * all_weights_of(shape, of_layers) * (1 - 1.0 / workers);
}

/* Adds one gather of `rows` float32 that the ranks have computed in shares. */
static void add_gather(struct cost *cost, int64_t rows, int workers, int rank)
{
    const struct span share = partition_rows(rows, COST_SPLIT_ALIGN, workers, rank);
    const int64_t own = share.end - share.first;
    cost->sent_bytes += own * (workers - 1) * F32_BYTES;
    cost->received_bytes += (rows - own) * F32_BYTES;
    cost->sent_messages += own > 0 ? workers - 1 : 0;
}

/* One layer's exchanges: states, and the columns of split products. */
static struct cost layer_cost(const struct model_shape *shape, unsigned split, int workers,
                              int rank)
{
    struct layer_buffer_row buffers[LAYER_BUFFERS];
    const int64_t states = (workers - 1) * cost_state_bytes(shape);
    struct cost layer = {
        .sent_bytes = states, .received_bytes = states, .sent_messages = workers - 1};
    layer_buffers_make(buffers, shape);
    for (int b = 0; b < LAYER_BUFFERS; b++)
        for (unsigned left = buffers[b].awaited & split; left != 0; left &= left - 1)
            add_gather(&layer, buffers[b].width, workers, rank);
    return layer;
}

void cost_logit_shares(struct cost *cost, const struct model_shape *shape, int places, int rank)
{
    if (places == 1 || rank >= places)
        return;
    const struct span share = partition_rows(shape->vocab, COST_SPLIT_ALIGN, places, rank);
    const int64_t own = share.end - share.first;
    if (rank == 0) {
        cost->received_bytes += (shape->vocab - own) * F32_BYTES;
        return;
    }
    cost->sent_bytes += own * F32_BYTES;
    cost->sent_messages += (own + COST_LOGITS_PIECE - 1) / COST_LOGITS_PIECE;
}

/* Exchanges that wait for each other. */
static int64_t exchanges_of(const struct model_shape *shape, unsigned split, int workers)
{
    int64_t of_layer = 1;
    for (unsigned left = split & ~(unsigned)DECODE_SPLIT_LOGITS; left != 0; left &= left - 1)
        of_layer++;
    return workers > 1 ? shape->layers * of_layer + ((split & DECODE_SPLIT_LOGITS) != 0) : 0;
}

/* Each exchange is as long as a link's delay, and as its messages take one after the other. */
static double exchange_seconds(const struct cost *cost, const struct cost_link *link,
                               int64_t exchanges, int workers)
{
    const int64_t bytes =
        cost->sent_bytes > cost->received_bytes ? cost->sent_bytes : cost->received_bytes;
    return (double)bytes / link->bytes_per_second +
           (double)exchanges * (link->latency_s + (workers - 1) * link->message_s);
}

/* ---- alone ---- */

struct span cost_home_keys(const struct choice *choice, const struct ownership *ownership)
{
    struct bands bands;
    choice_bands(choice, &bands);
    const int64_t end = ownership_tokens(ownership);
    return (struct span){ownership_live_first(ownership, end, bands_reach(&bands)), end};
}

void cost_home(struct cost *cost, const struct choice *choice, const struct model_shape *shape,
               const struct ownership *ownership, int rank)
{
    const struct span keys = cost_home_keys(choice, ownership);
    int64_t panels = 0;
    struct owned_span owned;
    for (int64_t index = keys.first; ownership_next(ownership, &index, keys.end, &owned);) {
        const int64_t first = owned.span.first / choice->group.panel_tokens;
        const int64_t end =
            (owned.span.end + choice->group.panel_tokens - 1) / choice->group.panel_tokens;
        if (owned.owner != 0 && (rank == 0 || rank == owned.owner))
            panels += end - first;
    }
    const int64_t bytes =
        panels * choice->group.panel_tokens * shape->layers * cost_token_bytes(shape, choice);
    *cost = rank == 0 ? (struct cost){.received_bytes = bytes}
                      : (struct cost){.sent_bytes = bytes, .sent_messages = panels * shape->layers};
}

static void decode_alone(struct cost *cost, const struct choice *choice,
                         const struct model_shape *shape, const struct cost_table *table, int rank,
                         int64_t key_tokens)
{
    struct choice one = *choice;
    one.group.workers = 1;
    *cost = (struct cost){0};
    if (rank == 0)
        cost_decode(cost, &one, shape, table, 0, key_tokens);
}

void cost_decode(struct cost *cost, const struct choice *choice, const struct model_shape *shape,
                 const struct cost_table *table, int rank, int64_t key_tokens)
{
    const int workers = choice->group.workers;
    if (choice_is_home(choice))
        return decode_alone(cost, choice, shape, table, rank, key_tokens);
    const unsigned split = workers > 1 ? choice->request.decode_split : 0;
    const struct cost layer = layer_cost(shape, split, workers, rank);
    *cost = (struct cost){.sent_bytes = shape->layers * layer.sent_bytes,
                          .received_bytes = shape->layers * layer.received_bytes,
                          .sent_messages = shape->layers * layer.sent_messages};
    if ((split & DECODE_SPLIT_LOGITS) && group_choice_tensor(&choice->group) == 1)
        cost_logit_shares(cost, shape, workers, rank);
    const int64_t keys = key_tokens * shape->layers * cost_token_bytes(shape, choice);
    const double weights = (double)shape->weights_bytes * read_share(shape, split, workers);
    cost->flops = row_flops(shape, split, workers) +
                  (double)key_tokens * cost_pair_flops(shape, shape->layers, shape->heads);
    cost->compute_seconds =
        table->token_s + weights / table->memory_bytes + (double)keys / table->keys_bytes;
    cost->link_seconds = exchange_seconds(cost, cost_link_of(table, 0, workers - 1),
                                          exchanges_of(shape, split, workers), workers);
    cost->seconds = cost->compute_seconds + cost->link_seconds;
}
