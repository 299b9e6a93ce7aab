/* The parts that a device's time is told by. */
#pragma once

enum device_part {
    DEVICE_PART_ROWS,   /* sharded stages: embedding, norms, projections, rope, MLP */
    DEVICE_PART_ATTEND, /* sharded stages: attention */
    DEVICE_PART_HEAD,   /* sharded stages: logits, and a text's log-probabilities */
    DEVICE_PART_STEP_QKV,
    DEVICE_PART_STEP_ATTEND,
    DEVICE_PART_STEP_OUTPUT,
    DEVICE_PART_STEP_GATE,
    DEVICE_PART_STEP_DOWN,
    DEVICE_PART_STEP_LOGITS,
    DEVICE_PARTS
};
