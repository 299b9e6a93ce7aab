/* Owns what ranks tell each other of a failure. */
#include "worker/agreement.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

/* How a rank's part went, as the others hear it. */
struct word {
    int32_t status;
    char reason[240];
};

enum status agreement_reach(struct transport *transport, enum status mine)
{
    const size_t size = (size_t)transport->size;
    struct word *all = calloc(size, sizeof *all);
    enum status status = STATUS_OK;
    if (!all)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the words of %zu ranks", size);
    struct word *own = &all[transport->rank];
    own->status = (int32_t)mine;
    if (mine != STATUS_OK)
        snprintf(own->reason, sizeof own->reason, "%s", status_message());
    TRY_ELSE(transport_gather_each(transport, own, all, sizeof *all), end);
    for (size_t rank = 0; rank < size && status == STATUS_OK; rank++)
        if (all[rank].status != STATUS_OK)
            status = fail((enum status)all[rank].status, "rank %zu: %s", rank, all[rank].reason);
end:
    free(all);
    return status;
}
