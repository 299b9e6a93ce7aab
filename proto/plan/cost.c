/* Owns the formulas of bytes, FLOPs and seconds (spec: distribution.md 7). */
#include "proto/plan/cost.h"

#include <string.h>

#include "proto/plan/choice.h"
#include "proto/plan/layer_buffers.h"
#include "proto/plan/schedule.h"

enum { STATE_EXTRA = 2, F32_BYTES = 4 };

struct cost_table cost_table_default(void)
{
    const struct cost_link link = {.bytes_per_second = 2e9, .latency_s = 10e-6};
    return (struct cost_table){.linear_flops = 100e9,
                               .attention_flops = 100e9,
                               .memory_bytes = 20e9,
                               .within = link,
                               .between = link};
}

struct cost_table cost_table_estimate(const char *kernels, int threads)
{
    static const struct rates {
        const char *kernels;
        double linear_flops, attention_flops; /* of a thread */
    } known[] = {
        {"reference", 3.5e9, 2e9},
        {"avx2", 75e9, 60e9},
        {"avx512", 75e9, 60e9},
        {"avx512_bf16", 170e9, 165e9},
    };
    struct cost_table table = cost_table_default();
    const int counted = threads > 0 ? threads : 1;
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(kernels, known[i].kernels) == 0) {
            table.linear_flops = counted * known[i].linear_flops;
            table.attention_flops = counted * known[i].attention_flops;
        }
    return table;
}

const struct cost_link *cost_link_of(const struct cost_table *table, int rank, int other)
{
    const int ranks = table->host_ranks;
    return ranks == 0 || rank / ranks == other / ranks ? &table->within : &table->between;
}

/* The slowest that a rank of so many workers has: what all of them wait for. */
static const struct cost_link *awaited_link(const struct cost_table *table, int workers)
{
    return cost_link_of(table, 0, workers - 1);
}

/* Bytes of one token in one layer: its key in each frame that the method keeps all in, and its
 * value. */
static int64_t kv_bytes(const struct model_shape *shape, const struct choice *choice)
{
    struct bands bands;
    method_bands(&choice->request.method, &bands);
    return (bands.panel_frames + 1) * shape->kv_heads * shape->head_dim *
           choice_cache_bytes(choice);
}

/* Bytes of one row's attention state (m, l, acc of every head) in one layer. */
static int64_t state_bytes(const struct model_shape *shape)
{
    return shape->heads * (shape->head_dim + STATE_EXTRA) * F32_BYTES;
}

static int64_t qkv_rows(const struct model_shape *shape)
{
    return (shape->heads + 2 * shape->kv_heads) * shape->head_dim;
}

/* Weights of the products of a set, in one layer; the logits' are the model's. */
static double weights_of(const struct model_shape *shape, unsigned set)
{
    const double hidden = (double)shape->hidden;
    return (set & DECODE_SPLIT_QKV ? hidden * (double)qkv_rows(shape) : 0) +
           (set & DECODE_SPLIT_OUTPUT ? hidden * (double)(shape->heads * shape->head_dim) : 0) +
           (set & DECODE_SPLIT_GATE ? 2 * hidden * (double)shape->ffn : 0) +
           (set & DECODE_SPLIT_DOWN ? hidden * (double)shape->ffn : 0) +
           (set & DECODE_SPLIT_LOGITS ? hidden * (double)shape->vocab : 0);
}

/* FLOPs of one row through the products of a layer; logits are not counted. */
static double row_flops(const struct model_shape *shape)
{
    return 2 * weights_of(shape, DECODE_SPLIT_ALL & ~DECODE_SPLIT_LOGITS);
}

/* The same of one rank of so many, where a set is split. */
static double split_flops(const struct model_shape *shape, unsigned split, int workers)
{
    return row_flops(shape) - 2 * weights_of(shape, split) * (1 - 1.0 / workers);
}

/* Of the bytes of all weights, those that a rank reads for a row where a set is split: all are
 * taken to be of one type. */
static double read_share(const struct model_shape *shape, unsigned split, int workers)
{
    const unsigned of_logits = split & DECODE_SPLIT_LOGITS;
    const double layers = (double)shape->layers;
    const double all = layers * weights_of(shape, DECODE_SPLIT_ALL & ~DECODE_SPLIT_LOGITS) +
                       weights_of(shape, DECODE_SPLIT_LOGITS);
    const double shared =
        layers * weights_of(shape, split & ~of_logits) + weights_of(shape, of_logits);
    return 1 - shared / all * (1 - 1.0 / workers);
}

/* FLOPs of one visible pair: two products of head_dim, in so many heads of all layers. */
static double pair_flops(const struct model_shape *shape, int64_t layers, int64_t heads)
{
    return 4 * (double)(heads * shape->head_dim) * (double)layers;
}

static struct cost_part whole_of(const struct model_shape *shape)
{
    return (struct cost_part){.layers = shape->layers, .heads = shape->heads, .rows = true};
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

static double transfer_seconds(const struct cost *cost, const struct cost_link *link,
                               int64_t messages)
{
    const double bytes = larger((double)cost->sent_bytes, (double)cost->received_bytes);
    return bytes / link->bytes_per_second + (double)messages * (link->latency_s + link->message_s);
}

/* Keys travel while earlier ones are attended to; gathered states are waited for. */
static double stage_seconds(const struct cost *cost, bool replicated)
{
    return replicated ? cost->compute_seconds + cost->link_seconds
                      : larger(cost->compute_seconds, cost->link_seconds);
}

static void rank_of_part(struct cost *cost, const struct schedule_rank *own,
                         const struct choice *choice, const struct model_shape *shape,
                         const struct cost_table *table, const struct cost_part *part)
{
    const int64_t token_bytes = part->rows ? part->layers * kv_bytes(shape, choice) : 0;
    const double linear =
        part->rows ? (double)own->rows * row_flops(shape) * (double)part->layers : 0;
    const double attention = (double)own->pairs * pair_flops(shape, part->layers, part->heads);
    *cost = (struct cost){.sent_bytes = own->send_tokens * token_bytes,
                          .received_bytes = own->receive_tokens * token_bytes,
                          .sent_messages = part->rows ? part->layers * own->send_count : 0,
                          .flops = linear + attention};
    cost->compute_seconds = linear / table->linear_flops + attention / table->attention_flops;
    cost->link_seconds = transfer_seconds(cost, awaited_link(table, choice->group.workers),
                                          part->rows ? part->layers * own->receive_count : 0);
    cost->seconds = stage_seconds(cost, false);
}

void cost_rank(struct cost *cost, const struct schedule *schedule, const struct choice *choice,
               const struct model_shape *shape, const struct cost_table *table, int rank)
{
    const struct cost_part whole = whole_of(shape);
    rank_of_part(cost, &schedule->ranks[rank], choice, shape, table, &whole);
}

void cost_replicated(struct cost *cost, const struct choice *choice,
                     const struct model_shape *shape, struct span stage)
{
    const int64_t bytes = (choice->group.workers - 1) * shape->layers * (stage.end - stage.first) *
                          state_bytes(shape);
    *cost = (struct cost){.sent_bytes = bytes,
                          .received_bytes = bytes,
                          .sent_messages = (choice->group.workers - 1) * shape->layers};
}

/* In place of keys. */
static void gather_states(struct cost *cost, const struct schedule *schedule,
                          const struct choice *choice, const struct model_shape *shape,
                          const struct cost_table *table, const struct cost_part *part)
{
    const double flops = cost->flops;
    struct model_shape layers = *shape;
    layers.layers = part->rows ? part->layers : 0;
    cost_replicated(cost, choice, &layers, schedule->stage);
    cost->flops = flops;
    cost->compute_seconds = flops / table->linear_flops;
    cost->link_seconds = transfer_seconds(cost, awaited_link(table, schedule->workers),
                                          (schedule->workers - 1) * layers.layers);
}

void cost_stage_add(struct cost *costs, const struct schedule *schedule,
                    const struct choice *choice, const struct model_shape *shape,
                    const struct cost_table *table, const struct cost_part *part)
{
    for (int r = 0; r < schedule->workers; r++) {
        struct cost cost;
        rank_of_part(&cost, &schedule->ranks[r], choice, shape, table, part);
        if (schedule->replicated)
            gather_states(&cost, schedule, choice, shape, table, part);
        costs[r].sent_bytes += cost.sent_bytes;
        costs[r].received_bytes += cost.received_bytes;
        costs[r].sent_messages += cost.sent_messages;
        costs[r].flops += cost.flops;
        costs[r].compute_seconds += cost.compute_seconds;
        costs[r].link_seconds += cost.link_seconds;
        costs[r].seconds = stage_seconds(&costs[r], schedule->replicated);
    }
}

void cost_stage(struct cost *costs, const struct schedule *schedule, const struct choice *choice,
                const struct model_shape *shape, const struct cost_table *table)
{
    const struct cost_part whole = whole_of(shape);
    memset(costs, 0, (size_t)schedule->workers * sizeof *costs);
    cost_stage_add(costs, schedule, choice, shape, table, &whole);
}

/* Adds one gather of `rows` float32 that the ranks have computed in shares. */
static void add_gather(struct cost *cost, int64_t rows, int workers, int rank)
{
    const struct span share = partition_rows(rows, COST_SPLIT_ALIGN, workers, rank);
    cost->sent_bytes += (share.end - share.first) * (workers - 1) * F32_BYTES;
    cost->received_bytes += (rows - (share.end - share.first)) * F32_BYTES;
    cost->sent_messages += share.end > share.first ? workers - 1 : 0;
}

void cost_decode(struct cost *cost, const struct choice *choice, const struct model_shape *shape,
                 const struct cost_table *table, int rank, int64_t key_tokens)
{
    const int workers = choice->group.workers;
    const unsigned split = workers > 1 ? choice->request.decode_split : 0;
    struct cost layer = {.sent_messages = workers - 1};
    layer.sent_bytes = layer.received_bytes = (workers - 1) * state_bytes(shape);
    struct layer_buffer_row buffers[LAYER_BUFFERS];
    int gathers = 1; /* of a layer: states */
    layer_buffers_make(buffers, shape);
    for (int b = 0; b < LAYER_BUFFERS; b++)
        for (unsigned left = buffers[b].awaited & split; left != 0; left &= left - 1, gathers++)
            add_gather(&layer, buffers[b].width, workers, rank);
    *cost = (struct cost){.sent_bytes = shape->layers * layer.sent_bytes,
                          .received_bytes = shape->layers * layer.received_bytes,
                          .sent_messages = shape->layers * layer.sent_messages};
    if (split & DECODE_SPLIT_LOGITS) {
        const struct span share = partition_rows(shape->vocab, COST_SPLIT_ALIGN, workers, rank);
        const int64_t columns = share.end - share.first;
        if (rank == 0)
            cost->received_bytes += (shape->vocab - columns) * F32_BYTES;
        else
            cost->sent_bytes += columns * F32_BYTES;
        if (rank != 0)
            cost->sent_messages += (columns + COST_LOGITS_PIECE - 1) / COST_LOGITS_PIECE;
    }
    const int64_t token_bytes = shape->layers * kv_bytes(shape, choice);
    const double read = (double)shape->weights_bytes * read_share(shape, split, workers) +
                        (double)(key_tokens * token_bytes);
    const int64_t messages =
        workers > 1 ? shape->layers * gathers + ((split & DECODE_SPLIT_LOGITS) != 0) : 0;
    cost->flops = split_flops(shape, split & ~(unsigned)DECODE_SPLIT_LOGITS, workers) *
                      (double)shape->layers +
                  (double)key_tokens * pair_flops(shape, shape->layers, shape->heads);
    cost->seconds =
        read / table->memory_bytes + transfer_seconds(cost, awaited_link(table, workers), messages);
}

double cost_slowest(const struct cost *costs, int workers)
{
    double seconds = 0;
    for (int r = 0; r < workers; r++)
        seconds = larger(seconds, costs[r].seconds);
    return seconds;
}

void cost_scores(struct cost *cost, const struct schedule *schedule, int rank)
{
    *cost = (struct cost){0};
    for (int r = 1; r < schedule->workers; r++) {
        const struct schedule_rank *from = &schedule->ranks[r];
        for (int q = from->recomputed_count; q < from->query_count; q++) {
            const int64_t bytes = (from->queries[q].end - from->queries[q].first) * F32_BYTES;
            if (rank == 0)
                cost->received_bytes += bytes;
            else if (rank == r)
                cost->sent_bytes += bytes;
            if (rank == r)
                cost->sent_messages++;
        }
    }
}

void cost_logits(struct cost *cost, const struct model_shape *shape, int owner, int rank)
{
    *cost = (struct cost){0};
    if (owner == 0)
        return;
    if (rank == 0)
        cost->received_bytes = shape->vocab * F32_BYTES;
    else if (rank == owner)
        *cost = (struct cost){.sent_bytes = shape->vocab * F32_BYTES, .sent_messages = 1};
}
