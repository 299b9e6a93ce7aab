/* The CPU device's stages with replicated queries, and decode: device.h says what each does. */
#pragma once

#include "worker/engine/device/device_cpu_parts.h"

MUST_CHECK enum status device_cpu_step_prepare(struct device_cpu *cpu);
void device_cpu_step_deinit(struct device_cpu *cpu);
enum status device_cpu_step_begin(struct device *device, const struct device_step *step);
void device_cpu_step_run(struct device_cpu *cpu, int first, int end);
enum status device_cpu_step_attend(struct device *device, int layer, const struct device_keys *keys,
                                   int count);
enum status device_cpu_step_logits(struct device *device, int64_t row, int64_t count);
