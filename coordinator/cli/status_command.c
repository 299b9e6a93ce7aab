/* longhaul status: what a running coordinator knows of its workers and requests. */
#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/status_table.h"

static const char program[] = "longhaul status";

enum { ASK_MS = 10000 };

static enum status show(const struct server_option *server, bool json)
{
    const Longhaul__V1__GetClusterRequest request = LONGHAUL__V1__GET_CLUSTER_REQUEST__INIT;
    const struct rpc_stream_args call = {
        .path = "/longhaul.v1.Inference/GetCluster",
        .response = &longhaul__v1__get_cluster_response__descriptor,
        .timeout_ms = server_option_timeout_ms(server, ASK_MS),
    };
    struct connection connection;
    ProtobufCMessage *reply = NULL;
    enum status status = connection_open(&connection, server, NULL);
    if (status == STATUS_OK)
        status = connection_ask(&connection, &reply, &call, &request.base);
    if (status == STATUS_OK && json)
        status_table_print_json((const Longhaul__V1__GetClusterResponse *)reply);
    else if (status == STATUS_OK)
        status_table_print((const Longhaul__V1__GetClusterResponse *)reply);
    protobuf_c_message_free_unpacked(reply, NULL);
    return connection_end(&connection, status);
}

int status_command(int argc, char **argv)
{
    bool json = false;
    struct server_option server = {0};
    const struct flags_row rows[] = {
        SERVER_OPTION_ADDRESS(&server),
        server_option_timeout_row(&server),
        {.name = "json", .type = FLAGS_SWITCH, .target = &json, .help = "one JSON object"},
    };
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul status --server 127.0.0.1:7711\n",
        .summary =
            "Shows a running coordinator: its model, its worker groups and their ranks, and the\n"
            "requests that wait or run, by the names that `longhaul cancel` takes.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    if (server_option_require(&server) != STATUS_OK)
        return console_usage(program);
    enum status status = show(&server, json);
    return status == STATUS_OK ? 0 : console_failure(program, status);
}
