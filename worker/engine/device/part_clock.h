/* The device's time by parts: a timed event on the compute stream wherever another part begins. */
#pragma once

#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/device/device_part.h"

struct part_clock {
    const struct cuda_streams *streams;
    struct CUevent_st **events; /* [capacity] */
    enum device_part *parts;    /* [capacity] that begins there; DEVICE_PARTS: none does */
    int capacity;
    int count; /* recorded since the last reading */
};

/* `streams` is borrowed. */
MUST_CHECK enum status part_clock_init(struct part_clock *clock, const struct cuda_streams *streams,
                                       int capacity);

/* Accepts one that is all zero, or that part_clock_init left after a failure. */
void part_clock_deinit(struct part_clock *clock);

/* The work that is put on the stream from now on is this part's; DEVICE_PARTS: nobody's. Calling it
 * for the part that is under way already does nothing. INTERNAL beyond the capacity. */
MUST_CHECK enum status part_clock_begin(struct part_clock *clock, enum device_part part);

/* Adds the seconds of each part so far, up to the last part_clock_begin, and forgets them. The
 * stream has come past it. */
MUST_CHECK enum status part_clock_read(struct part_clock *clock, double seconds[DEVICE_PARTS]);

/* Forgets what was recorded. */
void part_clock_forget(struct part_clock *clock);
