/* Owns the table pair -> merge and the merging of a word. Promises the order of PyPI `tokenizers`:
 * always the adjacent pair of the smallest priority, leftmost on ties, without ever scanning a word
 * twice: a heap of (priority, place) in which entries that were overtaken are recognised and
 * dropped.
 */
#include "coordinator/text/bpe.h"

#include <assert.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/secret_hash.h"

enum { NONE = -1, MERGED = INT32_MIN };

/* A symbol of the word at the place where it starts; `id` is MERGED once it was merged into its
 * left neighbour. */
struct bpe_symbol {
    int32_t id;
    int32_t previous;
    int32_t next;
};

struct slot {
    int32_t left;
    int32_t right;
    int32_t merge; /* NONE: the slot is empty */
};

struct bpe {
    struct bpe_merge *merges; /* [merge count], by priority */
    bool has_ties;            /* some share a priority */
    struct slot *slots;       /* open addressing, at most half full */
    uint32_t mask;
    struct secret_hash_key key;
    int32_t byte_ids[256];
};

/* The slot of the pair, or the empty one where it would be. */
static struct slot *slot_of(const struct bpe *bpe, int32_t left, int32_t right)
{
    const uint64_t pair = (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
    uint32_t place = (uint32_t)secret_hash_number(&bpe->key, pair) & bpe->mask;
    for (;;) {
        struct slot *slot = &bpe->slots[place];
        if (slot->merge == NONE || (slot->left == left && slot->right == right))
            return slot;
        place = (place + 1) & bpe->mask;
    }
}

static void fill_slots(struct bpe *bpe, size_t count)
{
    for (size_t i = 0; i <= bpe->mask; i++)
        bpe->slots[i].merge = NONE;
    for (size_t i = 0; i < count; i++) {
        const struct bpe_merge *merge = &bpe->merges[i];
        bpe->has_ties |= merge->priority != (int32_t)i;
        *slot_of(bpe, merge->left, merge->right) =
            (struct slot){merge->left, merge->right, (int32_t)i};
    }
}

enum status bpe_create(struct bpe **bpe, const struct bpe_merge *merges, size_t count,
                       const int32_t *byte_ids)
{
    assert(count < INT32_MAX / 2);
    size_t slots = 16;
    while (slots < 2 * count)
        slots *= 2;
    struct bpe *created = calloc(1, sizeof *created);
    if (!created)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the merges of a tokenizer");
    created->merges = malloc((count + 1) * sizeof *created->merges);
    created->slots = malloc(slots * sizeof *created->slots);
    if (!created->merges || !created->slots) {
        bpe_destroy(created);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu merges of a tokenizer", count);
    }
    created->mask = (uint32_t)(slots - 1);
    created->key = secret_hash_draw();
    if (count > 0)
        memcpy(created->merges, merges, count * sizeof *merges);
    if (byte_ids)
        memcpy(created->byte_ids, byte_ids, sizeof created->byte_ids);
    fill_slots(created, count);
    *bpe = created;
    return STATUS_OK;
}

void bpe_destroy(struct bpe *bpe)
{
    if (!bpe)
        return;
    free(bpe->merges);
    free(bpe->slots);
    free(bpe);
}

void bpe_scratch_deinit(struct bpe_scratch *scratch)
{
    free(scratch->symbols);
    free(scratch->heap);
    *scratch = (struct bpe_scratch){0};
}

/* Heap keys are priority << 32 | place, so that the smallest is the next merge.
 * A word of n symbols needs room for 2n keys: n - 1 first pairs, and each of at most n - 1 merges
 * takes one key out and puts at most two in. */
static enum status scratch_reserve(struct bpe_scratch *scratch, size_t symbols)
{
    if (symbols > scratch->symbols_capacity) {
        size_t capacity = symbols < 256 ? 256 : symbols + symbols / 4;
        free(scratch->symbols);
        scratch->symbols_capacity = 0;
        scratch->symbols = malloc(capacity * sizeof *scratch->symbols);
        if (!scratch->symbols)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to tokenize a word of %zu bytes",
                        symbols);
        scratch->symbols_capacity = capacity;
    }
    if (2 * symbols > scratch->heap_capacity) {
        size_t capacity = 2 * scratch->symbols_capacity;
        free(scratch->heap);
        scratch->heap_capacity = 0;
        scratch->heap = malloc(capacity * sizeof *scratch->heap);
        if (!scratch->heap)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to tokenize a word of %zu bytes",
                        symbols);
        scratch->heap_capacity = capacity;
    }
    return STATUS_OK;
}

static void heap_push(struct bpe_scratch *scratch, uint64_t key)
{
    assert(scratch->heap_count < scratch->heap_capacity);
    uint64_t *heap = scratch->heap;
    size_t place = scratch->heap_count++;
    while (place > 0 && heap[(place - 1) / 2] > key) {
        heap[place] = heap[(place - 1) / 2];
        place = (place - 1) / 2;
    }
    heap[place] = key;
}

static uint64_t heap_pop(struct bpe_scratch *scratch)
{
    uint64_t *heap = scratch->heap;
    uint64_t top = heap[0];
    size_t count = --scratch->heap_count;
    uint64_t moved = heap[count];
    size_t place = 0;
    for (;;) {
        size_t child = 2 * place + 1;
        if (child >= count)
            break;
        if (child + 1 < count && heap[child + 1] < heap[child])
            child++;
        if (heap[child] >= moved)
            break;
        heap[place] = heap[child];
        place = child;
    }
    heap[place] = moved;
    return top;
}

static struct bpe_symbol symbol_at(size_t place, int32_t id)
{
    return (struct bpe_symbol){id, (int32_t)place - 1, (int32_t)place + 1};
}

static size_t symbols_of(const struct bpe *bpe, struct bpe_symbol *symbols, const char *word,
                         size_t bytes)
{
    size_t count = 0;
    for (size_t i = 0; i < bytes; i++) {
        int32_t id = bpe->byte_ids[(uint8_t)word[i]];
        if (id == NONE)
            continue;
        symbols[count] = symbol_at(count, id);
        count++;
    }
    return count;
}

/* Queues the merge of the symbol at `place` with its right neighbour, where there is one. */
static void queue_pair(const struct bpe *bpe, struct bpe_scratch *scratch, int32_t place)
{
    const struct bpe_symbol *symbols = scratch->symbols;
    int32_t next = symbols[place].next;
    if (next == NONE)
        return;
    int32_t merge = slot_of(bpe, symbols[place].id, symbols[next].id)->merge;
    if (merge != NONE)
        heap_push(scratch, (uint64_t)bpe->merges[merge].priority << 32 | (uint32_t)place);
}

/* The merge of this priority that the two symbols can make; NULL where they were overtaken. */
static const struct bpe_merge *merge_of(const struct bpe *bpe, int32_t priority, int32_t left,
                                        int32_t right)
{
    const struct bpe_merge *merge = &bpe->merges[priority];
    if (merge->left == left && merge->right == right)
        return merge;
    if (!bpe->has_ties)
        return NULL;
    int32_t found = slot_of(bpe, left, right)->merge;
    return found != NONE && bpe->merges[found].priority == priority ? &bpe->merges[found] : NULL;
}

static void merge_all(const struct bpe *bpe, struct bpe_scratch *scratch)
{
    struct bpe_symbol *symbols = scratch->symbols;
    while (scratch->heap_count > 0) {
        uint64_t key = heap_pop(scratch);
        int32_t place = (int32_t)(uint32_t)key;
        struct bpe_symbol *left = &symbols[place];
        if (left->id == MERGED || left->next == NONE)
            continue;
        struct bpe_symbol *right = &symbols[left->next];
        const struct bpe_merge *merge = merge_of(bpe, (int32_t)(key >> 32), left->id, right->id);
        if (!merge)
            continue;
        left->id = merge->result;
        left->next = right->next;
        right->id = MERGED;
        if (left->next != NONE)
            symbols[left->next].previous = place;
        if (left->previous != NONE)
            queue_pair(bpe, scratch, left->previous);
        queue_pair(bpe, scratch, place);
    }
}

/* Of the first `count` symbols. */
static enum status merge_and_add(const struct bpe *bpe, struct bpe_scratch *scratch,
                                 struct id_list *ids, size_t count)
{
    if (count == 0)
        return STATUS_OK;
    scratch->symbols[count - 1].next = NONE;
    scratch->heap_count = 0;
    for (size_t i = 0; i + 1 < count; i++)
        queue_pair(bpe, scratch, (int32_t)i);
    merge_all(bpe, scratch);
    for (int32_t place = 0; place != NONE; place = scratch->symbols[place].next)
        TRY(id_list_add(ids, scratch->symbols[place].id));
    return STATUS_OK;
}

enum status bpe_encode(const struct bpe *bpe, struct bpe_scratch *scratch, struct id_list *ids,
                       const char *word, size_t bytes)
{
    assert(bytes <= INT32_MAX);
    TRY(scratch_reserve(scratch, bytes));
    return merge_and_add(bpe, scratch, ids, symbols_of(bpe, scratch->symbols, word, bytes));
}

enum status bpe_encode_symbols(const struct bpe *bpe, struct bpe_scratch *scratch,
                               struct id_list *ids, const int32_t *symbols, size_t count)
{
    assert(count <= INT32_MAX);
    TRY(scratch_reserve(scratch, count));
    for (size_t i = 0; i < count; i++)
        scratch->symbols[i] = symbol_at(i, symbols[i]);
    return merge_and_add(bpe, scratch, ids, count);
}
