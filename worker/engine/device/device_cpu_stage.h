/* The CPU device's stages with sharded queries: device.h says what each does. */
#pragma once

#include "worker/engine/device/device_cpu_parts.h"

enum status device_cpu_stage_begin(struct device *device, const struct device_stage *stage);
void device_cpu_stage_run(struct device_cpu *cpu, int first, int end,
                          const struct device_drive *drive);
void device_cpu_stage_attend(struct device_cpu *cpu, int layer, const struct device_keys *keys,
                             int count, const struct device_drive *drive);
enum status device_cpu_stage_score(struct device *device, float *logprobs, int64_t tokens,
                                   const struct device_drive *drive);
void device_cpu_stage_logits(struct device_cpu *cpu, int64_t row, int64_t count);
