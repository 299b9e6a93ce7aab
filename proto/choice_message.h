/* The choice and the method between proto/plan's structs and the messages of inference.proto. */
#pragma once

#include "longhaul/v1/inference.pb-c.h"
#include "proto/plan/choice.h"
#include "proto/status.h"

/* A method message with its storage; `message` points into the rest. */
struct method_message {
    Longhaul__V1__Method message;
    Longhaul__V1__RopeMethod rope;
    Longhaul__V1__StringMethod string;
    Longhaul__V1__LmInfiniteMethod lm_infinite;
};

/* A choice message with its storage: `message` points into the rest, and its kernels are a view of
 * the choice's. */
struct choice_message {
    Longhaul__V1__Choice message;
    struct method_message method;
};

void method_message_set(struct method_message *message, const struct method *method);
void choice_message_set(struct choice_message *message, const struct choice *choice);

/* Absent parameters take the defaults for a model trained on `trained_tokens`; NULL is rope. */
MUST_CHECK enum status method_message_get(struct method *method,
                                          const Longhaul__V1__Method *message,
                                          int64_t trained_tokens);

/* Refuses what choice_check refuses, and values that the struct has no name for. */
MUST_CHECK enum status choice_message_get(struct choice *choice,
                                          const Longhaul__V1__Choice *message);
