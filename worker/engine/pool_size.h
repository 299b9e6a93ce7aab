/* How large the pools of a group are, where nobody has said it. */
#pragma once

#include "proto/plan/choice.h"
#include "proto/status.h"
#include "worker/engine/device/device.h"
#include "worker/engine/transport/transport.h"

/* What a rank may take of memory, its weights counted: what was asked for, or the device's own
 * limit, or its share of what the host has free. Of what was asked for, `elsewhere_bytes` of its
 * weights take nothing: others that map the same copy count for them. */
int64_t pool_size_limit(const struct device *device, const struct transport *transport,
                        int64_t asked_bytes, int64_t elsewhere_bytes);

/* Sets pool_slots: every rank takes as many as the one that has room for fewest, within its own
 * limit. All ranks call it. */
MUST_CHECK enum status pool_size_agree(struct group_choice *group, const struct device *device,
                                       struct transport *transport, int64_t limit_bytes);
