/* Owns nothing. Promises that what an errand tells on its way is dropped, and that its end, its
 * deadline and its notes are the call's. */
#include "coordinator/quiet_client.h"

#include "coordinator/rpc_errand_client.h"

enum status quiet_client_post(void *context, const ProtobufCMessage *event)
{
    (void)context;
    (void)event;
    return STATUS_OK;
}

bool quiet_client_has_room(void *context, int64_t timeout_ms)
{
    (void)context;
    (void)timeout_ms;
    return true;
}

int64_t quiet_client_stalled_ms(void *context)
{
    (void)context;
    return 0;
}

static bool left(void *context)
{
    return errand_client_left(context);
}

static void end(void *context)
{
    errand_client_end(context);
}

static void note(void *context, struct log_field field)
{
    errand_client_note(context, field);
}

void quiet_client_init(struct quiet_client *quiet, struct rpc_call *call)
{
    static const struct errand_client_row row = {
        .post = quiet_client_post,
        .has_room = quiet_client_has_room,
        .stalled_ms = quiet_client_stalled_ms,
        .left = left,
        .end = end,
        .note = note,
    };
    rpc_errand_client_init(&quiet->caller, call);
    quiet->client = quiet->caller;
    quiet->client.row = &row;
    quiet->client.context = &quiet->caller;
}
