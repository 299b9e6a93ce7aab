/* grpc.health.v1.Health. "" and the named service share one state; others are asked for theirs. */
#pragma once

#include <stdbool.h>

#include "proto/rpc/rpc_server.h"

struct health;

/* Starts as not serving. Borrows `service`. */
MUST_CHECK enum status health_create(struct health **health, const char *service);
void health_destroy(struct health *health);

/* Tells the watchers when it changed. */
void health_set(struct health *health, bool serving);

/* Whether a service serves now; from any thread. */
typedef bool health_serving(void *context);

enum { HEALTH_OTHERS_MAX = 4 };

/* Another service, before anybody calls; borrows `service` and `context`. */
void health_add(struct health *health, const char *service, health_serving *serving, void *context);

enum { HEALTH_CHECK, HEALTH_WATCH, HEALTH_METHODS };

/* The rows for a server's table. */
void health_methods(struct health *health, struct rpc_method methods[HEALTH_METHODS]);
