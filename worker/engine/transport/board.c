/* Owns the layout of the board and the collectives over it. Promises that a reader never sees half
 * of what was written: data first, then a counter with release; the counter with acquire, then the
 * data.
 *
 * Gather: each rank writes a round's part into one of its two slots and then its round counter; it
 * copies out each peer's part once that peer's counter has come. Two slots are enough: a rank
 * begins round n + 2 only after it has seen everybody's round n + 1, and nobody begins n + 1 before
 * having copied all of n. Parts longer than a slot take several rounds, as many as the longest
 * needs, which every rank knows.
 *
 * Broadcast: rank 0 writes pieces into a ring of slots, and waits only for peers that are a whole
 * ring behind. */
#include "worker/engine/transport/board.h"

#include "worker/engine/transport/spin.h"

#include <assert.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

enum {
    LINE_BYTES = BOARD_ALIGNMENT,
    SLOT_BYTES = 64 << 10, /* one rank's part of one gather round */
    SLOTS = 2,
    SAID_BYTES = 4 << 10, /* one piece of a broadcast */
    SAID_SLOTS = 8,
};

enum abort_state { ABORT_NONE, ABORT_WORDING, ABORT_SET };

struct board_rank {
    _Alignas(LINE_BYTES) _Atomic uint64_t progress;
    _Atomic int awaited;
    _Alignas(LINE_BYTES) _Atomic uint64_t gathered; /* rounds whose part is in its slot */
    _Alignas(LINE_BYTES) _Atomic uint64_t heard;    /* broadcast pieces copied out */
};

struct board_shared {
    _Alignas(LINE_BYTES) _Atomic int abort_state;
    int abort_rank;
    char reason[BOARD_REASON_BYTES];
    _Atomic uint32_t hint;
    _Alignas(LINE_BYTES) _Atomic uint64_t said; /* broadcast pieces in the ring or past it */
    _Alignas(LINE_BYTES) struct board_rank ranks[];
    /* then, with collectives: the broadcast ring, and SLOTS slots of each rank */
};

size_t board_bytes(int size, bool collectives)
{
    size_t bytes = sizeof(struct board_shared) + (size_t)size * sizeof(struct board_rank);
    if (collectives)
        bytes += (size_t)SAID_SLOTS * SAID_BYTES + (size_t)size * SLOTS * SLOT_BYTES;
    return bytes;
}

void board_format(void *memory, int size)
{
    struct board_shared *shared = memory;
    for (int rank = 0; rank < size; rank++)
        atomic_store(&shared->ranks[rank].awaited, -1);
}

void board_open(struct board *board, void *memory, int rank, int size, int threads)
{
    cpu_set_t allowed;
    const bool cores_short =
        sched_getaffinity(0, sizeof allowed, &allowed) == 0 && CPU_COUNT(&allowed) < threads;
    assert((uintptr_t)memory % LINE_BYTES == 0);
    *board =
        (struct board){.shared = memory, .rank = rank, .size = size, .cores_short = cores_short};
}

static unsigned char *said_slot(const struct board *board, uint64_t piece)
{
    unsigned char *ring = (unsigned char *)(board->shared->ranks + board->size);
    return ring + piece % SAID_SLOTS * SAID_BYTES;
}

static unsigned char *gather_slot(const struct board *board, int rank, uint64_t round)
{
    unsigned char *slots =
        (unsigned char *)(board->shared->ranks + board->size) + (size_t)SAID_SLOTS * SAID_BYTES;
    return slots + ((size_t)rank * SLOTS + round % SLOTS) * SLOT_BYTES;
}

void board_mark(struct board *board)
{
    atomic_fetch_add_explicit(&board->shared->ranks[board->rank].progress, 1, memory_order_relaxed);
}

uint64_t board_progress(const struct board *board, int rank)
{
    return atomic_load_explicit(&board->shared->ranks[rank].progress, memory_order_relaxed);
}

int board_awaited(const struct board *board, int rank)
{
    return atomic_load_explicit(&board->shared->ranks[rank].awaited, memory_order_relaxed);
}

void board_await(struct board *board, int peer)
{
    atomic_store_explicit(&board->shared->ranks[board->rank].awaited, peer, memory_order_relaxed);
}

void board_relay(struct board *board, int rank, uint64_t progress, int awaited)
{
    atomic_store_explicit(&board->shared->ranks[rank].progress, progress, memory_order_relaxed);
    atomic_store_explicit(&board->shared->ranks[rank].awaited, awaited, memory_order_relaxed);
}

void board_abort(struct board *board, int rank, const char *reason)
{
    struct board_shared *shared = board->shared;
    int none = ABORT_NONE;
    if (!atomic_compare_exchange_strong(&shared->abort_state, &none, ABORT_WORDING))
        return;
    shared->abort_rank = rank;
    snprintf(shared->reason, sizeof shared->reason, "%s", reason);
    atomic_store(&shared->abort_state, ABORT_SET);
}

bool board_aborted(const struct board *board)
{
    return atomic_load_explicit(&board->shared->abort_state, memory_order_acquire) == ABORT_SET;
}

int board_abort_rank(const struct board *board)
{
    return board->shared->abort_rank;
}

const char *board_abort_reason(const struct board *board)
{
    return board->shared->reason;
}

enum status board_abort_failure(const struct board *board)
{
    return fail(STATUS_UNAVAILABLE, "rank %d stopped the worker group: %s",
                board->shared->abort_rank, board->shared->reason);
}

void board_hint(struct board *board, uint32_t value)
{
    uint32_t old = atomic_load(&board->shared->hint);
    while (old < value && !atomic_compare_exchange_weak(&board->shared->hint, &old, value))
        continue;
}

uint32_t board_hinted(const struct board *board)
{
    return atomic_load_explicit(&board->shared->hint, memory_order_relaxed);
}

/* The part of `bytes` that round number `round` of this gather carries. */
static size_t round_bytes(size_t bytes, size_t round)
{
    const size_t first = round * SLOT_BYTES;
    if (bytes <= first)
        return 0;
    return bytes - first < SLOT_BYTES ? bytes - first : SLOT_BYTES;
}

/* Waits until the counter of `rank` reaches `least`. An abort by a rank that is already past this
 * place must not keep the others from getting there: what is complete for one rank is complete for
 * all. Hence the second look. */
static enum status wait_counter(struct transport *t, struct spin *spin,
                                const _Atomic uint64_t *counter, uint64_t least, int rank)
{
    while (atomic_load_explicit(counter, memory_order_acquire) < least) {
        const enum status status = spin_round(t, spin, rank);
        if (status != STATUS_OK && atomic_load_explicit(counter, memory_order_acquire) < least)
            return status;
    }
    return STATUS_OK;
}

static enum status wait_gathered(struct transport *t, struct spin *spin, int rank, uint64_t rounds)
{
    return wait_counter(t, spin, &t->board->shared->ranks[rank].gathered, rounds, rank);
}

/* One round: [first, first + SLOT_BYTES) of every rank's part. */
static enum status gather_round(struct transport *t, struct spin *spin, const unsigned char *mine,
                                unsigned char *all, const struct transport_parts *parts,
                                size_t round)
{
    struct board *board = t->board;
    const size_t first = round * SLOT_BYTES;
    const size_t mine_bytes = round_bytes(transport_part_bytes(parts, board->rank), round);
    if (mine_bytes > 0)
        memcpy(gather_slot(board, board->rank, board->rounds), mine + first, mine_bytes);
    const uint64_t number = board->rounds++;
    atomic_store_explicit(&board->shared->ranks[board->rank].gathered, number + 1,
                          memory_order_release);
    for (int rank = 0; rank < board->size; rank++) {
        if (rank == board->rank)
            continue;
        TRY(wait_gathered(t, spin, rank, number + 1));
        const size_t bytes = round_bytes(transport_part_bytes(parts, rank), round);
        if (bytes > 0)
            memcpy(all + transport_part_offset(parts, rank) + first,
                   gather_slot(board, rank, number), bytes);
    }
    return STATUS_OK;
}

enum status board_gather(struct transport *t, const void *mine, void *all,
                         const struct transport_parts *parts)
{
    struct board *board = t->board;
    size_t longest = 0;
    for (int rank = 0; rank < board->size; rank++) {
        const size_t bytes = transport_part_bytes(parts, rank);
        longest = bytes > longest ? bytes : longest;
    }
    unsigned char *own = (unsigned char *)all + transport_part_offset(parts, board->rank);
    const size_t own_bytes = transport_part_bytes(parts, board->rank);
    if (own_bytes > 0 && own != mine)
        memcpy(own, mine, own_bytes);

    struct spin spin;
    spin_begin(&spin);
    enum status status = STATUS_OK;
    for (size_t round = 0; round * SLOT_BYTES < longest && status == STATUS_OK; round++)
        status = gather_round(t, &spin, mine, all, parts, round);
    spin_end(t, &spin);
    return status;
}

enum status board_barrier(struct transport *t)
{
    struct board *board = t->board;
    const uint64_t rounds = ++board->rounds;
    atomic_store_explicit(&board->shared->ranks[board->rank].gathered, rounds,
                          memory_order_release);
    struct spin spin;
    spin_begin(&spin);
    enum status status = STATUS_OK;
    for (int rank = 0; rank < board->size && status == STATUS_OK; rank++)
        status = wait_gathered(t, &spin, rank, rounds);
    spin_end(t, &spin);
    return status;
}

static enum status say_piece(struct transport *t, struct spin *spin, const unsigned char *data,
                             size_t bytes)
{
    struct board *board = t->board;
    for (int rank = 1; rank < board->size; rank++) {
        const uint64_t least = board->spoken < SAID_SLOTS ? 0 : board->spoken - SAID_SLOTS + 1;
        TRY(wait_counter(t, spin, &board->shared->ranks[rank].heard, least, rank));
    }
    memcpy(said_slot(board, board->spoken), data, bytes);
    board->spoken++;
    atomic_store_explicit(&board->shared->said, board->spoken, memory_order_release);
    return STATUS_OK;
}

static enum status hear_piece(struct transport *t, struct spin *spin, unsigned char *data,
                              size_t bytes)
{
    struct board *board = t->board;
    TRY(wait_counter(t, spin, &board->shared->said, board->spoken + 1, 0));
    memcpy(data, said_slot(board, board->spoken), bytes);
    board->spoken++;
    atomic_store_explicit(&board->shared->ranks[board->rank].heard, board->spoken,
                          memory_order_release);
    return STATUS_OK;
}

enum status board_broadcast(struct transport *t, void *data, size_t bytes)
{
    unsigned char *next = data;
    struct spin spin;
    spin_begin(&spin);
    enum status status = STATUS_OK;
    for (size_t left = bytes; left > 0 && status == STATUS_OK;) {
        const size_t piece = left < SAID_BYTES ? left : SAID_BYTES;
        status =
            t->rank == 0 ? say_piece(t, &spin, next, piece) : hear_piece(t, &spin, next, piece);
        next += piece;
        left -= piece;
    }
    spin_end(t, &spin);
    return status;
}
