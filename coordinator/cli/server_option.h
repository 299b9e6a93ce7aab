/* The options of commands that ask a coordinator: where it is, and how long the answer may take. */
#pragma once

#include <stdint.h>

#include "proto/flags.h"
#include "proto/status.h"

/* {0} before the options are read. */
struct server_option {
    const char *address;    /* NULL: not given */
    double timeout_seconds; /* 0: not given */
};

struct flags_row server_option_address_row(struct server_option *option);
struct flags_row server_option_timeout_row(struct server_option *option);

/* INVALID_ARGUMENT where the address is none. One that is not there passes. */
MUST_CHECK enum status server_option_check(const struct server_option *option);

/* INVALID_ARGUMENT also where there is none. */
MUST_CHECK enum status server_option_require(const struct server_option *option);

/* Milliseconds of the whole call; `standard_ms` where --timeout was not given. */
int64_t server_option_timeout_ms(const struct server_option *option, int64_t standard_ms);
