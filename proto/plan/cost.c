/* Owns the formulas of bytes, FLOPs and seconds (spec: distribution.md 7). */
#include "proto/plan/cost.h"

#include <string.h>

#include "proto/plan/choice.h"
#include "proto/plan/schedule.h"

enum { STATE_EXTRA = 2, F32_BYTES = 4 };

struct cost_table cost_table_default(void)
{
    const struct cost_link link = {.bytes_per_second = 2e9, .latency_s = 10e-6};
    return (struct cost_table){.linear_flops = 100e9,
                               .attention_flops = 100e9,
                               .memory_bytes = 20e9,
                               .keys_bytes = 20e9,
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

int64_t cost_token_bytes(const struct model_shape *shape, const struct choice *choice)
{
    struct bands bands;
    method_bands(&choice->request.method, &bands);
    return (bands.panel_frames + 1) * shape->kv_heads *
           choice_cache_bytes(choice->group.cache, shape->head_dim);
}

int64_t cost_state_bytes(const struct model_shape *shape)
{
    return shape->heads * (shape->head_dim + STATE_EXTRA) * F32_BYTES;
}

static int64_t qkv_rows(const struct model_shape *shape)
{
    return (shape->heads + 2 * shape->kv_heads) * shape->head_dim;
}

double cost_row_flops(const struct model_shape *shape)
{
    return 2 * ((double)shape->hidden * (double)qkv_rows(shape) +
                (double)(shape->heads * shape->head_dim) * (double)shape->hidden +
                3 * (double)shape->hidden * (double)shape->ffn);
}

double cost_pair_flops(const struct model_shape *shape, int64_t layers, int64_t heads)
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

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

static double transfer_seconds(const struct cost *cost, const struct cost_link *link,
                               int64_t messages)
{
    const double bytes = larger((double)cost->sent_bytes, (double)cost->received_bytes);
    return bytes / link->bytes_per_second + (double)messages * (link->latency_s + link->message_s);
}

/* Blocks are on their way together, as many as a rank has receive slots; the first one's latency
 * nobody hides. */
static double exchange_seconds(const struct cost *cost, const struct cost_link *link,
                               const struct choice *choice, int64_t layers, int64_t blocks)
{
    const double bytes = larger((double)cost->sent_bytes, (double)cost->received_bytes);
    const double flow =
        larger(bytes / link->bytes_per_second,
               (double)(layers * blocks) * link->latency_s / (double)choice->group.receive_slots);
    if (blocks == 0)
        return bytes / link->bytes_per_second;
    return flow + (double)layers * (link->latency_s + (double)blocks * link->message_s);
}

/* Layer by layer: blocks come in ascending order, those of earlier stages at once, and the first
 * one of this stage once the rows that it holds are computed. While a rank computes rows, as many
 * come as it has slots; then it attends while the others come, and to the last one when it is
 * there. */
static double sharded_seconds(const struct cost *cost, const struct schedule_rank *own,
                              const struct choice *choice, bool first_stage)
{
    const double rows = cost->rows_seconds;
    const double blocks = own->receive_count;
    const double share = own->rows > 0 ? (double)choice->group.block_tokens / (double)own->rows : 0;
    const double begun = first_stage ? rows * smaller(1, share) : 0;
    if (own->receive_count == 0)
        return larger(cost->compute_seconds, begun + cost->link_seconds);
    const double slots = smaller(blocks, choice->group.receive_slots);
    const double early = smaller(cost->link_seconds * slots / blocks, rows - begun);
    const double late = cost->link_seconds - early + cost->attention_seconds / (blocks + 1);
    return rows + cost->fixed_seconds + larger(cost->attention_seconds, late);
}

/* Gathered states are waited for. */
static double stage_seconds(const struct cost *cost, const struct schedule *schedule,
                            const struct choice *choice, int rank)
{
    return schedule->replicated
               ? cost->compute_seconds + cost->link_seconds
               : sharded_seconds(cost, &schedule->ranks[rank], choice, schedule->stage.first == 0);
}

static void rank_of_part(struct cost *cost, const struct schedule_rank *own,
                         const struct choice *choice, const struct model_shape *shape,
                         const struct cost_table *table, const struct cost_part *part)
{
    const int64_t token_bytes = part->rows ? part->layers * cost_token_bytes(shape, choice) : 0;
    const double linear =
        part->rows ? (double)own->rows * cost_row_flops(shape) * (double)part->layers : 0;
    const double pair = cost_pair_flops(shape, part->layers, part->heads);
    *cost = (struct cost){.sent_bytes = own->send_tokens * token_bytes,
                          .received_bytes = own->receive_tokens * token_bytes,
                          .sent_messages = part->rows ? part->layers * own->send_count : 0,
                          .flops = linear + (double)own->pairs * pair};
    cost->rows_seconds = linear / table->linear_flops;
    cost->attention_seconds = ((double)own->pairs + table->edge_keys * (double)own->edges) * pair /
                              table->attention_flops;
    cost->fixed_seconds = part->rows ? table->stage_s + (double)part->layers * table->layer_s : 0;
    cost->compute_seconds = cost->rows_seconds + cost->attention_seconds + cost->fixed_seconds;
    if (part->rows)
        cost->link_seconds = exchange_seconds(cost, awaited_link(table, choice->group.workers),
                                              choice, part->layers, own->receive_count);
}

/* A rank that was measured to be slower; what it is given to do says nothing of that. */
static void slow_down(struct cost *cost, const struct cost_table *table, int rank)
{
    const double speed = table->speeds ? partition_weights_share(table->speeds, rank) : 1;
    cost->rows_seconds /= speed;
    cost->attention_seconds /= speed;
    cost->compute_seconds = cost->rows_seconds + cost->attention_seconds + cost->fixed_seconds;
}

void cost_rank(struct cost *cost, const struct schedule *schedule, const struct choice *choice,
               const struct model_shape *shape, const struct cost_table *table, int rank)
{
    const struct cost_part whole = whole_of(shape);
    rank_of_part(cost, &schedule->ranks[rank], choice, shape, table, &whole);
    slow_down(cost, table, rank);
    cost->seconds = stage_seconds(cost, schedule, choice, rank);
}

void cost_replicated(struct cost *cost, const struct choice *choice,
                     const struct model_shape *shape, struct span stage)
{
    const int64_t bytes = (choice->group.workers - 1) * shape->layers * (stage.end - stage.first) *
                          cost_state_bytes(shape);
    *cost = (struct cost){.sent_bytes = bytes,
                          .received_bytes = bytes,
                          .sent_messages = (choice->group.workers - 1) * shape->layers};
}

/* In place of keys. */
static void gather_states(struct cost *cost, const struct schedule *schedule,
                          const struct choice *choice, const struct model_shape *shape,
                          const struct cost_table *table, const struct cost_part *part)
{
    const struct cost computed = *cost;
    struct model_shape layers = *shape;
    layers.layers = part->rows ? part->layers : 0;
    cost_replicated(cost, choice, &layers, schedule->stage);
    cost->flops = computed.flops;
    cost->fixed_seconds = computed.fixed_seconds;
    cost->rows_seconds = cost->flops / table->linear_flops;
    cost->compute_seconds = cost->rows_seconds + cost->fixed_seconds;
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
        else
            slow_down(&cost, table, r);
        costs[r].sent_bytes += cost.sent_bytes;
        costs[r].received_bytes += cost.received_bytes;
        costs[r].sent_messages += cost.sent_messages;
        costs[r].rows += part->rows ? schedule->ranks[r].rows : 0;
        costs[r].flops += cost.flops;
        costs[r].compute_seconds += cost.compute_seconds;
        costs[r].link_seconds += cost.link_seconds;
        costs[r].rows_seconds += cost.rows_seconds;
        costs[r].attention_seconds += cost.attention_seconds;
        costs[r].fixed_seconds += cost.fixed_seconds;
        costs[r].seconds = stage_seconds(&costs[r], schedule, choice, r);
    }
}

void cost_stage(struct cost *costs, const struct schedule *schedule, const struct choice *choice,
                const struct model_shape *shape, const struct cost_table *table)
{
    const struct cost_part whole = whole_of(shape);
    memset(costs, 0, (size_t)schedule->workers * sizeof *costs);
    cost_stage_add(costs, schedule, choice, shape, table, &whole);
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

double cost_logits_seconds(const struct model_shape *shape, const struct cost_table *table,
                           int owner)
{
    const double flops = 2 * (double)shape->vocab * (double)shape->hidden;
    const double computed = table->logits_flops > 0 ? flops / table->logits_flops : 0;
    const struct cost_link *link = cost_link_of(table, owner, 0);
    const double bytes = (double)(shape->vocab * F32_BYTES);
    return owner == 0 ? computed : computed + link->latency_s + bytes / link->bytes_per_second;
}
