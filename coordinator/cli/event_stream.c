/* Owns one call. Promises that an interrupt is seen within a fifth of a second and that the call
 * has ended on return. */
#include "coordinator/cli/event_stream.h"

#include <stdlib.h>

#include "coordinator/cli/interrupt.h"
#include "proto/rpc/rpc_client.h"

enum { LOOK_UP_MS = 200 };

/* Nothing for LOOK_UP_MS is no failure of the call: its own end comes as a NULL message. */
static enum status next_event(struct rpc_stream *stream, const ProtobufCMessage **event)
{
    enum status status = STATUS_DEADLINE_EXCEEDED;
    while (status == STATUS_DEADLINE_EXCEEDED) {
        if (interrupt_count() > 0)
            return fail(STATUS_CANCELLED, "interrupted");
        status = rpc_stream_read(stream, event, LOOK_UP_MS);
    }
    return status;
}

enum status event_stream_run(struct rpc_client *client, const struct event_stream_args *args)
{
    const struct rpc_stream_args call = {.path = args->path, .response = args->response};
    struct rpc_stream *stream = NULL;
    TRY(rpc_stream_ask(&stream, client, &call, args->request));
    enum status status = STATUS_OK;
    const ProtobufCMessage *event = NULL;
    do {
        status = next_event(stream, &event);
        if (status == STATUS_OK && event)
            status = args->take(args->context, event);
    } while (status == STATUS_OK && event);
    if (status == STATUS_OK)
        status = rpc_stream_finish(stream);
    rpc_stream_close(stream);
    return status;
}

enum status event_stream_keep(ProtobufCMessage **copy, const ProtobufCMessage *message)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(bytes ? bytes : 1);
    if (packed) {
        protobuf_c_message_pack(message, packed);
        *copy = protobuf_c_message_unpack(message->descriptor, NULL, bytes, packed);
    }
    free(packed);
    if (!packed || !*copy)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to keep a reply");
    return STATUS_OK;
}
