/* The client of an errand that is told of its end alone: what a call with one answer is to it. */
#pragma once

#include "coordinator/errand_client.h"

struct rpc_call;

struct quiet_client {
    struct errand_client client; /* for the errand */
    struct errand_client caller;
};

/* Lives where it is as long as the errand. */
void quiet_client_init(struct quiet_client *quiet, struct rpc_call *call);
