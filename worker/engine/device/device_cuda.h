/* Makes the CUDA device: one rank's layers on a GPU. */
#pragma once

#include "proto/model/model.h"
#include "worker/engine/device/cuda_runtime.h"
#include "worker/engine/device/device.h"

/* `streams` is borrowed for the device's life; `model` may be closed afterwards. RESOURCE_EXHAUSTED
 * where the weights do not fit. */
MUST_CHECK enum status device_cuda_create(struct device **device, const struct model *model,
                                          const struct cuda_streams *streams);
