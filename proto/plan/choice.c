/* Owns the refusal of choices that no plan can follow, and what a choice says of one stage. */
#include "proto/plan/choice.h"

#include <string.h>

enum { PANEL_TOKENS_MAX = BANDS_LANES, BLOCK_PANELS = 8, RECEIVE_SLOTS = 4, SCALE_BYTES = 2 };

#define LARGEST_TOKENS ((int64_t)1 << 40)

static const char *const schedule_names[] = {
    [CHOICE_GATHER] = "gather", [CHOICE_HALO] = "halo", [CHOICE_RING] = "ring"};
static const char *const cache_names[] = {
    [CHOICE_CACHE_BF16] = "bf16", [CHOICE_CACHE_F32] = "f32", [CHOICE_CACHE_INT8] = "int8"};
static const char *const partition_names[] = {[PARTITION_CONTIGUOUS] = "contiguous",
                                              [PARTITION_ZIGZAG] = "zigzag",
                                              [PARTITION_ROUND_ROBIN] = "round_robin"};

const char *choice_schedule_name(enum choice_schedule schedule)
{
    return schedule_names[schedule];
}

const char *choice_partition_name(enum partition_kind partition)
{
    return partition_names[partition];
}

const char *choice_cache_name(enum choice_cache cache)
{
    return cache_names[cache];
}

struct group_choice group_choice_usual(int workers)
{
    return (struct group_choice){
        .workers = workers,
        .panel_tokens = BANDS_LANES,
        .block_tokens = BLOCK_PANELS * BANDS_LANES,
        /* Blocks that go round a ring lie in one slot each until the last reader has them. */
        .receive_slots = workers - 1 > RECEIVE_SLOTS ? workers - 1 : RECEIVE_SLOTS,
    };
}

bool choice_is_home(const struct choice *choice)
{
    return choice->request.decode_home && choice->group.workers > 1;
}

int64_t choice_cache_bytes(enum choice_cache cache, int64_t head_dim)
{
    if (cache == CHOICE_CACHE_INT8)
        return head_dim + SCALE_BYTES;
    return head_dim * (cache == CHOICE_CACHE_BF16 ? 2 : 4);
}

int64_t choice_operand_bytes(enum choice_cache cache)
{
    return cache == CHOICE_CACHE_BF16 ? 2 : 4;
}

struct span choice_stage(const struct choice *choice, int64_t done, int64_t prompt_tokens)
{
    const int64_t left = prompt_tokens - done;
    const bool whole = choice->request.stage_tokens == 0 || choice->request.stage_tokens > left;
    return (struct span){done, done + (whole ? left : choice->request.stage_tokens)};
}

enum choice_queries choice_stage_queries(const struct choice *choice, struct span stage)
{
    if (choice->request.queries != CHOICE_AUTO)
        return choice->request.queries;
    return choice->group.workers > 1 && stage.first > 0 &&
                   stage.end - stage.first <= choice->request.replicate_tokens
               ? CHOICE_REPLICATED
               : CHOICE_SHARDED;
}

enum status choice_deal(const struct choice *choice, struct ownership *ownership, struct span stage)
{
    const bool replicated = choice_stage_queries(choice, stage) == CHOICE_REPLICATED;
    return ownership_advance(ownership, stage.end - stage.first,
                             replicated ? PARTITION_ROUND_ROBIN : choice->request.partition,
                             &choice->request.weights);
}

enum status choice_deal_prompt(const struct choice *choice, struct ownership *ownership,
                               int64_t tokens)
{
    struct span stage = {0, 0};
    while (stage.end < tokens) {
        stage = choice_stage(choice, stage.end, tokens);
        TRY(choice_deal(choice, ownership, stage));
    }
    return STATUS_OK;
}

/* ---- refusing ---- */

static enum status check_range(const char *what, int64_t value, int64_t least, int64_t most)
{
    if (value >= least && value <= most)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT, "plan: %s is %lld, must be between %lld and %lld", what,
                (long long)value, (long long)least, (long long)most);
}

enum status choice_check_extent(int workers, int64_t context_tokens)
{
    TRY(check_range("workers", workers, 1, CHOICE_WORKERS_MAX));
    return check_range("context_tokens", context_tokens, 1, LARGEST_TOKENS);
}

void choice_bands(const struct choice *choice, struct bands *bands)
{
    method_bands(&choice->request.method, bands);
    bands->window = choice->request.window_tokens;
}

/* Chunks of one token are distances in tokens, which no plan walks through. */
static enum status check_chunks(const struct bands *bands, int64_t context_tokens)
{
    for (int b = 0; b < bands->count; b++) {
        const int64_t unit = bands->list[b].unit;
        if (unit > 1 && context_tokens / unit > CHOICE_CHUNKS_MAX)
            return fail(STATUS_INVALID_ARGUMENT,
                        "plan: the method's chunks of %lld tokens (dca: chunk - local) are more "
                        "than %d in a context of %lld: choose longer ones",
                        (long long)unit, CHOICE_CHUNKS_MAX, (long long)context_tokens);
    }
    return STATUS_OK;
}

static enum status check_weights(const struct partition_weights *weights, int workers)
{
    if (weights->count == 0)
        return STATUS_OK;
    TRY(check_range("the number of weights", weights->count, workers, workers));
    for (int r = 0; r < workers; r++)
        TRY(check_range("a weight", weights->parts[r], 1, UINT8_MAX));
    return STATUS_OK;
}

enum status choice_check(const struct choice *choice)
{
    TRY(method_check(&choice->request.method));
    TRY(choice_check_extent(choice->group.workers, choice->request.context_tokens));
    TRY(check_range("tensor", choice->group.tensor, 0, CHOICE_TENSOR_MAX));
    TRY(check_range("the number of ranks", group_choice_ranks(&choice->group), 1,
                    CHOICE_WORKERS_MAX));
    TRY(check_range("partition", choice->request.partition, PARTITION_CONTIGUOUS,
                    PARTITION_ZIGZAG));
    TRY(check_range("schedule", choice->request.schedule, CHOICE_GATHER, CHOICE_RING));
    TRY(check_range("stage_tokens", choice->request.stage_tokens, 0, LARGEST_TOKENS));
    TRY(check_range("panel_tokens", choice->group.panel_tokens, 1, PANEL_TOKENS_MAX));
    TRY(check_range("block_tokens", choice->group.block_tokens, choice->group.panel_tokens,
                    LARGEST_TOKENS));
    TRY(check_range("cache", choice->group.cache, CHOICE_CACHE_BF16, CHOICE_CACHE_INT8));
    TRY(check_range("queries", choice->request.queries, CHOICE_SHARDED, CHOICE_AUTO));
    TRY(check_range("replicate_tokens", choice->request.replicate_tokens, 0, LARGEST_TOKENS));
    TRY(check_range("decode_split", choice->request.decode_split, 0, DECODE_SPLIT_ALL));
    TRY(check_range("window_tokens", choice->request.window_tokens, 0, LARGEST_TOKENS));
    if (choice->request.decode_home && choice->request.decode_split != 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "plan: a rank that decodes alone splits no products: choose one of both");
    if (choice->request.decode_home && strcmp(choice->group.kernels, CHOICE_KERNELS_GPU) == 0)
        return fail(STATUS_INVALID_ARGUMENT, "plan: keys on GPUs stay where they are in decode");
    TRY(check_weights(&choice->request.weights, choice->group.workers));
    const bool ring = choice->request.schedule == CHOICE_RING;
    TRY(check_range("receive_slots", choice->group.receive_slots,
                    ring && choice->group.workers > 2 ? choice->group.workers - 1 : 1,
                    CHOICE_WORKERS_MAX));
    if (choice->group.block_tokens % choice->group.panel_tokens != 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "plan: block_tokens %lld is not a multiple of panel_tokens %d",
                    (long long)choice->group.block_tokens, choice->group.panel_tokens);
    if (!memchr(choice->group.kernels, '\0', sizeof choice->group.kernels) ||
        choice->group.kernels[0] == '\0')
        return fail(STATUS_INVALID_ARGUMENT, "plan: the kernel variant has no name");
    struct bands bands;
    choice_bands(choice, &bands);
    TRY(check_chunks(&bands, choice->request.context_tokens));
    if (choice->request.schedule == CHOICE_HALO && bands_reach(&bands) == BANDS_OPEN)
        return fail(STATUS_INVALID_ARGUMENT,
                    "plan: schedule halo needs a method with a window, such as lm_infinite: choose "
                    "gather or ring");
    return STATUS_OK;
}
