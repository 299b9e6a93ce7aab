/* Owns a client, or a coordinator with its client. Promises that nothing of either outlives
 * connection_end. */
#include "coordinator/cli/connection.h"

#include <stdio.h>
#include <string.h>

#include "coordinator/access/tls_files.h"
#include "coordinator/cli/event_stream.h"
#include "proto/secret_file.h"

enum { TOKEN_BYTES = SECRET_ROOM + 8 }; /* "Bearer " before it */

static const char *named(const char *file)
{
    return file ? file : "";
}

/* "Bearer TOKEN". */
static enum status read_token(char said[TOKEN_BYTES], const char *file)
{
    static const struct secret_kind kind = {"token", "--token-file"};
    char secret[SECRET_ROOM];
    TRY(secret_file_read(secret, file, &kind));
    snprintf(said, TOKEN_BYTES, "Bearer %s", secret);
    explicit_bzero(secret, sizeof secret);
    return STATUS_OK;
}

static enum status open_running(struct connection *connection, const struct server_option *option)
{
    char said[TOKEN_BYTES] = "";
    struct tls_files files;
    enum status status = STATUS_OK;
    TRY_ELSE(tls_files_read(&files, named(option->tls_cert), named(option->tls_key),
                            named(option->tls_ca)),
             free_files);
    if (option->token_file)
        TRY_ELSE(read_token(said, option->token_file), free_files);
    const struct rpc_tls tls = tls_files_tls(&files);
    const struct rpc_client_args args = {
        .target = option->address,
        .tls = tls.authority ? &tls : NULL,
        .authorization = said[0] ? said : NULL,
    };
    status = rpc_client_create_as(&connection->client, &args);
free_files:
    explicit_bzero(said, sizeof said);
    tls_files_free(&files);
    return status;
}

enum status connection_open(struct connection *connection, const struct server_option *option,
                            const struct private_coordinator_args *own)
{
    *connection = (struct connection){.address = option->address};
    if (connection->address)
        return open_running(connection, option);
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
