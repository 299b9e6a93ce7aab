/* A completion queue and the thread that empties it. Each completion calls its tag's function. */
#pragma once

#include <stdbool.h>

#include <grpc/grpc.h>

#include "proto/status.h"

/* What gRPC hands back when an operation ends. Embedded in the object that started the
 * operation. */
struct rpc_tag {
    /* Runs on the queue's thread: it takes a lock, notes what happened, and returns. */
    void (*done)(struct rpc_tag *tag, bool ok);
};

struct rpc_queue;

enum { RPC_QUEUE_TICK_MS = 1000 };

MUST_CHECK enum status rpc_queue_create(struct rpc_queue **queue);

/* The same, with a function that the queue's thread calls about every RPC_QUEUE_TICK_MS. */
MUST_CHECK enum status rpc_queue_create_ticking(struct rpc_queue **queue, void (*tick)(void *),
                                                void *context);

/* Every operation of the queue must have been cancelled or have ended. NULL is accepted. */
void rpc_queue_destroy(struct rpc_queue *queue);

/* Borrowed. */
grpc_completion_queue *rpc_queue_raw(struct rpc_queue *queue);
