/* The CUDA device's stages with replicated queries, and decode: device.h says what each does. */
#pragma once

#include "worker/engine/device/device_cuda_parts.h"

MUST_CHECK enum status device_cuda_step_prepare(struct device_cuda *cuda);
void device_cuda_step_deinit(struct device_cuda *cuda);
enum status device_cuda_step_begin(struct device *device, const struct device_step *step);
MUST_CHECK enum status device_cuda_step_run(struct device_cuda *cuda, int first, int end);
enum status device_cuda_step_attend(struct device *device, int layer,
                                    const struct device_keys *keys, int count);
enum status device_cuda_step_logits(struct device *device, int64_t row);
