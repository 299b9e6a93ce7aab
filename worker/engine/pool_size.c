/* Owns nothing. Promises the same size on all ranks. */
#include "worker/engine/pool_size.h"

#include <stdlib.h>
#include <unistd.h>

#include "proto/plan/memory_plan.h"

int64_t pool_size_limit(const struct device *device, const struct transport *transport,
                        int64_t asked_bytes, int64_t elsewhere_bytes)
{
    if (asked_bytes > 0)
        return asked_bytes + elsewhere_bytes;
    if (device->memory_bytes > 0)
        return device->memory_bytes;
    const int64_t free_bytes = (int64_t)sysconf(_SC_AVPHYS_PAGES) * sysconf(_SC_PAGESIZE);
    return free_bytes / transport->local_size + device->shape.weights_bytes;
}

enum status pool_size_agree(struct group_choice *group, const struct device *device,
                            struct transport *transport, int64_t limit_bytes)
{
    int64_t *slots = calloc((size_t)transport->size, sizeof *slots);
    enum status status = STATUS_OK;
    if (!slots)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to size a pool");
    slots[transport->rank] = memory_group_slots(group, &device->shape, &device->needs, limit_bytes);
    TRY_ELSE(transport_gather_each(transport, &slots[transport->rank], slots, sizeof *slots), end);
    group->pool_slots = slots[0];
    for (int rank = 1; rank < transport->size; rank++)
        group->pool_slots = slots[rank] < group->pool_slots ? slots[rank] : group->pool_slots;
end:
    free(slots);
    return status;
}
