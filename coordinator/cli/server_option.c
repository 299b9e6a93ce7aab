/* Owns the rows of --server and what goes with it. Promises that a wrong address is told before
 * anything is asked. */
#include "coordinator/cli/server_option.h"

#include "proto/host_port.h"

struct flags_row server_option_address_row(struct server_option *option, int number)
{
    const struct flags_row rows[SERVER_OPTION_ADDRESS_ROWS] = {
        {.name = "server",
         .letter = 's',
         .type = FLAGS_TEXT,
         .target = &option->address,
         .value = "HOST:PORT",
         .help = "the coordinator to ask"},
        {.name = "token-file",
         .type = FLAGS_TEXT,
         .target = &option->token_file,
         .value = "FILE",
         .help = "the token that tells who asks, in a file that only you can read"},
        {.name = "tls-ca",
         .type = FLAGS_TEXT,
         .target = &option->tls_ca,
         .value = "FILE",
         .help = "ask under TLS: who signs the coordinator's certificate, in PEM"},
        {.name = "tls-cert",
         .type = FLAGS_TEXT,
         .target = &option->tls_cert,
         .value = "FILE",
         .help = "a certificate of your own, in PEM, where the coordinator asks for one"},
        {.name = "tls-key",
         .type = FLAGS_TEXT,
         .target = &option->tls_key,
         .value = "FILE",
         .help = "its private key"},
    };
    return rows[number];
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
    if (!option->address &&
        (option->token_file || option->tls_ca || option->tls_cert || option->tls_key))
        return fail(STATUS_INVALID_ARGUMENT, "--token-file and --tls-... go with --server");
    if (option->tls_cert && !option->tls_ca)
        return fail(STATUS_INVALID_ARGUMENT, "--tls-cert goes with --tls-ca");
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
