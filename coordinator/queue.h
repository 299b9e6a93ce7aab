/* The line of requests that wait for a worker group: first come, first served, bounded. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/status.h"

struct queue;

/* One request's place; the caller owns it from queue_enter to queue_leave. */
struct queue_ticket {
    struct queue_ticket *next;
    bool started;
};

MUST_CHECK enum status queue_create(struct queue **queue, int64_t waiting_max);
void queue_destroy(struct queue *queue);

/* RESOURCE_EXHAUSTED when as many wait already as may. */
MUST_CHECK enum status queue_enter(struct queue *queue, struct queue_ticket *ticket);

/* Requests before this one, those that run included; 0 when it is the first and nothing runs. */
int64_t queue_ahead(struct queue *queue, const struct queue_ticket *ticket);

/* Whether nobody waits before it. */
bool queue_is_first(struct queue *queue, const struct queue_ticket *ticket);

/* It waits no more but runs. */
void queue_start(struct queue *queue, struct queue_ticket *ticket);

/* It is over, be it waiting or running. */
void queue_leave(struct queue *queue, struct queue_ticket *ticket);

/* Sleeps until anything changes, at most `timeout_ms`. */
void queue_wait(struct queue *queue, int64_t timeout_ms);

/* Something changed outside: a worker group came or went. */
void queue_wake(struct queue *queue);

int64_t queue_waiting(struct queue *queue);

/* Whether no request waits or runs. */
bool queue_is_empty(struct queue *queue);
