/* Owns one gRPC completion queue and its thread. Promises that each completion reaches its tag
 * exactly once. */
#include "proto/rpc/rpc_queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/support/log.h>
#include <grpc/support/time.h>

#include "proto/clock.h"
#include "proto/log.h"
#include "proto/rpc/handover.h"

struct rpc_queue {
    grpc_completion_queue *raw;
    pthread_t thread;
    bool started;
    void (*tick)(void *context); /* NULL: none */
    void *context;
    int64_t tick_ns; /* the thread's: when it is due */
};

/* Until when the thread may wait: for ever without a tick, for all it does is hand out completions,
 * and its wait ends with the queue's shutdown. */
static gpr_timespec wait_until(const struct rpc_queue *queue)
{
    if (!queue->tick)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_millis(RPC_QUEUE_TICK_MS, GPR_TIMESPAN));
}

static void tick_when_due(struct rpc_queue *queue)
{
    if (!queue->tick || clock_now_ns() < queue->tick_ns)
        return;
    queue->tick_ns = clock_after_ms(RPC_QUEUE_TICK_MS);
    queue->tick(queue->context);
}

static void *pump(void *argument)
{
    struct rpc_queue *queue = argument;
    for (;;) {
        grpc_event event = grpc_completion_queue_next(queue->raw, wait_until(queue), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE) {
            struct rpc_tag *tag = event.tag;
            handover_take(tag);
            tag->done(tag, event.success != 0);
        }
        tick_when_due(queue);
    }
}

/* The library writes to standard error in its own form; its lines become debug lines of our log. */
static void log_of_grpc(gpr_log_func_args *arguments)
{
    log_line(LOG_DEBUG, "grpc", log_text("message", arguments->message));
}

enum status rpc_queue_create(struct rpc_queue **queue)
{
    return rpc_queue_create_ticking(queue, NULL, NULL);
}

enum status rpc_queue_create_ticking(struct rpc_queue **queue, void (*tick)(void *), void *context)
{
    struct rpc_queue *q = calloc(1, sizeof *q);
    if (!q)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a gRPC queue");
    gpr_set_log_function(log_of_grpc);
    grpc_init();
    q->raw = grpc_completion_queue_create_for_next(NULL);
    q->tick = tick;
    q->context = context;
    q->tick_ns = clock_after_ms(RPC_QUEUE_TICK_MS);
    const int error = pthread_create(&q->thread, NULL, pump, q);
    q->started = error == 0;
    if (error) {
        rpc_queue_destroy(q);
        return fail(STATUS_RESOURCE_EXHAUSTED, "start a gRPC thread: %s", strerror(error));
    }
    *queue = q;
    return STATUS_OK;
}

void rpc_queue_destroy(struct rpc_queue *queue)
{
    if (!queue)
        return;
    grpc_completion_queue_shutdown(queue->raw);
    if (queue->started)
        pthread_join(queue->thread, NULL);
    grpc_completion_queue_destroy(queue->raw);
    grpc_shutdown();
    free(queue);
}

grpc_completion_queue *rpc_queue_raw(struct rpc_queue *queue)
{
    return queue->raw;
}
