/* The options of commands that ask a coordinator: where it is, who asks, under which TLS, and how
 * long the answer may take. */
#pragma once

#include <stdint.h>

#include "proto/flags.h"
#include "proto/status.h"

/* {0} before the options are read. */
struct server_option {
    const char *address; /* NULL: not given, as the next four */
    const char *token_file, *tls_ca, *tls_cert, *tls_key;
    double timeout_seconds; /* 0: not given */
};

enum { SERVER_OPTION_ADDRESS_ROWS = 5 };

/* --server, --token-file, --tls-ca, --tls-cert and --tls-key, by their number. */
struct flags_row server_option_address_row(struct server_option *option, int number);
struct flags_row server_option_timeout_row(struct server_option *option);

/* The same five in a table's initialiser. */
#define SERVER_OPTION_ADDRESS(option)                                                              \
    server_option_address_row(option, 0), server_option_address_row(option, 1),                    \
        server_option_address_row(option, 2), server_option_address_row(option, 3),                \
        server_option_address_row(option, 4)

/* INVALID_ARGUMENT where the address is none, and for who asks without an address. */
MUST_CHECK enum status server_option_check(const struct server_option *option);

/* INVALID_ARGUMENT also where there is none. */
MUST_CHECK enum status server_option_require(const struct server_option *option);

/* Milliseconds of the whole call; `standard_ms` where --timeout was not given. */
int64_t server_option_timeout_ms(const struct server_option *option, int64_t standard_ms);
