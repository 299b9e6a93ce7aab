/* Owns nothing. Promises that all ranks come to the same name and the same kernels. */
#include "worker/introduction.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "kernels/kernels.h"

enum { HOST_BYTES = 64 };

/* What one rank says to the others. */
struct word {
    char group_id[INTRODUCTION_NAME_BYTES]; /* rank 0's counts */
    int32_t best_kernels;                   /* index of kernels_at */
};

static int best_kernels_index(void)
{
    int index = 0;
    while (kernels_at(index) && kernels_at(index) != kernels_best())
        index++;
    return index;
}

/* The best variant that every rank runs is the slowest one's best: a faster CPU runs all the slower
 * ones'. */
enum status introduction_make(struct introduction *introduction, struct transport *transport)
{
    enum status status = STATUS_OK;
    struct word *all = calloc((size_t)transport->size, sizeof *all);
    if (!all)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to join a group of %d", transport->size);
    struct word *mine = &all[transport->rank];
    char host[HOST_BYTES] = "";
    gethostname(host, sizeof host - 1);
    snprintf(mine->group_id, sizeof mine->group_id, "%s-%d-%lld", host, (int)getpid(),
             (long long)time(NULL));
    mine->best_kernels = best_kernels_index();
    TRY_ELSE(transport_gather_each(transport, mine, all, sizeof *all), end);
    int best = all[0].best_kernels;
    for (int r = 1; r < transport->size; r++)
        best = all[r].best_kernels < best ? all[r].best_kernels : best;
    snprintf(introduction->group_id, sizeof introduction->group_id, "%s", all[0].group_id);
    introduction->kernels = kernels_at(best)->name;
end:
    free(all);
    return status;
}
