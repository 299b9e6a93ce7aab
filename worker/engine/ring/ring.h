/* Executes the exchange and the attention of a schedule, layer after layer: receives are posted as
 * slots come free, sends as their keys are ready, both in the schedule's order and bounded in
 * number; a read is attended when its keys are there. It knows no masks. One per rank, used from
 * the rank's thread.
 */
#pragma once

#include <stdbool.h>

#include "proto/plan/schedule.h"
#include "proto/status.h"
#include "worker/engine/device/device.h"
#include "worker/engine/transport/transport.h"

struct ring;

struct ring_times {
    double waited_seconds;   /* compute stood still for a block */
    double exchange_seconds; /* block wanted to block there, summed over blocks */
};

MUST_CHECK enum status ring_create(struct ring **ring, struct transport *transport);

/* Accepts NULL. After an abort the memory of unfinished requests must outlive the transport. */
void ring_destroy(struct ring *ring);

struct ring_stage {
    const struct schedule_rank *schedule;
    const struct panel_table *panels;
    const struct shard_rows *shard;
    struct device *device;
    int receive_slots;
    int64_t block_tokens;
    struct device_drive idle; /* called while it waits; must call ring_drive */
};

/* Starts a stage; everything in it is borrowed until ring_end. */
MUST_CHECK enum status ring_begin(struct ring *ring, const struct ring_stage *stage);

/* From now on blocks of `layer` may travel. Layers come in order from 0. */
void ring_layer(struct ring *ring, int layer);

/* Posts and completes what it can; never blocks. */
MUST_CHECK enum status ring_drive(struct ring *ring);

/* Attends to all reads of the layer given by ring_layer, waiting where keys are not there yet.
 * `drive` is called between work items; it must call ring_drive. */
MUST_CHECK enum status ring_attend(struct ring *ring, const struct device_drive *drive);

/* Waits until every block of the layers begun has left; ends the stage. */
MUST_CHECK enum status ring_end(struct ring *ring);

struct ring_times ring_times(const struct ring *ring);
