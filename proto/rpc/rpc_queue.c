/* Owns one gRPC completion queue and its threads. Promises that each completion reaches its tag
 * exactly once. */
#include "proto/rpc/rpc_queue.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include <grpc/support/log.h>

#include "proto/log.h"
#include "proto/rpc/handover.h"

enum { THREADS_MAX = 8 };

struct rpc_queue {
    grpc_completion_queue *raw;
    pthread_t threads[THREADS_MAX];
    int thread_count;
};

static void *pump(void *argument)
{
    struct rpc_queue *queue = argument;
    for (;;) {
        /* No deadline: this wait ends with the queue's shutdown, and all it does is hand out
         * completions. */
        grpc_event event =
            grpc_completion_queue_next(queue->raw, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (event.type == GRPC_OP_COMPLETE) {
            struct rpc_tag *tag = event.tag;
            handover_take(tag);
            tag->done(tag, event.success != 0);
        }
    }
}

/* The library writes to standard error in its own form; its lines become debug lines of our log. */
static void log_of_grpc(gpr_log_func_args *arguments)
{
    log_line(LOG_DEBUG, "grpc", log_text("message", arguments->message));
}

enum status rpc_queue_create(struct rpc_queue **queue, int threads)
{
    struct rpc_queue *q = calloc(1, sizeof *q);
    if (!q)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a gRPC queue");
    gpr_set_log_function(log_of_grpc);
    grpc_init();
    q->raw = grpc_completion_queue_create_for_next(NULL);
    for (int i = 0; i < threads && i < THREADS_MAX; i++) {
        int error = pthread_create(&q->threads[i], NULL, pump, q);
        if (error) {
            rpc_queue_destroy(q);
            return fail(STATUS_RESOURCE_EXHAUSTED, "start a gRPC thread: %s", strerror(error));
        }
        q->thread_count++;
    }
    *queue = q;
    return STATUS_OK;
}

void rpc_queue_destroy(struct rpc_queue *queue)
{
    if (!queue)
        return;
    grpc_completion_queue_shutdown(queue->raw);
    for (int i = 0; i < queue->thread_count; i++)
        pthread_join(queue->threads[i], NULL);
    grpc_completion_queue_destroy(queue->raw);
    grpc_shutdown();
    free(queue);
}

grpc_completion_queue *rpc_queue_raw(struct rpc_queue *queue)
{
    return queue->raw;
}
