/* The contract of transport.h as cases that run on every implementation, with any number of
 * ranks. */
#pragma once

#include "tests/support/ranks.h"

#include <stddef.h>

struct transport_case {
    const char *name;
    ranks_function *function;
    bool ends_group; /* leaves the transport aborted */
    int least_ranks;
};

extern const struct transport_case transport_contract_cases[];
extern const size_t transport_contract_count;

/* What the cases expect of their transport. */
struct transport_options transport_contract_options(void);
