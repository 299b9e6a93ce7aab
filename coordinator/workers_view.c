/* Owns nothing: copies the groups' state for GetCluster, so that no lock is held while an answer is
 * written. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/group_run.h"
#include "coordinator/worker_group.h"
#include "coordinator/workers.h"
#include "proto/clock.h"

static Longhaul__V1__GroupState state_of(const struct group *group)
{
    if (group->joined_count < group->size)
        return LONGHAUL__V1__GROUP_STATE__GROUP_STATE_JOINING;
    if (group->loaded_count < group->size)
        return LONGHAUL__V1__GROUP_STATE__GROUP_STATE_LOADING;
    return group->holders > 0 ? LONGHAUL__V1__GROUP_STATE__GROUP_STATE_RUNNING
                              : LONGHAUL__V1__GROUP_STATE__GROUP_STATE_READY;
}

static void view_rank(struct workers_rank_view *view, const struct rank *rank, int number)
{
    view->rank = number;
    view->pid = rank->pid;
    view->threads = rank->threads;
    view->placement = rank->placement;
    view->heartbeat_age_seconds = clock_seconds_since(rank->heard_ns);
    view->work_age_seconds = rank->work_age_seconds;
    view->load_seconds = rank->load.seconds;
    snprintf(view->host, sizeof view->host, "%s", rank->host);
    snprintf(view->kernels, sizeof view->kernels, "%s",
             rank->kernels_count ? rank->kernels[0] : "");
}

static bool view_group(struct workers_group_view *view, const struct group *group)
{
    view->size = group->size;
    view->state = state_of(group);
    snprintf(view->group_id, sizeof view->group_id, "%s", group->id);
    snprintf(view->transport, sizeof view->transport, "%s", group->transport);
    view->running = group->holders;
    view->serial = group->serial;
    view->pool_bytes = worker_group_pool_bytes(group);
    view->taken_bytes = group->taken_bytes;
    view->links = group->links;
    view->places = worker_group_is_ready(group) ? worker_group_places(group) : 0;
    if (group->runs) {
        /* A run of a named request is the name, '#' and a number (errand.c). */
        snprintf(view->request_id, sizeof view->request_id, "%s", group_run_id(group->runs));
        char *number = strrchr(view->request_id, '#');
        if (number)
            *number = '\0';
    }
    view->ranks = calloc((size_t)group->size, sizeof *view->ranks);
    if (!view->ranks)
        return false;
    for (int i = 0; i < group->size; i++)
        if (group->ranks[i].joined)
            view_rank(&view->ranks[view->rank_count++], &group->ranks[i], i);
    return true;
}

enum status workers_view(struct workers *workers, struct workers_group_view **groups, int *count)
{
    struct worker_groups *all = workers_groups(workers);
    pthread_mutex_lock(&all->lock);
    int room = 0, filled = 0;
    for (struct group *group = all->first; group; group = group->next)
        room += !group->lost;
    struct workers_group_view *views = calloc((size_t)room + 1, sizeof *views);
    bool enough = views != NULL;
    for (struct group *group = all->first; group && enough; group = group->next)
        if (!group->lost)
            enough = view_group(&views[filled++], group);
    pthread_mutex_unlock(&all->lock);
    if (!enough) {
        workers_view_free(views, filled);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to describe the worker groups");
    }
    *groups = views;
    *count = filled;
    return STATUS_OK;
}

void workers_view_free(struct workers_group_view *groups, int count)
{
    for (int i = 0; i < count; i++)
        free(groups[i].ranks);
    free(groups);
}
