/* Owns one serving state, and knows whom to ask for others. Promises that every watcher hears of
 * each state that lasts 100 ms. */
#include "proto/rpc/health.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "grpc/health/v1/health.pb-c.h"
#include "proto/clock.h"

enum { LOOK_MS = 100 };

struct other {
    const char *service;
    health_serving *serving;
    void *context;
};

struct health {
    const char *service;
    struct other others[HEALTH_OTHERS_MAX];
    int other_count;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool serving;
};

enum status health_create(struct health **health, const char *service)
{
    struct health *h = calloc(1, sizeof *h);
    if (!h)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the health service");
    h->service = service;
    pthread_mutex_init(&h->lock, NULL);
    pthread_cond_init(&h->changed, NULL);
    *health = h;
    return STATUS_OK;
}

void health_destroy(struct health *health)
{
    if (!health)
        return;
    pthread_cond_destroy(&health->changed);
    pthread_mutex_destroy(&health->lock);
    free(health);
}

void health_set(struct health *health, bool serving)
{
    pthread_mutex_lock(&health->lock);
    health->serving = serving;
    pthread_cond_broadcast(&health->changed);
    pthread_mutex_unlock(&health->lock);
}

void health_add(struct health *health, const char *service, health_serving *serving, void *context)
{
    assert(health->other_count < HEALTH_OTHERS_MAX);
    health->others[health->other_count++] = (struct other){service, serving, context};
}

/* NULL: none of the others. */
static const struct other *find_other(const struct health *health, const char *service)
{
    for (int i = 0; i < health->other_count; i++)
        if (strcmp(service, health->others[i].service) == 0)
            return &health->others[i];
    return NULL;
}

static bool known(const struct health *health, const char *service)
{
    return service[0] == 0 || strcmp(service, health->service) == 0 || find_other(health, service);
}

static bool is_serving(struct health *health, const struct other *other)
{
    if (other)
        return other->serving(other->context);
    pthread_mutex_lock(&health->lock);
    const bool serving = health->serving;
    pthread_mutex_unlock(&health->lock);
    return serving;
}

static enum status tell(struct rpc_call *call,
                        Grpc__Health__V1__HealthCheckResponse__ServingStatus state)
{
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = state;
    return rpc_call_write(call, &response.base);
}

static Grpc__Health__V1__HealthCheckResponse__ServingStatus state_of(bool serving)
{
    return serving ? GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING
                   : GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__NOT_SERVING;
}

static enum status check(struct rpc_call *call, const ProtobufCMessage *message, void *context)
{
    const Grpc__Health__V1__HealthCheckRequest *request = (const void *)message;
    struct health *health = context;
    if (!known(health, request->service))
        return fail(STATUS_NOT_FOUND, "no service %s", request->service);
    const bool serving = is_serving(health, find_other(health, request->service));
    Grpc__Health__V1__HealthCheckResponse response = GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__INIT;
    response.status = state_of(serving);
    return rpc_call_answer(call, &response.base);
}

/* The protocol asks for SERVICE_UNKNOWN, and that the call stays open. */
static enum status watch_unknown(struct rpc_call *call, struct health *health)
{
    TRY(tell(call, GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVICE_UNKNOWN));
    pthread_mutex_lock(&health->lock);
    while (!rpc_call_cancelled(call))
        (void)clock_wait(&health->changed, &health->lock, clock_after_ms(LOOK_MS));
    pthread_mutex_unlock(&health->lock);
    return fail(STATUS_CANCELLED, "the watcher left");
}

static enum status watch(struct rpc_call *call, const ProtobufCMessage *message, void *context)
{
    const Grpc__Health__V1__HealthCheckRequest *request = (const void *)message;
    struct health *health = context;
    if (!known(health, request->service))
        return watch_unknown(call, health);
    const struct other *other = find_other(health, request->service);
    bool told = false, last = false;
    while (!rpc_call_cancelled(call)) {
        pthread_mutex_lock(&health->lock);
        if (told && (other || health->serving == last))
            (void)clock_wait(&health->changed, &health->lock, clock_after_ms(LOOK_MS));
        pthread_mutex_unlock(&health->lock);
        const bool serving = is_serving(health, other);
        if (told && serving == last)
            continue;
        TRY(tell(call, state_of(serving)));
        told = true;
        last = serving;
    }
    return fail(STATUS_CANCELLED, "the watcher left");
}

void health_methods(struct health *health, struct rpc_method methods[HEALTH_METHODS])
{
    const struct rpc_method row = {
        .service = "grpc.health.v1.Health",
        .name = "Check",
        .request = &grpc__health__v1__health_check_request__descriptor,
        .request_bytes_max = RPC_SMALL_MESSAGE_BYTES_MAX,
        .handle = check,
        .context = health,
        .unguarded = true,
        .while_draining = true,
        .routine = true,
    };
    methods[HEALTH_CHECK] = row;
    methods[HEALTH_WATCH] = row;
    methods[HEALTH_WATCH].name = "Watch";
    methods[HEALTH_WATCH].handle = watch;
}
