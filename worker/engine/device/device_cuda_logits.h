/* What is read of the CUDA device's logits: device.h says what each does. */
#pragma once

#include "worker/engine/device/device_cuda_parts.h"

enum status device_cuda_read_logits(struct device *device, struct span outputs);
enum status device_cuda_logprob(struct device *device, float *logprob, int32_t id);
enum status device_cuda_survey(struct device *device, struct logits_survey *survey,
                               double temperature);
