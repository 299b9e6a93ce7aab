/* What all requests over HTTP share; borrowed from the server. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "coordinator/access/access.h"
#include "coordinator/batch/batch_tools.h"
#include "coordinator/errand.h"

enum { HTTP_MODEL_BYTES = 256 };

struct http_tools {
    struct access *access; /* NULL: there is one tenant, "" */
    struct errand_tools *errand;
    const struct batch_tools *batches;
    char model[HTTP_MODEL_BYTES]; /* the id that clients see */
    int64_t created_s;            /* when this server began, seconds since 1970 */
    bool local_only;              /* names of other hosts are refused as Host */
    atomic_bool ending;           /* requests that run end now */
    _Atomic int64_t bodies_bytes; /* of all bodies that are collected at the moment */
};
