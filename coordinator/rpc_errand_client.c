/* Owns nothing: the call is its handler's. Promises that an errand's client is the call, no more
 * and no less. */
#include "coordinator/rpc_errand_client.h"

_Static_assert((int)ERRAND_CLIENT_TAKES_MS == (int)RPC_WRITE_DEADLINE_MS,
               "an errand's client has as long as any other call");

static enum status post(void *call, const ProtobufCMessage *event)
{
    return rpc_call_post(call, event);
}

static bool has_room(void *call, int64_t timeout_ms)
{
    return rpc_call_has_room(call, timeout_ms);
}

static int64_t stalled_ms(void *call)
{
    return rpc_call_stalled_ms(call);
}

static bool left(void *call)
{
    return rpc_call_cancelled(call);
}

static void end(void *call)
{
    rpc_call_cancel(call);
}

static void note(void *call, struct log_field field)
{
    rpc_call_note(call, field);
}

void rpc_errand_client_init(struct errand_client *client, struct rpc_call *call)
{
    static const struct errand_client_row row = {
        .post = post,
        .has_room = has_room,
        .stalled_ms = stalled_ms,
        .left = left,
        .end = end,
        .note = note,
    };
    *client = (struct errand_client){
        .row = &row,
        .context = call,
        .details = rpc_call_details(call),
        .deadline_ns = rpc_call_deadline_ns(call),
        .tenant = rpc_call_caller(call)->tenant,
    };
    client->traceparent = rpc_call_metadata(call, "traceparent", &client->traceparent_bytes);
}
