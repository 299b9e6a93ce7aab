/* longhaul cancel: ends a request of a running coordinator, by its name. */
#include <stdio.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "longhaul/v1/inference.pb-c.h"

static const char program[] = "longhaul cancel";

enum { ASK_MS = 10000 };

static enum status cancel(const struct server_option *server, char *name)
{
    Longhaul__V1__CancelRequest request = LONGHAUL__V1__CANCEL_REQUEST__INIT;
    request.request_id = name;
    const struct rpc_stream_args call = {
        .path = "/longhaul.v1.Inference/Cancel",
        .response = &longhaul__v1__cancel_response__descriptor,
        .timeout_ms = server_option_timeout_ms(server, ASK_MS),
    };
    struct connection connection;
    ProtobufCMessage *reply = NULL;
    enum status status = connection_open(&connection, server, NULL);
    if (status == STATUS_OK)
        status = connection_ask(&connection, &reply, &call, &request.base);
    protobuf_c_message_free_unpacked(reply, NULL);
    return connection_end(&connection, status);
}

int cancel_command(int argc, char **argv)
{
    struct server_option server = {0};
    const struct flags_row rows[] = {
        SERVER_OPTION_ADDRESS(&server),
        server_option_timeout_row(&server),
    };
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul cancel --server 127.0.0.1:7711 r3\n",
        .summary =
            "Ends a request that waits or runs, whoever asked for it: its client hears that it\n"
            "was cancelled, and the worker group is free within a second. `longhaul status`\n"
            "shows the names. The exit code is 66 where no request has the name.\n",
        .arguments = "REQUEST",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int first = 0;
    int exit_code = flags_parse(&command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    if (server_option_require(&server) != STATUS_OK)
        return console_usage(program);
    enum status status = cancel(&server, argv[first]);
    if (status != STATUS_OK)
        return console_failure(program, status);
    printf("%s: told to end\n", argv[first]);
    return 0;
}
