/* How the ranks of a group come to one end where each may fail by itself. */
#pragma once

#include "proto/status.h"
#include "worker/engine/transport/transport.h"

/* Every rank calls it with how its own part went; `mine` is that of its last fail() where it is not
 * STATUS_OK. All get STATUS_OK, or the status of the first rank that failed, whose sentence names
 * it. */
MUST_CHECK enum status agreement_reach(struct transport *transport, enum status mine);
