/* What rank 0 was asked for and has not put into a turn yet: the requests that wait, the first is
 * next, and the residents that are to go. No lock: the engine has one, for what other threads
 * cancel. */
#pragma once

#include <stdint.h>

#include "proto/status.h"
#include "worker/engine/engine.h"

struct engine_waiting {
    uint64_t number;
    struct engine_job job;
    int64_t slots;             /* that it will hold */
    enum status cancel_status; /* OK: go on */
};

/* Starts zeroed. */
struct engine_queue {
    struct engine_waiting *list; /* [count] */
    int count, room;
    uint64_t *goers; /* [goer_count] */
    int goer_count, goer_room;
};

void engine_queue_deinit(struct engine_queue *queue);

MUST_CHECK enum status engine_queue_add(struct engine_queue *queue,
                                        const struct engine_waiting *waiting);

/* The request of this number, which is there; valid until the next call. */
const struct engine_waiting *engine_queue_find(const struct engine_queue *queue, uint64_t number);

/* The same, taken out. */
struct engine_waiting engine_queue_take(struct engine_queue *queue, uint64_t number);

/* Unless it is not there. */
void engine_queue_cancel(struct engine_queue *queue, uint64_t number, enum status status);

/* The resident of this number is to go. */
MUST_CHECK enum status engine_queue_let_go(struct engine_queue *queue, uint64_t number);

/* Takes out residents that no waiting request goes on from, at most `most`; how many they are. */
int engine_queue_goers(struct engine_queue *queue, uint64_t *numbers, int most);

/* Why it ends before it begins; OK: it does not. */
enum status engine_queue_stop_status(const struct engine_waiting *waiting);
