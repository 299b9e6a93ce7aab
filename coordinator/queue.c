/* Owns the order of waiting requests. Promises that nobody is overtaken. */
#include "coordinator/queue.h"

#include <pthread.h>
#include <stdlib.h>

#include "proto/clock.h"

struct queue {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct queue_ticket *first, **last;
    int64_t waiting, waiting_max;
    int64_t running;
};

enum status queue_create(struct queue **queue, int64_t waiting_max)
{
    struct queue *q = calloc(1, sizeof *q);
    if (!q)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the queue");
    pthread_mutex_init(&q->lock, NULL);
    pthread_cond_init(&q->changed, NULL);
    q->last = &q->first;
    q->waiting_max = waiting_max;
    *queue = q;
    return STATUS_OK;
}

void queue_destroy(struct queue *queue)
{
    if (!queue)
        return;
    pthread_cond_destroy(&queue->changed);
    pthread_mutex_destroy(&queue->lock);
    free(queue);
}

enum status queue_enter(struct queue *queue, struct queue_ticket *ticket)
{
    *ticket = (struct queue_ticket){0};
    pthread_mutex_lock(&queue->lock);
    bool room = queue->waiting < queue->waiting_max;
    if (room) {
        *queue->last = ticket;
        queue->last = &ticket->next;
        queue->waiting++;
    }
    pthread_mutex_unlock(&queue->lock);
    return room ? STATUS_OK
                : fail(STATUS_RESOURCE_EXHAUSTED,
                       "the queue is full: %lld requests wait; try again later",
                       (long long)queue->waiting_max);
}

/* Takes a waiting ticket out of the line. Under the lock. */
static void unlink_ticket(struct queue *queue, struct queue_ticket *ticket)
{
    struct queue_ticket **link = &queue->first;
    while (*link != ticket)
        link = &(*link)->next;
    *link = ticket->next;
    if (queue->last == &ticket->next)
        queue->last = link;
    queue->waiting--;
}

int64_t queue_ahead(struct queue *queue, const struct queue_ticket *ticket)
{
    pthread_mutex_lock(&queue->lock);
    int64_t ahead = queue->running;
    for (struct queue_ticket *at = queue->first; at && at != ticket; at = at->next)
        ahead++;
    pthread_mutex_unlock(&queue->lock);
    return ahead;
}

bool queue_is_first(struct queue *queue, const struct queue_ticket *ticket)
{
    pthread_mutex_lock(&queue->lock);
    bool first = queue->first == ticket;
    pthread_mutex_unlock(&queue->lock);
    return first;
}

void queue_start(struct queue *queue, struct queue_ticket *ticket)
{
    pthread_mutex_lock(&queue->lock);
    unlink_ticket(queue, ticket);
    ticket->started = true;
    queue->running++;
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

void queue_leave(struct queue *queue, struct queue_ticket *ticket)
{
    pthread_mutex_lock(&queue->lock);
    if (ticket->started)
        queue->running--;
    else
        unlink_ticket(queue, ticket);
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
    pthread_cond_broadcast(&queue->changed);
    pthread_mutex_unlock(&queue->lock);
}

int64_t queue_waiting(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    int64_t waiting = queue->waiting;
    pthread_mutex_unlock(&queue->lock);
    return waiting;
}

bool queue_is_empty(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    bool empty = queue->waiting == 0 && queue->running == 0;
    pthread_mutex_unlock(&queue->lock);
    return empty;
}
