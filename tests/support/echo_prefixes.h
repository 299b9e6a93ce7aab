/* Which whole panels of prompts an echo worker holds, as a real one's index does (prefix_index.h),
 * but of any number of panels: found, added and let go in constant time.
 *
 * A panel is named by a hash of the tenant and of all ids up to its end. It has users, the runs
 * whose prompt it is part of; without any it is let go when there is room for no other: the one
 * whose last use is longest ago, ends of prompts before beginnings.
 */
#pragma once

#include <stdint.h>

#include "proto/status.h"

enum { ECHO_PREFIXES_PANEL = 64 };

struct echo_prefixes;

/* At most `room` panels; 0: as many as come. */
MUST_CHECK enum status echo_prefixes_create(struct echo_prefixes **prefixes, int64_t room);

/* NULL is accepted. */
void echo_prefixes_destroy(struct echo_prefixes *prefixes);

/* The names of the whole panels of ids [count]; names has room for count / ECHO_PREFIXES_PANEL.
 * Returns how many. */
int64_t echo_prefixes_name(uint64_t *names, const char *tenant, const int32_t *ids, int64_t count);

/* One user more of the panels that are held, from the first on; returns how many are. */
int64_t echo_prefixes_find(struct echo_prefixes *prefixes, const uint64_t *names, int64_t count);

/* Holds the panels from then on, with one user more of each; fewer where room is short and all of
 * it in use. *added: from the first on, how many are held now. */
MUST_CHECK enum status echo_prefixes_add(struct echo_prefixes *prefixes, int64_t *added,
                                         const uint64_t *names, int64_t count);

/* One user less of each. */
void echo_prefixes_leave(struct echo_prefixes *prefixes, const uint64_t *names, int64_t count);

int64_t echo_prefixes_count(const struct echo_prefixes *prefixes);
