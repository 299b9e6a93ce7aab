/* In which order sends and receives go on the ranks' exchange streams.
 *
 * A stream does one thing after another, and a send ends only with its receive; so ranks that put
 * their messages on their streams as they come would lock each other. Rank 0 gives the order: each
 * rank notes to it every message that it posts, and when both ends of one have been noted, rank 0
 * orders it from both. Every rank puts messages on its stream in the order in which they were
 * ordered, which is one order for all: the first unfinished message is next on both its streams.
 *
 * Notes and orders are small messages of the host's transport.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "worker/engine/transport/transport.h"

struct nccl_order;

/* A message, as one end of it sees it. */
struct nccl_note {
    int32_t peer;
    int32_t channel;
    int32_t sends;  /* 1: this rank sends */
    int32_t misfit; /* of an order: the two ends named different sizes */
    uint64_t bytes;
};

/* `host` is borrowed; `requests`: most messages of a rank under way. */
MUST_CHECK enum status nccl_order_create(struct nccl_order **order, struct transport *host,
                                         size_t requests);

/* Accepts NULL. After the host's transport is gone. */
void nccl_order_destroy(struct nccl_order *order);

/* This rank has posted a message. */
MUST_CHECK enum status nccl_order_note(struct nccl_order *order, const struct nccl_note *note);

/* Moves notes and orders on; never blocks. */
MUST_CHECK enum status nccl_order_drive(struct nccl_order *order);

/* The next message to put on the stream; false: none yet. */
bool nccl_order_next(struct nccl_order *order, struct nccl_note *note);

/* Takes leave: no more notes. Drive until nccl_order_ended. */
void nccl_order_leave(struct nccl_order *order);
bool nccl_order_ended(const struct nccl_order *order);
