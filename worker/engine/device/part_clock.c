/* Owns the events of a clock. */
#include "worker/engine/device/part_clock.h"

#include <stdlib.h>

enum status part_clock_init(struct part_clock *clock, const struct cuda_streams *streams,
                            int capacity)
{
    *clock = (struct part_clock){.streams = streams};
    clock->events = calloc((size_t)capacity, sizeof *clock->events);
    clock->parts = calloc((size_t)capacity, sizeof *clock->parts);
    if (!clock->events || !clock->parts)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a clock of %d events", capacity);
    for (; clock->capacity < capacity; clock->capacity++)
        TRY(streams->runtime->timed_event_create(&clock->events[clock->capacity]));
    return STATUS_OK;
}

void part_clock_deinit(struct part_clock *clock)
{
    for (int e = 0; e < clock->capacity; e++)
        clock->streams->runtime->event_destroy(clock->events[e]);
    free(clock->events);
    free(clock->parts);
    *clock = (struct part_clock){0};
}

enum status part_clock_begin(struct part_clock *clock, enum device_part part)
{
    if (clock->count > 0 && clock->parts[clock->count - 1] == part)
        return STATUS_OK;
    if (clock->count == clock->capacity)
        return fail(STATUS_INTERNAL, "a clock of %d events is to take more", clock->capacity);
    TRY(clock->streams->runtime->event_record(clock->events[clock->count],
                                              clock->streams->compute));
    clock->parts[clock->count++] = part;
    return STATUS_OK;
}

enum status part_clock_read(struct part_clock *clock, double seconds[DEVICE_PARTS])
{
    for (int e = 0; e + 1 < clock->count; e++) {
        double spent = 0;
        if (clock->parts[e] == DEVICE_PARTS)
            continue;
        TRY(clock->streams->runtime->event_seconds(&spent, clock->events[e], clock->events[e + 1]));
        seconds[clock->parts[e]] += spent;
    }
    part_clock_forget(clock);
    return STATUS_OK;
}

void part_clock_forget(struct part_clock *clock)
{
    clock->count = 0;
}
