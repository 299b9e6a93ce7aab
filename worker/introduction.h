/* What all ranks of a group agree on before they join: its name, and kernels that each can run. */
#pragma once

#include "proto/status.h"
#include "worker/engine/transport/transport.h"

enum { INTRODUCTION_NAME_BYTES = 128 };

struct introduction {
    char group_id[INTRODUCTION_NAME_BYTES];
    const char *kernels; /* the best variant that every rank runs */
};

/* Every rank calls it. */
MUST_CHECK enum status introduction_make(struct introduction *introduction,
                                         struct transport *transport);
