/* longhaul drain: ends a running coordinator once what runs there is done. */
#include <inttypes.h>
#include <stdio.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "longhaul/v1/inference.pb-c.h"

static const char program[] = "longhaul drain";

enum { ASK_MS = 10000 };

static enum status drain(const struct server_option *server)
{
    const Longhaul__V1__DrainRequest request = LONGHAUL__V1__DRAIN_REQUEST__INIT;
    const struct rpc_stream_args call = {
        .path = "/longhaul.v1.Inference/Drain",
        .response = &longhaul__v1__drain_response__descriptor,
        .timeout_ms = server_option_timeout_ms(server, ASK_MS),
    };
    struct connection connection;
    ProtobufCMessage *reply = NULL;
    enum status status = connection_open(&connection, server, NULL);
    if (status == STATUS_OK)
        status = connection_ask(&connection, &reply, &call, &request.base);
    if (status == STATUS_OK)
        printf("draining: %" PRId64 " requests run on\n",
               ((const Longhaul__V1__DrainResponse *)reply)->running_requests);
    protobuf_c_message_free_unpacked(reply, NULL);
    return connection_end(&connection, status);
}

int drain_command(int argc, char **argv)
{
    struct server_option server = {0};
    const struct flags_row rows[] = {
        SERVER_OPTION_ADDRESS(&server),
        server_option_timeout_row(&server),
    };
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul drain --server 127.0.0.1:7711\n",
        .summary =
            "Ends a running coordinator as SIGTERM does: it refuses new and waiting requests,\n"
            "lets running ones finish, and goes. Where it knows tenants the token must have\n"
            "the scope admin.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    if (server_option_require(&server) != STATUS_OK)
        return console_usage(program);
    enum status status = drain(&server);
    return status == STATUS_OK ? 0 : console_failure(program, status);
}
