/* --method and --stage-tokens as the options of a request. */
#pragma once

#include <stdint.h>

#include "proto/choice_message.h"
#include "proto/config.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/status.h"

/* A message with its storage; `options` points into the rest. */
struct method_option {
    Longhaul__V1__PlanOptions options;
    struct method_message method;
};

/* Settings at their defaults stay absent. `trained_tokens` is the model's, 0 where only the
 * coordinator knows it: then parameters that follow from it stay absent too, and a fraction of it
 * is INVALID_ARGUMENT. */
MUST_CHECK enum status method_option_set(struct method_option *option, const struct config *config,
                                         int64_t trained_tokens);
