/* The CUDA device's stages with replicated queries, and decode: device.h says what each does. */
#pragma once

#include "worker/engine/device/device_cuda_parts.h"

MUST_CHECK enum status device_cuda_step_prepare(struct device_cuda *cuda);
void device_cuda_step_deinit(struct device_cuda *cuda);
enum status device_cuda_step_begin(struct device *device, const struct device_step *step);
MUST_CHECK enum status device_cuda_step_run(struct device_cuda *cuda, int first, int end);
MUST_CHECK enum status device_cuda_step_attend(struct device_cuda *cuda, int layer,
                                               const struct device_keys *keys, int count);
MUST_CHECK enum status device_cuda_step_logits(struct device_cuda *cuda, int64_t row);
