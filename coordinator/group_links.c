/* Owns nothing. Promises links that a planner can divide by. */
#include "coordinator/group_links.h"

#include <math.h>
#include <stdbool.h>

static const double SECONDS_MOST = 3600;

static bool is_true(const Longhaul__Control__V1__LinkRate *rate, int size)
{
    return rate->from_rank >= 0 && rate->from_rank < size && rate->to_rank >= 0 &&
           rate->to_rank < size && isfinite(rate->bytes_per_second) &&
           rate->bytes_per_second >= 1 && rate->latency_seconds >= 0 &&
           rate->latency_seconds <= SECONDS_MOST && rate->message_seconds >= 0 &&
           rate->message_seconds <= SECONDS_MOST;
}

static void note_slowest(struct cost_link *slowest, const struct cost_link *link)
{
    if (slowest->bytes_per_second == 0 || link->bytes_per_second < slowest->bytes_per_second)
        slowest->bytes_per_second = link->bytes_per_second;
    slowest->latency_s = fmax(slowest->latency_s, link->latency_s);
    slowest->message_s = fmax(slowest->message_s, link->message_s);
}

void group_links_take(struct group_links *links, const Longhaul__Control__V1__Loaded *loaded,
                      int size)
{
    *links = (struct group_links){.count = 0};
    if (loaded->host_ranks > 0 && loaded->host_ranks <= size)
        links->host_ranks = loaded->host_ranks;
    for (size_t l = 0; l < loaded->n_links && links->count < GROUP_LINKS_MAX; l++) {
        const Longhaul__Control__V1__LinkRate *rate = loaded->links[l];
        if (!is_true(rate, size))
            continue;
        struct group_link *link = &links->list[links->count++];
        *link = (struct group_link){
            .from = rate->from_rank,
            .to = rate->to_rank,
            .link = {rate->bytes_per_second, rate->latency_seconds, rate->message_seconds},
        };
        note_slowest(link->from == link->to ? &links->within : &links->between, &link->link);
    }
}
