/* Owns a client, or a coordinator with its client. Promises that nothing of either outlives
 * connection_end. */
#include "coordinator/cli/connection.h"

#include "coordinator/cli/event_stream.h"

enum status connection_open(struct connection *connection, const struct server_option *option,
                            const struct private_coordinator_args *own)
{
    *connection = (struct connection){.address = option->address};
    if (connection->address)
        return rpc_client_create(&connection->client, connection->address);
    TRY(private_coordinator_start(&connection->own, own));
    connection->client = private_coordinator_client(connection->own);
    return STATUS_OK;
}

enum status connection_end(struct connection *connection, enum status status)
{
    if (connection->address && status == STATUS_UNAVAILABLE)
        status = fail(status, "%s: %s", connection->address, status_message());
    if (connection->address)
        rpc_client_destroy(connection->client);
    private_coordinator_stop(connection->own,
                             status == STATUS_UNAVAILABLE || status == STATUS_INTERNAL);
    return status;
}

enum status connection_ask(struct connection *connection, ProtobufCMessage **reply,
                           const struct rpc_stream_args *call, const ProtobufCMessage *request)
{
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *message = NULL;
    TRY(event_stream_check_size(request));
    TRY(rpc_client_call(connection->client, &stream, &message, call, request));
    enum status status = event_stream_keep(reply, message);
    rpc_stream_close(stream);
    return status;
}
