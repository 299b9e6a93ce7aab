/* Brings a sequence's keys and values together on rank 0, where the prompt has been passed and an
 * answer goes on: from then on a token takes no exchange. */
#pragma once

#include "proto/plan/cost.h"
#include "proto/plan/partition.h"
#include "proto/status.h"
#include "worker/engine/cache/panel_table.h"
#include "worker/engine/device/device.h"
#include "worker/engine/transport/transport.h"

/* All is borrowed. */
struct home {
    struct transport *transport;
    struct device *device; /* whose memory is the host's */
    const struct ownership *ownership;
    struct panel_table *panels;
    struct span keys; /* that the answer sees: from cost_home_keys */
};

/* All ranks call it. Rank 0's table then has every panel of the keys, the others' what they had. */
MUST_CHECK enum status home_fetch(const struct home *home);
