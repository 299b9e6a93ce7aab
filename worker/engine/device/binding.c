/* Owns what a share of cores means to one process. Promises that no CPU outside of the process's
 * own set is chosen. */
#include "worker/engine/device/binding.h"

#include "proto/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "0-3,8"; one that does not fit ends in "...". */
static void write_list(char text[BINDING_LIST_BYTES], const cpu_set_t *set)
{
    enum { TAIL_BYTES = 4 };
    int used = 0;
    text[0] = '\0';
    for (int first = 0, end; first < CPU_SETSIZE; first = end + 1) {
        end = first;
        while (end < CPU_SETSIZE && CPU_ISSET(end, set))
            end++;
        if (end == first)
            continue;
        char range[32];
        const int bytes =
            end - first == 1
                ? snprintf(range, sizeof range, "%s%d", used ? "," : "", first)
                : snprintf(range, sizeof range, "%s%d-%d", used ? "," : "", first, end - 1);
        if (used + bytes + TAIL_BYTES >= BINDING_LIST_BYTES) {
            memcpy(text + used, "...", TAIL_BYTES);
            return;
        }
        memcpy(text + used, range, (size_t)bytes + 1);
        used += bytes;
    }
}

enum status binding_request(struct core_request *request, const struct core_order *order,
                            int threads)
{
    if (threads < 0 || threads > BINDING_THREADS)
        return fail(STATUS_INVALID_ARGUMENT, "%d threads for one rank: the limit is %d", threads,
                    BINDING_THREADS);
    core_order_allowed(&request->cores, order);
    request->threads = threads;
    return STATUS_OK;
}

enum status binding_take(struct binding *binding, const struct core_order *order,
                         const struct core_share *share, int ranks)
{
    *binding = (struct binding){
        .threads = share->threads < BINDING_THREADS ? share->threads : BINDING_THREADS,
        .cores = share->fair_cores,
        .host_cores = share->allowed_cores,
        .foreign_cores = share->foreign_cores,
        .pinned = share->own,
    };
    cpu_set_t cpus, nodes;
    int thread = 0;
    CPU_ZERO(&cpus);
    CPU_ZERO(&nodes);
    for (int c = 0; c < order->count; c++) {
        const struct core_order_core *core = &order->cores[c];
        if (core->cpu < 0 || !CPU_ISSET(core->core, &share->cores))
            continue;
        if (share->own && thread < binding->threads)
            binding->processing_units[thread++] = core->cpu;
        CPU_SET(core->cpu, &cpus);
        if (core->node >= 0)
            CPU_SET(core->node, &nodes);
    }
    while (thread < binding->threads)
        binding->processing_units[thread++] = -1;
    write_list(binding->cpus, &cpus);
    write_list(binding->nodes, &nodes);
    if (!binding->pinned)
        log_line(LOG_WARN, "cores are short", log_integer("threads", binding->threads),
                 log_integer("cores", binding->cores), log_integer("ranks_here", ranks),
                 log_integer("host_cores", binding->host_cores),
                 log_integer("held_by_other_groups", binding->foreign_cores),
                 log_text("pinned", "no"));
    return STATUS_OK;
}

enum status binding_choose(struct binding *binding, int local_rank, int local_size, int threads)
{
    struct core_request *requests = calloc((size_t)local_size, sizeof *requests);
    struct core_share *shares = calloc((size_t)local_size, sizeof *shares);
    struct core_order *order = malloc(sizeof *order);
    enum status status = STATUS_OK;
    if (!requests || !shares || !order) {
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory to share out the cores");
        goto end;
    }
    TRY_ELSE(core_order_read(order), end);
    TRY_ELSE(binding_request(&requests[0], order, threads), end);
    for (int rank = 1; rank < local_size; rank++)
        requests[rank] = requests[0];
    cpu_set_t none;
    CPU_ZERO(&none);
    core_shares_make(shares, requests, local_size, order, &none);
    status = binding_take(binding, order, &shares[local_rank], local_size);
end:
    free(order);
    free(shares);
    free(requests);
    return status;
}

void binding_facts(const struct binding *binding, char *line, int bytes)
{
    snprintf(line, (size_t)bytes, "threads=%d cores=%d host_cores=%d pinned=%s", binding->threads,
             binding->cores, binding->host_cores, binding->pinned ? "yes" : "no");
}
