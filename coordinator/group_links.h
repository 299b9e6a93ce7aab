/* What the ranks of a group measured between them. */
#pragma once

#include "longhaul/control/v1/control.pb-c.h"
#include "proto/plan/cost.h"

enum { GROUP_LINKS_MAX = 64 };

/* From the workers of one host to those of another, or to each other; a host is named by its first
 * worker. */
struct group_link {
    int from, to;
    struct cost_link link;
};

struct group_links {
    struct cost_link within, between;        /* the slowest; bytes_per_second 0: not known */
    int host_ranks;                          /* of the host that has most; 0: not known */
    struct group_link list[GROUP_LINKS_MAX]; /* [count] */
    int count;
};

/* Of a group of so many workers; what cannot be true is left out. */
void group_links_take(struct group_links *links, const Longhaul__Control__V1__Loaded *loaded,
                      int size);
