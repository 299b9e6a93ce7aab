/* grpc.health.v1.Health. "" and the named service share one state. */
#pragma once

#include <stdbool.h>

#include "proto/rpc/rpc_server.h"

struct health;

/* Starts as not serving. Borrows `service`. */
MUST_CHECK enum status health_create(struct health **health, const char *service);
void health_destroy(struct health *health);

/* Tells the watchers when it changed. */
void health_set(struct health *health, bool serving);

enum { HEALTH_CHECK, HEALTH_WATCH, HEALTH_METHODS };

/* The rows for a server's table. */
void health_methods(struct health *health, struct rpc_method methods[HEALTH_METHODS]);
