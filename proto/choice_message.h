/* The choice between proto/plan's struct and control.proto's message. */
#pragma once

#include "longhaul/control/v1/control.pb-c.h"
#include "proto/plan/choice.h"
#include "proto/status.h"

/* A choice message with its storage: `message` points into the rest, and its kernels are a view of
 * the choice's. */
struct choice_message {
    Longhaul__Control__V1__Choice message;
    char method[METHOD_TEXT_BYTES];
};

void choice_message_set(struct choice_message *message, const struct choice *choice);

/* Refuses what choice_check refuses, and values that the struct has no name for. */
MUST_CHECK enum status choice_message_get(struct choice *choice,
                                          const Longhaul__Control__V1__Choice *message);
