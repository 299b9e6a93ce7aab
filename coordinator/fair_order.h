/* Who is next for a worker group, and who may wait at all: a structure without clock, lock or I/O.
 *
 * Tenants share by tokens: each start adds the request's tokens, divided by the tenant's weight, to
 * what the tenant has had, and the tenant that has had least is next (start-time fair queueing,
 * Goyal, Vin and Cheng 1996; over time the shares are those of deficit round robin). Whoever comes
 * back after a pause begins with what the others have had: nothing is saved up.
 *
 * Of one tenant's requests the higher priority is first. Of equal ones each stands as if it had
 * come later by the time that its tokens take: a short one passes a long one that came shortly
 * before it, and nobody who comes after that time passes the long one.
 *
 * A request that found no room in the groups' memory may be passed by others that find room, as
 * long as their tokens together are not more than its own. While it makes room for itself, anybody
 * may pass it, and they count with those. Of several places the last free one is
 * kept for tenants that have less than their share of them, while there are such.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/access/access.h"
#include "proto/status.h"

struct fair_order;
struct fair_tenant;

/* What a request asks for; the tenant's facts are copied. */
struct fair_request {
    const struct access_tenant *tenant;
    int priority;        /* among the tenant's own; higher first */
    int64_t tokens;      /* its prompt and its longest answer; at least 1 */
    int64_t deadline_ns; /* INT64_MAX: none */
};

/* One request's entry; the caller owns it from fair_order_enter to fair_order_leave. */
struct fair_ticket {
    struct fair_tenant *tenant;
    struct fair_ticket *next; /* of the tenant's waiting ones */
    int priority;
    int64_t tokens, stands_ns, passed_tokens;
    int64_t place; /* among all that wait, as it was found last; -1: not yet its tenant's turn */
    bool started, blocked, aside;
};

enum fair_answer {
    FAIR_ENTERED,
    FAIR_QUEUE_FULL,     /* as many wait as may, of all or of this tenant's part */
    FAIR_REQUESTS_QUOTA, /* as many of the tenant's wait as may */
    FAIR_TOKENS_QUOTA,   /* its tokens would be more than may wait */
    FAIR_TOO_LATE, /* at the fastest pace that was ever seen it would wait past its deadline */
};

MUST_CHECK enum status fair_order_create(struct fair_order **order, int64_t waiting_max);
void fair_order_destroy(struct fair_order *order);

/* How many requests the groups answer at a time, all together. */
void fair_order_set_places(struct fair_order *order, int places);

/* Whether a request of the tenant's might wait now, whatever its tokens. */
enum fair_answer fair_order_check(const struct fair_order *order,
                                  const struct access_tenant *tenant);

/* Lets a request wait. Where it may not, `retry_ms` is when half of those that are in its way will
 * have begun, by the pace of late; 0 where asking again does not help. */
MUST_CHECK enum status fair_order_enter(struct fair_order *order, struct fair_ticket *ticket,
                                        enum fair_answer *answer,
                                        const struct fair_request *request, int64_t now_ns);

/* When a client that was answered so should ask again. */
int64_t fair_order_retry_ms(const struct fair_order *order, enum fair_answer answer,
                            const struct access_tenant *tenant);

/* Whether it is its turn to look for room. */
bool fair_order_may_try(struct fair_order *order, const struct fair_ticket *ticket, int64_t now_ns);

/* It looked, and there was a place but no memory. */
void fair_order_block(struct fair_order *order, struct fair_ticket *ticket);

/* It makes room for itself, which takes a while: whoever comes after it may look in its place. */
void fair_order_step_aside(struct fair_order *order, struct fair_ticket *ticket, bool aside);

/* Room may have come: everybody may look again. */
void fair_order_unblock(struct fair_order *order);

/* It waits no more but runs. */
void fair_order_start(struct fair_order *order, struct fair_ticket *ticket, int64_t now_ns);

/* It is over, waiting or running. `used` tokens were read and written for it: what it took less
 * than it asked for is given back to the tenant. */
void fair_order_leave(struct fair_order *order, struct fair_ticket *ticket, int64_t used,
                      int64_t now_ns);

/* Requests before this one, those that run included. */
int64_t fair_order_ahead(struct fair_order *order, const struct fair_ticket *ticket);

int64_t fair_order_waiting(const struct fair_order *order);
int64_t fair_order_running(const struct fair_order *order);
