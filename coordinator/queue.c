/* Owns the lock and the bell of those that wait. Promises that every refusal says when asking again
 * may help. */
#include "coordinator/queue.h"

#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>

#include "proto/clock.h"

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct fair_order *order;
    int64_t waiting_max;
};

enum status queue_create(struct queue **queue, int64_t waiting_max)
{
    struct queue *q = calloc(1, sizeof *q);
    if (!q)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the queue");
    enum status status = fair_order_create(&q->order, waiting_max);
    if (status != STATUS_OK) {
        free(q);
        return status;
    }
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    q->waiting_max = waiting_max;
    *queue = q;
    return STATUS_OK;
}

void queue_destroy(struct queue *queue)
{
    if (!queue)
        return;
    fair_order_destroy(queue->order);
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

void queue_set_places(struct queue *queue, int places)
{
    pthread_mutex_lock(&queue->lock);
    fair_order_set_places(queue->order, places);
    pthread_mutex_unlock(&queue->lock);
}

/* ---- refusing ---- */

static enum status refuse(const struct queue *queue, enum fair_answer answer,
                          const struct access_tenant *tenant)
{
    switch (answer) {
    case FAIR_ENTERED:
        return STATUS_OK;
    case FAIR_QUEUE_FULL:
        return fail(STATUS_RESOURCE_EXHAUSTED,
                    tenant->name[0] ? "the queue is full, or this tenant's part of its %" PRId64
                                      " requests; try again later"
                                    : "the queue is full: %" PRId64
                                      " requests wait; try again later",
                    queue->waiting_max);
    case FAIR_REQUESTS_QUOTA:
        return fail(STATUS_RESOURCE_EXHAUSTED,
                    "as many requests of this tenant wait as may: %" PRId64 "; try again later",
                    tenant->quotas.queued_requests);
    case FAIR_TOKENS_QUOTA:
        return fail(STATUS_RESOURCE_EXHAUSTED,
                    "more tokens of this tenant would wait than may: %" PRId64
                    ", prompts and longest answers together",
                    tenant->quotas.queued_tokens);
    case FAIR_TOO_LATE:
        return fail(STATUS_DEADLINE_EXCEEDED,
                    "the deadline cannot be met: the requests before this one take longer");
    }
    return fail(STATUS_INTERNAL, "the queue gave no answer");
}

static void fill_details(struct status_details *details, enum fair_answer answer, int64_t retry_ms)
{
    static const char *const reasons[] = {
        [FAIR_QUEUE_FULL] = "QUEUE_FULL",
        [FAIR_REQUESTS_QUOTA] = "QUOTA_EXCEEDED",
        [FAIR_TOKENS_QUOTA] = "QUOTA_EXCEEDED",
        [FAIR_TOO_LATE] = "DEADLINE_TOO_SHORT",
    };
    details->reason = reasons[answer];
    details->retry_ms = retry_ms;
}

enum status queue_check(struct queue *queue, struct status_details *details,
                        const struct access_tenant *tenant)
{
    pthread_mutex_lock(&queue->lock);
    const enum fair_answer answer = fair_order_check(queue->order, tenant);
    const int64_t retry_ms = fair_order_retry_ms(queue->order, answer, tenant);
    pthread_mutex_unlock(&queue->lock);
    if (answer != FAIR_ENTERED)
        fill_details(details, answer, retry_ms);
    return refuse(queue, answer, tenant);
}

enum status queue_enter(struct queue *queue, struct fair_ticket *ticket,
                        struct status_details *details, const struct fair_request *request)
{
    enum fair_answer answer = FAIR_ENTERED;
    int64_t retry_ms = 0;
    pthread_mutex_lock(&queue->lock);
    enum status status = fair_order_enter(queue->order, ticket, &answer, request, clock_now_ns());
    if (status == STATUS_OK)
        retry_ms = fair_order_retry_ms(queue->order, answer, request->tenant);
    pthread_mutex_unlock(&queue->lock);
    TRY(status);
    if (answer != FAIR_ENTERED)
        fill_details(details, answer, retry_ms);
    return refuse(queue, answer, request->tenant);
}

/* ---- waiting ---- */

int64_t queue_ahead(struct queue *queue, const struct fair_ticket *ticket)
{
    pthread_mutex_lock(&queue->lock);
    const int64_t ahead = fair_order_ahead(queue->order, ticket);
    pthread_mutex_unlock(&queue->lock);
    return ahead;
}

bool queue_may_try(struct queue *queue, const struct fair_ticket *ticket)
{
    pthread_mutex_lock(&queue->lock);
    const bool may = fair_order_may_try(queue->order, ticket, clock_now_ns());
    pthread_mutex_unlock(&queue->lock);
    return may;
}

void queue_block(struct queue *queue, struct fair_ticket *ticket)
{
    pthread_mutex_lock(&queue->lock);
    if (!ticket->blocked)
        pthread_cond_broadcast(&queue->changed);
    fair_order_block(queue->order, ticket);
    pthread_mutex_unlock(&queue->lock);
}

void queue_step_aside(struct queue *queue, struct fair_ticket *ticket, bool aside)
{
    pthread_mutex_lock(&queue->lock);
    fair_order_step_aside(queue->order, ticket, aside);
    if (aside)
        pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

void queue_start(struct queue *queue, struct fair_ticket *ticket)
{
    pthread_mutex_lock(&queue->lock);
    fair_order_start(queue->order, ticket, clock_now_ns());
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

void queue_leave(struct queue *queue, struct fair_ticket *ticket, int64_t used)
{
    pthread_mutex_lock(&queue->lock);
    fair_order_leave(queue->order, ticket, used, clock_now_ns());
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

void queue_wait(struct queue *queue, int64_t timeout_ms)
{
    pthread_mutex_lock(&queue->lock);
    (void)clock_wait(&queue->changed, &queue->lock, clock_after_ms(timeout_ms));
    pthread_mutex_unlock(&queue->lock);
}

void queue_wake(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    fair_order_unblock(queue->order);
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

int64_t queue_waiting(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    const int64_t waiting = fair_order_waiting(queue->order);
    pthread_mutex_unlock(&queue->lock);
    return waiting;
}

int64_t queue_running(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    const int64_t running = fair_order_running(queue->order);
    pthread_mutex_unlock(&queue->lock);
    return running;
}

bool queue_is_empty(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    const bool empty =
        fair_order_waiting(queue->order) == 0 && fair_order_running(queue->order) == 0;
    pthread_mutex_unlock(&queue->lock);
    return empty;
}
