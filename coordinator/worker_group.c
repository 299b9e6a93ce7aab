/* Owns the list of worker groups and each group's ranks. Promises that the first cause of a group's
 * loss is the one that is told, and that a group is freed once, when its last rank has left and no
 * request holds it. */
#include "coordinator/worker_group.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/group_run.h"
#include "proto/clock.h"
#include "proto/log.h"
#include "proto/metrics.h"
#include "proto/plan/choice.h"

static struct metrics_family lost = {.name = "longhaul_worker_groups_lost",
                                     .help = "Groups that were lost, with a rank or by a fault.",
                                     .type = METRICS_COUNTER};

void worker_groups_init(struct worker_groups *all, void (*announce)(void *context), void *context)
{
    *all = (struct worker_groups){.announce = announce, .context = context};
    metrics_offer(&lost);
    pthread_mutex_init(&all->lock, NULL);
    pthread_cond_init(&all->left, NULL);
}

void worker_groups_deinit(struct worker_groups *all)
{
    assert(!all->first);
    pthread_cond_destroy(&all->left);
    pthread_mutex_destroy(&all->lock);
}

void worker_groups_announce(struct worker_groups *all)
{
    all->announce(all->context);
}

struct group *worker_group_find(struct worker_groups *all, const char *id)
{
    for (struct group *group = all->first; group; group = group->next)
        if (strcmp(group->id, id) == 0)
            return group;
    return NULL;
}

struct group *worker_group_add(struct worker_groups *all, const Longhaul__Control__V1__Hello *hello)
{
    struct group *group = calloc(1, sizeof *group);
    struct rank *ranks = calloc((size_t)hello->size, sizeof *ranks);
    struct worker_speed *speeds = calloc((size_t)hello->size, sizeof *speeds);
    if (!group || !ranks || !speeds) {
        free(group);
        free(ranks);
        free(speeds);
        return NULL;
    }
    group->all = all;
    group->serial = ++all->newest_group;
    group->size = hello->size;
    group->shared_memory_bus = hello->shared_memory_bus;
    group->context_tokens = hello->context_tokens;
    group->ranks = ranks;
    group->speeds = speeds;
    snprintf(group->id, sizeof group->id, "%s", hello->group_id);
    snprintf(group->transport, sizeof group->transport, "%s", hello->transport);
    pthread_mutex_init(&group->begin_lock, NULL);
    for (int i = 0; i < group->size; i++)
        pthread_mutex_init(&ranks[i].send_lock, NULL);
    group->next = all->first;
    all->first = group;
    return group;
}

void worker_group_drop_if_empty(struct group *group)
{
    if (group->joined_count > 0 || group->holders > 0)
        return;
    struct group **link = &group->all->first;
    while (*link != group)
        link = &(*link)->next;
    *link = group->next;
    for (int i = 0; i < group->size; i++)
        pthread_mutex_destroy(&group->ranks[i].send_lock);
    pthread_mutex_destroy(&group->begin_lock);
    free(group->speeds);
    free(group->ranks);
    free(group);
}

bool worker_group_is_ready(const struct group *group)
{
    return !group->lost && group->loaded_count == group->size && group->joined_count == group->size;
}

int worker_group_places(const struct group *group)
{
    int places = group->ranks[0].load.runs_max;
    for (int i = 1; i < group->size; i++)
        places = group->ranks[i].load.runs_max < places ? group->ranks[i].load.runs_max : places;
    return places > 1 ? places : 1;
}

int worker_group_tensor(const struct group *group)
{
    const int tensor = group->ranks[0].load.tensor;
    const bool divides = tensor > 1 && tensor <= CHOICE_TENSOR_MAX && group->size % tensor == 0;
    return divides ? tensor : 1;
}

int worker_group_sharers(const struct rank *rank)
{
    return rank->load.weight_sharers > 1 ? rank->load.weight_sharers : 1;
}

int64_t worker_group_memory(const struct rank *rank)
{
    const int64_t weights = rank->load.weights_bytes;
    if (rank->memory_bytes == 0)
        return 0;
    return rank->memory_bytes + weights - weights / worker_group_sharers(rank);
}

int64_t worker_group_pool_bytes(const struct group *group)
{
    int64_t least = group->ranks[0].load.pool_bytes;
    for (int i = 1; i < group->size; i++)
        if (group->ranks[i].load.pool_bytes < least)
            least = group->ranks[i].load.pool_bytes;
    return least;
}

bool worker_group_has_room(const struct group *group, int64_t pool_bytes)
{
    const int64_t pool = worker_group_pool_bytes(group);
    return group->holders < worker_group_places(group) &&
           (pool == 0 || pool_bytes <= pool - group->taken_bytes);
}

void worker_group_give_back(struct group *group, int64_t pool_bytes)
{
    group->holders--;
    group->taken_bytes -= pool_bytes;
}

void worker_group_release(struct group *group, int64_t pool_bytes)
{
    struct worker_groups *all = group->all;
    pthread_mutex_lock(&all->lock);
    worker_group_give_back(group, pool_bytes);
    worker_group_drop_if_empty(group);
    pthread_mutex_unlock(&all->lock);
    worker_groups_announce(all);
}

void worker_group_lose(struct group *group, const char *format, ...)
{
    if (!group->lost) {
        group->lost = true;
        va_list arguments;
        va_start(arguments, format);
        vsnprintf(group->cause, sizeof group->cause, format, arguments);
        va_end(arguments);
        memcpy(group->all->trouble, group->cause, sizeof group->cause);
        group->all->trouble_ns = clock_now_ns();
        if (!group->all->stopping)
            metrics_add(&lost, 1);
        if (!group->all->stopping)
            log_line(LOG_WARN, "group lost", log_text("group", group->id),
                     log_text("cause", group->cause));
    }
    group_run_wake_all(group);
}

enum status worker_group_send(struct group *group, int rank_number,
                              const Longhaul__Control__V1__CoordinatorMessage *message)
{
    struct rank *rank = &group->ranks[rank_number];
    pthread_mutex_lock(&rank->send_lock);
    enum status status = rank->call ? rpc_call_write(rank->call, &message->base)
                                    : fail(STATUS_UNAVAILABLE, "rank %d has left", rank_number);
    pthread_mutex_unlock(&rank->send_lock);
    return status;
}
