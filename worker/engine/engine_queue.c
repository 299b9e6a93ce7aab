/* Owns the lists. */
#include "worker/engine/engine_queue.h"

#include <stdlib.h>
#include <string.h>

#include "proto/clock.h"

void engine_queue_deinit(struct engine_queue *queue)
{
    free(queue->list);
    free(queue->goers);
    *queue = (struct engine_queue){0};
}

enum status engine_queue_add(struct engine_queue *queue, const struct engine_waiting *waiting)
{
    if (queue->count == queue->room) {
        const int room = 2 * queue->room + 16;
        struct engine_waiting *list = reallocarray(queue->list, (size_t)room, sizeof *list);
        if (!list)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a queue of %d requests", room);
        queue->list = list;
        queue->room = room;
    }
    queue->list[queue->count++] = *waiting;
    return STATUS_OK;
}

static int find(const struct engine_queue *queue, uint64_t number)
{
    int which = 0;
    while (queue->list[which].number != number)
        which++;
    return which;
}

const struct engine_waiting *engine_queue_find(const struct engine_queue *queue, uint64_t number)
{
    return &queue->list[find(queue, number)];
}

struct engine_waiting engine_queue_take(struct engine_queue *queue, uint64_t number)
{
    const int which = find(queue, number);
    const struct engine_waiting taken = queue->list[which];
    queue->count--;
    memmove(queue->list + which, queue->list + which + 1,
            (size_t)(queue->count - which) * sizeof *queue->list);
    return taken;
}

void engine_queue_cancel(struct engine_queue *queue, uint64_t number, enum status status)
{
    for (int w = 0; w < queue->count; w++)
        if (queue->list[w].number == number)
            queue->list[w].cancel_status = status;
}

enum status engine_queue_let_go(struct engine_queue *queue, uint64_t number)
{
    if (queue->goer_count == queue->goer_room) {
        const int room = 2 * queue->goer_room + 16;
        uint64_t *goers = reallocarray(queue->goers, (size_t)room, sizeof *goers);
        if (!goers)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d residents that go", room);
        queue->goers = goers;
        queue->goer_room = room;
    }
    queue->goers[queue->goer_count++] = number;
    return STATUS_OK;
}

static bool is_awaited(const struct engine_queue *queue, uint64_t resident)
{
    for (int w = 0; w < queue->count; w++)
        if (queue->list[w].job.request->goes_on_from == resident)
            return true;
    return false;
}

int engine_queue_goers(struct engine_queue *queue, uint64_t *numbers, int most)
{
    int taken = 0, left = 0;
    for (int g = 0; g < queue->goer_count; g++) {
        const uint64_t number = queue->goers[g];
        if (taken == most || is_awaited(queue, number))
            queue->goers[left++] = number;
        else
            numbers[taken++] = number;
    }
    queue->goer_count = left;
    return taken;
}

/* A request that is cut short before it begins ends as if it were refused. */
enum status engine_queue_stop_status(const struct engine_waiting *waiting)
{
    const int64_t deadline_ns = waiting->job.request->deadline_ns;
    if (waiting->cancel_status != STATUS_OK)
        return waiting->cancel_status;
    return deadline_ns && clock_now_ns() > deadline_ns ? STATUS_DEADLINE_EXCEEDED : STATUS_OK;
}
