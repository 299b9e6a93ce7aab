/* A client's method message as proto/plan's struct. */
#pragma once

#include <stdbool.h>

#include "longhaul/v1/inference.pb-c.h"
#include "proto/plan/method.h"
#include "proto/status.h"

/* Whether it names a method; NULL does not. */
bool method_message_is_given(const Longhaul__V1__Method *message);

/* Of a message that names one. Absent parameters take the defaults for a model trained on
 * `trained_tokens`. INVALID_ARGUMENT for two methods at once and for what method_parse refuses. */
MUST_CHECK enum status method_message_read(struct method *method,
                                           const Longhaul__V1__Method *message,
                                           int64_t trained_tokens);
