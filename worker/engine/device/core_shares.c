/* Owns the arithmetic of sharing. Promises that no core is two ranks' own, and that a core which
 * another group holds is nobody's own. */
#include "worker/engine/device/core_shares.h"

#include <assert.h>

/* The ranks that may use just the same cores, and what they share. */
struct kin {
    const struct core_request *requests;
    int ranks;
    const cpu_set_t *cores;
    int count;
    int free[CORE_ORDER_MOST]; /* cores that are nobody's yet, in the machine's order */
    int free_count;
};

static int share_begin(int cores, int number, int count)
{
    return (int)((long)cores * number / count);
}

static bool is_kin(const struct kin *kin, int rank)
{
    return CPU_EQUAL(&kin->requests[rank].cores, kin->cores);
}

static struct kin find_kin(const struct core_request *requests, int ranks, int first,
                           const struct core_order *order, const cpu_set_t *taken)
{
    struct kin kin = {.requests = requests, .ranks = ranks, .cores = &requests[first].cores};
    for (int rank = 0; rank < ranks; rank++)
        kin.count += is_kin(&kin, rank);
    for (int c = 0; c < order->count; c++) {
        const int core = order->cores[c].core;
        if (CPU_ISSET(core, kin.cores) && !CPU_ISSET(core, taken))
            kin.free[kin.free_count++] = core;
    }
    return kin;
}

static bool all_have_enough(const struct kin *kin)
{
    int number = 0;
    for (int rank = 0; rank < kin->ranks; rank++) {
        if (!is_kin(kin, rank))
            continue;
        const int wanted = kin->requests[rank].threads > 0 ? kin->requests[rank].threads : 1;
        const int cores = share_begin(kin->free_count, number + 1, kin->count) -
                          share_begin(kin->free_count, number, kin->count);
        if (cores < wanted)
            return false;
        number++;
    }
    return true;
}

static void give_own(struct core_share *share, const struct kin *kin, int first)
{
    share->own = true;
    CPU_ZERO(&share->cores);
    for (int t = 0; t < share->threads; t++)
        CPU_SET(kin->free[first + t], &share->cores);
    share->held = share->cores;
}

/* What is free is marked as in use, so that others who come see how it stands. */
static void give_shared(struct core_share *share, const struct kin *kin, int *next)
{
    share->own = false;
    share->cores = *kin->cores;
    CPU_ZERO(&share->held);
    for (int t = 0; t < share->threads && *next < kin->free_count; t++)
        CPU_SET(kin->free[(*next)++], &share->held);
}

static void share_out(struct core_share *shares, const struct kin *kin, const cpu_set_t *foreign)
{
    const bool own = all_have_enough(kin);
    cpu_set_t held_elsewhere;
    int number = 0, next = 0;
    CPU_AND(&held_elsewhere, kin->cores, foreign);
    for (int rank = 0; rank < kin->ranks; rank++) {
        if (!is_kin(kin, rank))
            continue;
        struct core_share *share = &shares[rank];
        const int asked = kin->requests[rank].threads;
        const int first = share_begin(kin->free_count, number, kin->count);
        share->allowed_cores = CPU_COUNT(kin->cores);
        share->foreign_cores = CPU_COUNT(&held_elsewhere);
        share->fair_cores = share_begin(kin->free_count, number + 1, kin->count) - first;
        const int part = own ? share->fair_cores
                             : share_begin(share->allowed_cores, number + 1, kin->count) -
                                   share_begin(share->allowed_cores, number, kin->count);
        share->threads = asked > 0 ? asked : part > 0 ? part : 1;
        if (own)
            give_own(share, kin, first);
        else
            give_shared(share, kin, &next);
        number++;
    }
}

/* The rank without a share yet that may use the fewest cores; -1: none. */
static int narrowest(const struct core_share *shares, const struct core_request *requests,
                     int ranks)
{
    int found = -1;
    for (int rank = 0; rank < ranks; rank++)
        if (shares[rank].threads == 0 &&
            (found < 0 || CPU_COUNT(&requests[rank].cores) < CPU_COUNT(&requests[found].cores)))
            found = rank;
    return found;
}

void core_shares_make(struct core_share *shares, const struct core_request *requests, int ranks,
                      const struct core_order *order, const cpu_set_t *foreign)
{
    cpu_set_t taken = *foreign;
    for (int rank = 0; rank < ranks; rank++) {
        assert(CPU_COUNT(&requests[rank].cores) > 0);
        shares[rank].threads = 0;
    }
    for (int first; (first = narrowest(shares, requests, ranks)) >= 0;) {
        const struct kin kin = find_kin(requests, ranks, first, order, &taken);
        share_out(shares, &kin, foreign);
        for (int rank = 0; rank < ranks; rank++)
            if (is_kin(&kin, rank))
                CPU_OR(&taken, &taken, &shares[rank].held);
    }
}
