/* What a failed call tells beside its code and sentence: google.rpc.Status with ErrorInfo,
 * RetryInfo and BadRequest, packed for the trailer grpc-status-details-bin. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include <grpc/slice.h>

#include "proto/status.h"

#define STATUS_DETAILS_KEY "grpc-status-details-bin"

enum { STATUS_DETAILS_FACTS_MAX = 4, STATUS_DETAILS_TEXT_BYTES = 96 };

struct status_fact {
    const char *key; /* a literal */
    char value[STATUS_DETAILS_TEXT_BYTES];
};

/* All zero says nothing. */
struct status_details {
    const char *reason; /* ErrorInfo: a literal in UPPER_SNAKE_CASE */
    struct status_fact facts[STATUS_DETAILS_FACTS_MAX];
    int fact_count;
    const char *field; /* BadRequest: a literal, "sampling.temperature" */
    int64_t retry_ms;  /* RetryInfo: 0 is none */
};

/* What a client reads of it. */
struct status_advice {
    char reason[STATUS_DETAILS_TEXT_BYTES]; /* "" where the server tells none */
    int64_t retry_ms;                       /* 0: it does not say that asking again helps */
};

/* Bytes that are no details say nothing. */
void status_details_read(struct status_advice *advice, const uint8_t *bytes, size_t size);

/* Adds a fact while there is room. */
__attribute__((format(printf, 3, 4))) void
status_details_fact(struct status_details *details, const char *key, const char *format, ...);

/* False when there is nothing to tell; otherwise the caller unrefs `*slice`. */
bool status_details_pack(const struct status_details *details, grpc_slice *slice, int code,
                         const char *message);
