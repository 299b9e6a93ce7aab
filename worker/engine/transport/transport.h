/* The seam between one rank and its peers: loopback (threads), MPI (processes), NCCL (GPUs).
 *
 * Contract, which every implementation keeps and tests/ranks checks:
 *
 * - A rank owns one `struct transport` and calls it from one thread only. The exceptions, callable
 *   from any thread of the rank: transport_abort, transport_aborted, transport_mark,
 *   transport_hint, transport_hinted.
 * - Messages from one rank to another on one channel arrive in the order sent, and the n-th receive
 *   gets the n-th send. There are no tags. Both sides name the same size; another one is
 *   STATUS_INTERNAL. Zero bytes is a message.
 * - transport_send and transport_receive return at once. The memory stays the caller's; it must be
 *   valid, and the sent bytes unchanged, until the request is done. A request is done when
 *   transport_test says so or transport_wait returns STATUS_OK; then its handle is gone. A rank
 *   never sends to itself.
 * - transport_test and transport_progress drive everything outstanding, so call one of them between
 *   work items.
 * - transport_gather, transport_gather_each, transport_broadcast, transport_barrier and the sums of
 *   transport_reduce.h are called by all ranks in the same order. But for the sums they are made
 *   for small data; all spin. Messages and collectives do not disturb each other.
 * - Every wait (transport_wait and the collectives) ends with STATUS_UNAVAILABLE when any rank has
 *   aborted, and when the awaited peer has been silent for silence_ns. Silent means: neither that
 *   peer's progress counter moved, nor that of a rank which it in turn awaits. A rank's counter
 *   moves with each request that it completes and with each transport_mark, never because it waits;
 *   so ranks that wait for each other in a circle are found too.
 * - transport_abort ends every wait of every rank, within 100 ms; to ranks of other hosts the news
 *   leaves with the next transport_progress, transport_test or transport_destroy. The first reason
 *   is kept. After an abort, or after any call here failed, a rank only calls transport_abort and
 *   transport_destroy; memory of unfinished requests must stay valid until transport_destroy
 *   returns, which never blocks on a peer after an abort. An MPI process then exits non-zero, so
 *   that mpirun ends whoever did not listen.
 */
#pragma once

#include "proto/status.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum transport_channel {
    TRANSPORT_KEYS,    /* blocks of keys and values, and halos, of prefill */
    TRANSPORT_STATE,   /* (m, l, acc) states and slices; transport_gather counts here */
    TRANSPORT_SCORE,   /* what Score sends to rank 0 */
    TRANSPORT_VERDICT, /* go on or stop; transport_broadcast counts here */
    TRANSPORT_TURN,    /* what the ranks do next (worker/engine/turn.h) */
    TRANSPORT_ORDER, /* not for callers: what transport_nccl agrees on over the host's transport */
    TRANSPORT_TOGETHER, /* not for callers: sums (transport_reduce.h), and what collectives of a
                           split send (transport_split.h) */
    TRANSPORT_CHANNELS
};

/* Payload bytes, exactly; the plan's prediction must equal them. A gather counts as if each rank
 * had sent its part to every other rank, a broadcast as if rank 0 had sent to every other rank. A
 * request counts when posted. */
struct transport_counters {
    uint64_t sent_bytes[TRANSPORT_CHANNELS];
    uint64_t sent_messages[TRANSPORT_CHANNELS]; /* a part of a gather without bytes is none */
    uint64_t received_bytes[TRANSPORT_CHANNELS];
    int64_t waited_ns; /* time inside transport_wait and the collectives; its splits' too */
};

struct transport_options {
    size_t requests; /* most requests of a rank outstanding at once; 0: what so many ranks need */
    int64_t silence_ns; /* how long an awaited peer may stand still; 0: 30 s */
    int threads;        /* compute threads of a rank, to tell whether cores are short; 0: 1 */
    size_t piece_bytes; /* transport_mpi splits messages at this; 0: 1 GiB. For tests */
    bool apart;         /* transport_mpi acts as if each rank had a host of its own. For tests */
};

struct board;
struct transport;

/* What an implementation calls on the options of its creator, which may be NULL: the zeros are
 * filled in for a group of `size` ranks. */
struct transport_options transport_options_filled(const struct transport_options *options,
                                                  int size);

/* What each implementation puts at the start of its own request. */
struct transport_request {
    int peer;
    enum transport_channel channel;
    size_t bytes;
    bool sends;
};

/* The parts of a gather: where each rank's lies in `all`, and its bytes. */
struct transport_parts {
    const size_t *offsets; /* [size] bytes; NULL: the parts are alike and lie by rank */
    const size_t *sizes;   /* [size] bytes; NULL with `offsets` */
    size_t each;           /* bytes of each where they are alike */
};

static inline size_t transport_part_offset(const struct transport_parts *parts, int rank)
{
    return parts->offsets ? parts->offsets[rank] : (size_t)rank * parts->each;
}

static inline size_t transport_part_bytes(const struct transport_parts *parts, int rank)
{
    return parts->sizes ? parts->sizes[rank] : parts->each;
}

/* The parts of a sum: where each rank's lies in what is added, and memory for what comes. */
struct transport_sums {
    const size_t *offsets; /* [size] bytes, in whole float32s */
    const size_t *sizes;   /* [size] bytes, likewise */
    float *scratch;
    size_t scratch_count; /* float32s, the same on all ranks; one for each other rank at least */
    struct transport_request **requests; /* [2 size], which a sum uses */
};

struct transport_ops {
    enum status (*send)(struct transport *t, int peer, enum transport_channel channel,
                        const void *data, size_t bytes, struct transport_request **request);
    enum status (*receive)(struct transport *t, int peer, enum transport_channel channel,
                           void *data, size_t bytes, struct transport_request **request);
    enum status (*test)(struct transport *t, struct transport_request *request, bool *done);
    enum status (*progress)(struct transport *t);
    enum status (*gather)(struct transport *t, const void *mine, void *all,
                          const struct transport_parts *parts);
    enum status (*broadcast)(struct transport *t, void *data, size_t bytes);
    enum status (*reduce_scatter)(struct transport *t, float *mine, const float *all,
                                  const struct transport_sums *sums);
    enum status (*barrier)(struct transport *t);
    void (*destroy)(struct transport *t);
};

/* What adds and copies the float32s of a sum, where the host's own instructions do not reach them.
 * On a GPU both go on the compute stream, in order with what is there. */
struct transport_arithmetic {
    enum status (*add)(struct transport *t, float *sum, const float *values, size_t count);
    enum status (*copy)(struct transport *t, float *to, const float *from, size_t count);
};

/* At the start of memory by malloc that a request may still point into when its owner goes. */
struct transport_keepsake {
    struct transport_keepsake *next;
};

/* What each implementation puts at the start of its own transport. Read rank to facts; leave the
 * rest alone. */
struct transport {
    int rank;
    int size;
    int local_rank;   /* among the ranks of this host */
    int local_size;   /* ranks on this host */
    const char *name; /* "loopback", "mpi", "nccl" */
    char facts[256];  /* for start-up and doctor: "ranks=2 hosts=1 gather=shared" */
    struct transport_counters counters;
    const struct transport_ops *ops;
    struct board *board;        /* progress, abort flag and hint of all ranks */
    _Atomic int64_t silence_ns; /* read by threads that watch, too */
    struct transport_keepsake *keepsakes;
    struct transport *driver; /* drives this one while it waits; NULL: it drives itself */
    struct transport *whole;  /* of a split: whose ranks these are; else NULL */
    const struct transport_arithmetic *arithmetic; /* NULL: the host's */
};

static inline MUST_CHECK enum status transport_send(struct transport *t, int peer,
                                                    enum transport_channel channel,
                                                    const void *data, size_t bytes,
                                                    struct transport_request **request)
{
    return t->ops->send(t, peer, channel, data, bytes, request);
}

static inline MUST_CHECK enum status transport_receive(struct transport *t, int peer,
                                                       enum transport_channel channel, void *data,
                                                       size_t bytes,
                                                       struct transport_request **request)
{
    return t->ops->receive(t, peer, channel, data, bytes, request);
}

/* Drives the transport; true in `*done` ends the request. Never blocks. */
static inline MUST_CHECK enum status transport_test(struct transport *t,
                                                    struct transport_request *request, bool *done)
{
    return t->ops->test(t, request, done);
}

/* Drives the transport without looking at one request; fails after an abort. Cheap: call it between
 * work items. */
static inline MUST_CHECK enum status transport_progress(struct transport *t)
{
    return t->ops->progress(t);
}

/* Spins until the request is done. */
MUST_CHECK enum status transport_wait(struct transport *t, struct transport_request *request);

/* Each rank gives sizes[rank] bytes at `mine`; every rank gets the parts of all, its own included:
 * rank r's at offsets[r] bytes into `all`. All ranks name the same sizes; a size may be 0. `mine`
 * may lie in `all` at its own place. */
MUST_CHECK enum status transport_gather(struct transport *t, const void *mine, void *all,
                                        const size_t offsets[], const size_t sizes[]);

/* The same where each rank gives `bytes` bytes: `all` is [size] of them, by rank. */
MUST_CHECK enum status transport_gather_each(struct transport *t, const void *mine, void *all,
                                             size_t bytes);

/* Rank 0's bytes to all. Rank 0 does not wait for slow peers, unless it is far ahead of them. */
MUST_CHECK enum status transport_broadcast(struct transport *t, void *data, size_t bytes);

/* For tests. */
MUST_CHECK enum status transport_barrier(struct transport *t);

/* Tells the peers that this rank is getting on: once per finished work item. */
void transport_mark(struct transport *t);

/* A word that any rank may raise and all ranks soon see, without waiting: the hint that the rest of
 * a layer's arithmetic is not needed. It agrees on nothing; a verdict does. It only grows. */
void transport_hint(struct transport *t, uint32_t value);
uint32_t transport_hinted(const struct transport *t);

void transport_abort(struct transport *t, const char *reason);
bool transport_aborted(const struct transport *t);

void transport_set_silence(struct transport *t, int64_t silence_ns);

/* Whether this rank's threads share their cores with others: then waits leave the core at once. It
 * is guessed from transport_options.threads until it is known better. */
void transport_set_cores_short(struct transport *t, bool cores_short);

/* Leaves memory to the transport, which frees it when it is destroyed: for a receive that nobody
 * will answer. */
void transport_keep(struct transport *t, struct transport_keepsake *keepsake);

/* Accepts NULL. Not a collective after an abort; else all ranks call it, and nobody waits. */
void transport_destroy(struct transport *t);
