/* Owns nothing. Promises that a client which has gone is seen at the errand's next look. */
#include "coordinator/http/http_client.h"

#include <stdio.h>
#include <string.h>

#include "proto/clock.h"

bool http_client_left(const struct http_exchange *exchange)
{
    return atomic_load(&exchange->tools->ending) || http_connection_left(exchange->peer);
}

void http_client_name(struct http_exchange *exchange, const char *request_id)
{
    if (!exchange->request_id[0])
        snprintf(exchange->request_id, sizeof exchange->request_id, "%s", request_id);
}

static enum status post(void *context, const ProtobufCMessage *event)
{
    struct http_client *client = context;
    const Longhaul__V1__GenerateResponse *response = (const void *)event;
    http_client_name(client->exchange, response->request_id);
    return openai_answer_take(client->answer, response);
}

/* What is collected has room: it is no longer than the context. */
static bool has_room(void *context, int64_t timeout_ms)
{
    (void)context;
    (void)timeout_ms;
    return true;
}

static int64_t stalled_ms(void *context)
{
    (void)context;
    return 0;
}

static bool left(void *context)
{
    const struct http_client *client = context;
    return http_client_left(client->exchange);
}

static void end(void *context)
{
    (void)context; /* nothing has been sent yet: the failure is the answer */
}

static void note(void *context, struct log_field field)
{
    struct http_client *client = context;
    http_note(client->exchange, field);
}

struct errand_client http_client_errand(struct http_client *client)
{
    static const struct errand_client_row row = {
        .post = post,
        .has_room = has_room,
        .stalled_ms = stalled_ms,
        .left = left,
        .end = end,
        .note = note,
    };
    const char *traceparent = http_header(client->exchange, "traceparent");
    return (struct errand_client){
        .row = &row,
        .context = client,
        .details = &client->exchange->details,
        .deadline_ns = CLOCK_NEVER_NS,
        .tenant = client->exchange->caller.tenant.name,
        .traceparent = traceparent,
        .traceparent_bytes = traceparent ? strlen(traceparent) : 0,
    };
}
