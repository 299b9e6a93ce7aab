/* The choice: everything that all ranks must agree on, of their group and of a request. It is sent;
 * every node recomputes the same plan from it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/plan/decode_split.h"
#include "proto/plan/method.h"
#include "proto/plan/partition.h"
#include "proto/status.h"

enum choice_schedule {
    CHOICE_GATHER, /* blocks straight from their owners, in ascending order; any mask */
    CHOICE_HALO,   /* the same for a distance-limited mask: a bounded number of preceding tokens */
    CHOICE_RING,   /* blocks travel along their readers; only where asked for */
};

enum choice_queries {
    CHOICE_SHARDED,    /* each rank has its own rows of a stage; keys travel */
    CHOICE_REPLICATED, /* each rank has all rows; states are gathered once a layer */
    CHOICE_AUTO,       /* replicated for a stage of at most replicate_tokens on a filled cache */
};

enum choice_cache {
    CHOICE_CACHE_BF16,
    CHOICE_CACHE_F32,
    CHOICE_CACHE_INT8,
};

enum { CHOICE_KERNELS_BYTES = 32, CHOICE_WORKERS_MAX = 4096, CHOICE_SEQUENCES_MAX = 64 };

/* Most places of a tensor axis. */
enum { CHOICE_TENSOR_MAX = 64 };

/* The kernels' name of a group that computes on GPUs. */
#define CHOICE_KERNELS_GPU "cuda"

/* Chunks of a method that counts distances in them, in a context: planning takes time for each. */
enum { CHOICE_CHUNKS_MAX = 1 << 14 };

/* What a group of workers fixes when it loads the model: its memory is made for it, once. */
struct group_choice {
    int workers; /* that share out the sequence: the places of the sequence axis */
    int tensor;  /* places of the tensor axis; 0: 1. The ranks are as many times the workers */
    char kernels[CHOICE_KERNELS_BYTES]; /* the variant's name, one for all ranks */
    enum choice_cache cache;
    int panel_tokens;     /* 64; 1, 2 and 4 in exhaustive tests */
    int64_t block_tokens; /* most tokens of one exchanged block; a multiple of panel_tokens */
    int receive_slots;    /* blocks in flight or being read, per rank */
    /* What memory is made for, once. */
    int sequences;          /* most at a time, up to CHOICE_SEQUENCES_MAX */
    int64_t context_tokens; /* of the longest one: prompt plus answer */
    int64_t stage_rows;     /* most rows of a rank in a stage with sharded queries */
    int64_t step_rows;      /* most rows of a step: decoded tokens, or replicated queries */
    int64_t pool_slots;     /* of each rank's pool, a record of all layers each */
};

/* What one request asks of a group. */
struct request_choice {
    struct method method;
    enum partition_kind partition; /* of sharded stages: contiguous or zigzag */
    enum choice_schedule schedule;
    int64_t context_tokens; /* the largest prompt plus answer */
    int64_t stage_tokens;   /* 0: a prompt is one stage */
    unsigned decode_split;  /* the products that decode splits by columns: decode_split.h */
    bool decode_home; /* once an answer has begun its keys go to rank 0, which decodes alone */
    enum choice_queries queries;
    int64_t replicate_tokens;
    int64_t window_tokens; /* the model's sliding window where all of its layers have it; 0: none */
    struct partition_weights weights; /* of sharded stages */
};

static inline int group_choice_tensor(const struct group_choice *group)
{
    return group->tensor > 1 ? group->tensor : 1;
}

/* Ranks of the group: rank r has place r / tensor of the sequence axis, and r % tensor of the
 * other. */
static inline int group_choice_ranks(const struct group_choice *group)
{
    return group->workers * group_choice_tensor(group);
}

/* What the plan of a request on a group is made from. */
struct choice {
    struct group_choice group;
    struct request_choice request;
};

/* What is usual for a group of so many workers, without what memory is made for; kernels and cache
 * are the device's to say. */
struct group_choice group_choice_usual(int workers);

/* What any layer of the model sees: the method's bands, within the window. Ownership, schedules,
 * the cache and what travels follow from it. Of a choice that passed choice_check. */
void choice_bands(const struct choice *choice, struct bands *bands);

/* Refuses a choice that no plan can be made from; for choices that came over the wire. */
MUST_CHECK enum status choice_check(const struct choice *choice);

/* The same of the two numbers that a plan's size depends on. */
MUST_CHECK enum status choice_check_extent(int workers, int64_t context_tokens);

/* The stage that follows `done` of `prompt_tokens` tokens. */
struct span choice_stage(const struct choice *choice, int64_t done, int64_t prompt_tokens);

/* How the queries of a stage are held: CHOICE_SHARDED or CHOICE_REPLICATED. */
enum choice_queries choice_stage_queries(const struct choice *choice, struct span stage);

/* Deals the tokens of `stage`, the next ones of `ownership`, as the choice says. */
MUST_CHECK enum status choice_deal(const struct choice *choice, struct ownership *ownership,
                                   struct span stage);

/* Deals a prompt to an ownership that has dealt nothing, stage by stage. */
MUST_CHECK enum status choice_deal_prompt(const struct choice *choice, struct ownership *ownership,
                                          int64_t tokens);

/* Whether rank 0 decodes alone. */
bool choice_is_home(const struct choice *choice);

/* Bytes of one token's keys, or values, of a KV head in the cache and on the wire. */
int64_t choice_cache_bytes(enum choice_cache cache, int64_t head_dim);

/* Bytes of one element of the queries that meet such keys. */
int64_t choice_operand_bytes(enum choice_cache cache);

const char *choice_cache_name(enum choice_cache cache);
const char *choice_schedule_name(enum choice_schedule schedule);
const char *choice_partition_name(enum partition_kind partition);
