/* The client of an errand that is told of its end alone: what a call with one answer is to it. */
#pragma once

#include "coordinator/errand_client.h"

struct rpc_call;

struct quiet_client {
    struct errand_client client; /* for the errand */
    struct errand_client caller;
};

/* Rows of a client that is told nothing: the event is dropped, there is always room, and it never
 * stalls. For others that end in their own way. */
MUST_CHECK enum status quiet_client_post(void *context, const ProtobufCMessage *event);
bool quiet_client_has_room(void *context, int64_t timeout_ms);
int64_t quiet_client_stalled_ms(void *context);

/* Lives where it is as long as the errand. */
void quiet_client_init(struct quiet_client *quiet, struct rpc_call *call);
