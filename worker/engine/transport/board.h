/* The memory which the ranks of one host share: everybody's progress, the abort flag, the hint, and
 * the slots through which small collectives pass. It holds no pointers, since each process maps it
 * at its own address. Loopback takes it from the heap, MPI from a shared window; a rank alone on
 * its host has one for itself. */
#pragma once

#include "worker/engine/transport/core_wait.h"
#include "worker/engine/transport/transport.h"

enum { BOARD_REASON_BYTES = 200, BOARD_ALIGNMENT = 64 };

/* One rank's view. */
struct board {
    struct board_shared *shared;
    int rank;
    int size;
    bool cores_short;           /* more threads than cores: waits yield at once */
    struct core_wait core_wait; /* of the thread that owns the transport */
    uint64_t rounds;            /* gather rounds that this rank has begun */
    uint64_t spoken;            /* broadcast pieces that this rank has sent (rank 0) or heard */
};

/* `collectives`: all ranks are on this host, so the board carries gather and broadcast. */
size_t board_bytes(int size, bool collectives);

/* Sets up zeroed memory of board_bytes(), aligned to a cache line, before any rank opens it. */
void board_format(void *memory, int size);

/* `threads`: of all ranks on this host together. */
void board_open(struct board *board, void *memory, int rank, int size, int threads);

/* Rank r's counter, and the rank that it waits for, -1 if none; any thread. */
void board_mark(struct board *board);
uint64_t board_progress(const struct board *board, int rank);
int board_awaited(const struct board *board, int rank);
void board_await(struct board *board, int peer);

/* What was heard about a rank of another host. */
void board_relay(struct board *board, int rank, uint64_t progress, int awaited);

/* The first caller's rank and reason are kept. */
void board_abort(struct board *board, int rank, const char *reason);
bool board_aborted(const struct board *board);
int board_abort_rank(const struct board *board);           /* once aborted */
const char *board_abort_reason(const struct board *board); /* once aborted */

/* fail() with the abort's rank and reason. */
MUST_CHECK enum status board_abort_failure(const struct board *board);

void board_hint(struct board *board, uint32_t value);
uint32_t board_hinted(const struct board *board);

/* The collectives of transport.h between ranks that all share the board. */
MUST_CHECK enum status board_gather(struct transport *t, const void *mine, void *all,
                                    const struct transport_parts *parts);
MUST_CHECK enum status board_broadcast(struct transport *t, void *data, size_t bytes);
MUST_CHECK enum status board_barrier(struct transport *t);
