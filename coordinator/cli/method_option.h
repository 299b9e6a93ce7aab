/* --method, --stage-tokens and --draft as a request has them. */
#pragma once

#include <stdint.h>

#include "longhaul/v1/inference.pb-c.h"
#include "proto/config.h"
#include "proto/status.h"

/* A message with its storage; `options` points into the rest and to the configuration's texts. */
struct method_option {
    Longhaul__V1__PlanOptions options;
    Longhaul__V1__Method method;
};

/* Settings at their defaults stay absent: the coordinator's own count then. */
void method_option_set(struct method_option *option, const struct config *config);

Longhaul__V1__Draft method_option_draft(const struct config *config);

/* Whether a model trained on `trained_tokens` takes the method: before anything is started. */
MUST_CHECK enum status method_option_check(const struct config *config, int64_t trained_tokens);
