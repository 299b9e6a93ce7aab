/* Requests that wait for a worker group: fair_order.h with a lock, a clock and a bell. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/fair_order.h"
#include "proto/rpc/status_details.h"
#include "proto/status.h"

struct queue;

MUST_CHECK enum status queue_create(struct queue **queue, int64_t waiting_max);
void queue_destroy(struct queue *queue);

/* How many requests the groups answer at a time, all together. */
void queue_set_places(struct queue *queue, int places);

/* Refuses at once, before anything is read, what queue_enter would refuse whatever its tokens. */
MUST_CHECK enum status queue_check(struct queue *queue, struct status_details *details,
                                   const struct access_tenant *tenant);

/* RESOURCE_EXHAUSTED when as many wait already as may, DEADLINE_EXCEEDED for a deadline that cannot
 * be met; `details` has the reason and when to ask again. The caller owns the ticket until
 * queue_leave. */
MUST_CHECK enum status queue_enter(struct queue *queue, struct fair_ticket *ticket,
                                   struct status_details *details,
                                   const struct fair_request *request);

/* Requests before this one, those that run included. */
int64_t queue_ahead(struct queue *queue, const struct fair_ticket *ticket);

/* Whether it is its turn to look for room. */
bool queue_may_try(struct queue *queue, const struct fair_ticket *ticket);

/* It looked, and there was a place but no memory: others may look until something changes. */
void queue_block(struct queue *queue, struct fair_ticket *ticket);

/* It makes room for itself, until it is aside no more: nobody waits for it meanwhile. */
void queue_step_aside(struct queue *queue, struct fair_ticket *ticket, bool aside);

/* It waits no more but runs. */
void queue_start(struct queue *queue, struct fair_ticket *ticket);

/* It is over, be it waiting or running; `used` tokens were read and written for it. */
void queue_leave(struct queue *queue, struct fair_ticket *ticket, int64_t used);

/* Sleeps until anything changes, at most `timeout_ms`. */
void queue_wait(struct queue *queue, int64_t timeout_ms);

/* Something changed outside: a worker group came or went, or a run ended. */
void queue_wake(struct queue *queue);

int64_t queue_waiting(struct queue *queue);
int64_t queue_running(struct queue *queue);

/* Whether no request waits or runs. */
bool queue_is_empty(struct queue *queue);
