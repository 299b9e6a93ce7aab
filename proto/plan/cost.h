/* Predicted bytes, FLOPs and seconds. Bytes are exact and counters must equal them; seconds are
 * estimates. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "kernels/bands.h"
#include "proto/plan/model_shape.h"
#include "proto/status.h"

struct partition_weights;
struct choice;
struct ownership;
struct schedule;

/* Split products are cut at multiples of this many output rows (partition_rows). */
enum { COST_SPLIT_ALIGN = 16 };

/* A rank's columns of split logits go in messages of so many float32 at most: longer ones are
 * announced first by MPI, and sent once the announcement has been answered. */
enum { COST_LOGITS_PIECE = 8192 };

/* What a rank's messages to another take, while all ranks of its host send and receive. */
struct cost_link {
    double bytes_per_second; /* of a rank and direction */
    double latency_s;        /* from the sending of a message to its arrival, were it empty */
    double message_s;        /* that each message adds to those on their way with it */
};

/* Rates of one worker, and of the links between workers. What is 0 costs nothing. */
struct cost_table {
    double linear_flops;      /* per second, matrix products of a prefill and the rows between */
    double attention_flops;   /* per second */
    double edge_keys;         /* keys that attention multiplies at an edge beside those seen */
    double layer_s;           /* of each layer of a stage, beside its arithmetic */
    double stage_s;           /* of each stage */
    double logits_flops;      /* per second, of the prompt's last row; 0: they cost nothing */
    double memory_bytes;      /* per second, what decode reads of weights */
    double keys_bytes;        /* per second, what decode reads of keys and values */
    double token_s;           /* of each decoded token, beside what it reads */
    double load_bytes;        /* per second, of weights that are loaded; 0: not known */
    struct cost_link within;  /* between ranks of one host */
    struct cost_link between; /* between ranks of two hosts */
    int host_ranks;           /* of every host, consecutive ones; 0: all ranks are on one host */
    /* How fast ranks were measured to compute beside the fastest, borrowed; NULL: all alike. */
    const struct partition_weights *speeds;
};

/* Of one rank, for one stage or one decoded token, all layers. */
struct cost {
    int64_t sent_bytes;
    int64_t received_bytes;
    int64_t sent_messages; /* exact, as bytes are */
    int64_t rows;          /* of a stage, recomputed ones included */
    double flops;
    double seconds;
    double compute_seconds, link_seconds; /* of a stage: what `seconds` follows from */
    /* Of a stage, what compute_seconds consist of. */
    double rows_seconds, attention_seconds, fixed_seconds;
};

/* What a count of a stage is for: so many layers, and in each the pairs of so many query heads. */
struct cost_part {
    int64_t layers;
    int64_t heads;
    bool rows; /* and the layers' products, and what travels */
};

/* Bytes of one token in one layer: its key in each frame that the method keeps all in, and its
 * value. */
int64_t cost_token_bytes(const struct model_shape *shape, const struct choice *choice);

/* Bytes of one row's attention state (m, l, acc of every head) in one layer. */
int64_t cost_state_bytes(const struct model_shape *shape);

/* FLOPs of one row through the products of a layer; logits are not counted. */
double cost_row_flops(const struct model_shape *shape);

/* FLOPs of one visible pair: two products of head_dim, in so many heads of so many layers. */
double cost_pair_flops(const struct model_shape *shape, int64_t layers, int64_t heads);

/* A laptop-class worker. */
struct cost_table cost_table_default(void);

/* A worker with so many threads and this kernel variant, an unknown one as the default. AVX2 was
 * measured on two Zen 3 cores, `reference` too; the AVX-512 ones are AVX2's share of their peak. */
struct cost_table cost_table_estimate(const char *kernels, int threads);

/* The link from one rank to another; for tests. */
const struct cost_link *cost_link_of(const struct cost_table *table, int rank, int other);

/* Adds what a part of the model costs in a stage: `costs` holds one for each rank. Gathered states
 * of replicated queries are included. */
void cost_stage_add(struct cost *costs, const struct schedule *schedule,
                    const struct choice *choice, const struct model_shape *shape,
                    const struct cost_table *table, const struct cost_part *part);

/* For tests: costs of a stage whose layers and heads all see alike. */
void cost_stage(struct cost *costs, const struct schedule *schedule, const struct choice *choice,
                const struct model_shape *shape, const struct cost_table *table);

/* The same of one rank, of a stage with sharded queries. */
void cost_rank(struct cost *cost, const struct schedule *schedule, const struct choice *choice,
               const struct model_shape *shape, const struct cost_table *table, int rank);

/* Bytes of any rank in a stage with replicated queries; its products are computed by every rank. */
void cost_replicated(struct cost *cost, const struct choice *choice,
                     const struct model_shape *shape, struct span stage);

/* Bytes of the log-probabilities that go to rank 0 after a sharded stage of Score: float32, one an
 * owned row. */
void cost_scores(struct cost *cost, const struct schedule *schedule, int rank);

/* Bytes of the prompt's last logits, from their owner to rank 0, float32. */
void cost_logits(struct cost *cost, const struct model_shape *shape, int owner, int rank);

/* Seconds of the prompt's last logits, by the rank that has them and on their way to rank 0. */
double cost_logits_seconds(const struct model_shape *shape, const struct cost_table *table,
                           int owner);

/* The keys that an answer's next token sees, from a panel's start on: what goes to rank 0 where it
 * decodes alone. */
struct span cost_home_keys(const struct choice *choice, const struct ownership *ownership);

/* Bytes of the keys that go there, a message a panel and layer. */
void cost_home(struct cost *cost, const struct choice *choice, const struct model_shape *shape,
               const struct ownership *ownership, int rank);

/* Cost of one decoded token on `rank` with `key_tokens` of the rank's own keys visible. Received:
 * every other rank's states once a layer, and their columns of what each split product leaves: in
 * every layer, or of the logits on rank 0; all float32. Each is waited for before the next.
 * Where rank 0 decodes alone it has all keys, and nothing is exchanged. With a tensor axis `rank`
 * is a place of the sequence axis, the shape its slice's, and sums and logits are tensor_sums.h's.
 */
void cost_decode(struct cost *cost, const struct choice *choice, const struct model_shape *shape,
                 const struct cost_table *table, int rank, int64_t key_tokens);

/* Adds the bytes of a row's logits on their way to rank 0, where the group's ranks [0, places) have
 * computed a share each. */
void cost_logit_shares(struct cost *cost, const struct model_shape *shape, int places, int rank);

/* The seconds of the slowest rank: a stage ends when the last one does. */
double cost_slowest(const struct cost *costs, int workers);
