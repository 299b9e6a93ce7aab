/* The CUDA device's stages with sharded queries: device.h says what each does. */
#pragma once

#include "worker/engine/device/device_cuda_parts.h"

enum status device_cuda_begin(struct device *device, const struct device_stage *stage);
MUST_CHECK enum status device_cuda_stage_run(struct device_cuda *cuda, int first, int end,
                                             const struct device_drive *drive);
MUST_CHECK enum status device_cuda_stage_attend(struct device_cuda *cuda, int layer,
                                                const struct device_keys *keys, int count,
                                                const struct device_drive *drive);
enum status device_cuda_score(struct device *device, float *logprobs, int64_t tokens,
                              const struct device_drive *drive);
MUST_CHECK enum status device_cuda_stage_logits(struct device_cuda *cuda, int64_t row);
