/* A coordinator with its workers for one command: started beside the command, ended with it. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "proto/config.h"
#include "proto/status.h"

struct private_coordinator;
struct rpc_client;

struct private_coordinator_args {
    const struct config *config; /* what it is started with */
    int64_t context_tokens;      /* planned for where the config leaves it open; 0: the model's */
    const char *store;           /* a folder for batches, which many requests at a time follow from;
                                    NULL: it keeps none */
    bool many;                   /* without one too, it answers many requests at a time */
};

/* Starts longhaul-coordinator on a free port of this host, which launches the workers, and returns
 * once a worker group is ready. Its own failure comes out in its own words; CANCELLED after an
 * interrupt. Starts no thread before the process is there, so call it before any rpc client is
 * made. */
MUST_CHECK enum status private_coordinator_start(struct private_coordinator **coordinator,
                                                 const struct private_coordinator_args *args);

/* A client of it, borrowed. */
struct rpc_client *private_coordinator_client(const struct private_coordinator *coordinator);

/* Asks it to let what runs come to its end, and to end then; goes on. NULL is accepted. */
void private_coordinator_drain(const struct private_coordinator *coordinator);

/* Asks it to end, waits, kills what is left, its workers included. `failed`: then tells, on
 * standard error, what it and its workers wrote last. Accepts NULL. */
void private_coordinator_stop(struct private_coordinator *coordinator, bool failed);
