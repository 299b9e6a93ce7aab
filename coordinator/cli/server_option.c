/* Owns the rows of --server and --timeout. Promises that a wrong address is told before anything is
 * asked. */
#include "coordinator/cli/server_option.h"

#include "proto/host_port.h"

struct flags_row server_option_address_row(struct server_option *option)
{
    return (struct flags_row){.name = "server",
                              .letter = 's',
                              .type = FLAGS_TEXT,
                              .target = &option->address,
                              .value = "HOST:PORT",
                              .help = "the coordinator to ask"};
}

struct flags_row server_option_timeout_row(struct server_option *option)
{
    return (struct flags_row){.name = "timeout",
                              .type = FLAGS_REAL,
                              .target = &option->timeout_seconds,
                              .value = "SECONDS",
                              .help = "longest that the request may take, waiting included",
                              .least = 0.001,
                              .most = 30 * 86400.0};
}

enum status server_option_check(const struct server_option *option)
{
    if (option->address && host_port_check(option->address, 1) != STATUS_OK)
        return fail(STATUS_INVALID_ARGUMENT, "--server: %s", status_message());
    return STATUS_OK;
}

enum status server_option_require(const struct server_option *option)
{
    if (!option->address)
        return fail(STATUS_INVALID_ARGUMENT, "--server HOST:PORT is missing");
    return server_option_check(option);
}

int64_t server_option_timeout_ms(const struct server_option *option, int64_t standard_ms)
{
    return option->timeout_seconds > 0 ? (int64_t)(1000 * option->timeout_seconds + 0.5)
                                       : standard_ms;
}
