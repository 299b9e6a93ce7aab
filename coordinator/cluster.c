/* Owns nothing. Promises one consistent picture of all worker groups. */
#include "coordinator/cluster.h"

#include <stdlib.h>
#include <string.h>

#include "longhaul/v1/inference.pb-c.h"

/* One group's message with its storage. */
struct group_message {
    Longhaul__V1__WorkerGroup group;
    Longhaul__V1__WorkerRank *ranks;
    Longhaul__V1__WorkerRank **pointers;
    Longhaul__V1__WorkerLink links[GROUP_LINKS_MAX];
    Longhaul__V1__WorkerLink *link_pointers[GROUP_LINKS_MAX];
};

static void set_links(struct group_message *message, const struct group_links *links)
{
    for (int l = 0; l < links->count; l++) {
        Longhaul__V1__WorkerLink *link = message->link_pointers[l] = &message->links[l];
        longhaul__v1__worker_link__init(link);
        link->from_rank = links->list[l].from;
        link->to_rank = links->list[l].to;
        link->bytes_per_second = links->list[l].link.bytes_per_second;
        link->latency_seconds = links->list[l].link.latency_s;
        link->message_seconds = links->list[l].link.message_s;
    }
    message->group.links = message->link_pointers;
    message->group.n_links = (size_t)links->count;
}

/* By the names that ranks join with. */
static Longhaul__V1__Transport transport_of(const char *name)
{
    static const char *const names[] = {
        [LONGHAUL__V1__TRANSPORT__TRANSPORT_LOOPBACK] = "loopback",
        [LONGHAUL__V1__TRANSPORT__TRANSPORT_MPI] = "mpi",
        [LONGHAUL__V1__TRANSPORT__TRANSPORT_NCCL] = "nccl",
    };
    for (size_t i = 1; i < sizeof names / sizeof names[0]; i++)
        if (strcmp(name, names[i]) == 0)
            return (Longhaul__V1__Transport)i;
    return LONGHAUL__V1__TRANSPORT__TRANSPORT_UNSPECIFIED;
}

/* Leaves of a group what a tenant may know: its own requests there, and nothing of others'. */
static void hide_others(struct workers_group_view *view, const struct cluster_facts *facts)
{
    bool first_is_own = false;
    view->running = 0;
    for (size_t i = 0; i < facts->requests_count; i++) {
        const struct requests_view *request = &facts->requests[i];
        if (strcmp(request->group_id, view->group_id) != 0)
            continue;
        view->running++;
        first_is_own = first_is_own || strcmp(request->name, view->request_id) == 0;
    }
    if (!first_is_own)
        view->request_id[0] = '\0';
    if (view->running == 0 && view->state == LONGHAUL__V1__GROUP_STATE__GROUP_STATE_RUNNING)
        view->state = LONGHAUL__V1__GROUP_STATE__GROUP_STATE_READY;
}

static double slowest_link(const struct group_links *links)
{
    return links->between.bytes_per_second > 0 ? links->between.bytes_per_second
                                               : links->within.bytes_per_second;
}

static bool set_group(struct group_message *message, struct workers_group_view *view,
                      const struct cluster_facts *facts)
{
    size_t count = (size_t)view->rank_count;
    if (!facts->all_requests)
        hide_others(view, facts);
    message->ranks = calloc(count + 1, sizeof *message->ranks);
    message->pointers = calloc(count + 1, sizeof *message->pointers);
    if (!message->ranks || !message->pointers)
        return false;
    Longhaul__V1__WorkerGroup *group = &message->group;
    longhaul__v1__worker_group__init(group);
    group->group_id = view->group_id;
    group->size = view->size;
    group->state = view->state;
    group->transport = transport_of(view->transport);
    group->running_request_id = view->request_id;
    group->running_requests = view->running;
    group->places = view->places;
    group->n_ranks = count;
    group->ranks = message->pointers;
    set_links(message, &view->links);
    for (size_t i = 0; i < count; i++) {
        Longhaul__V1__WorkerRank *rank = &message->ranks[i];
        longhaul__v1__worker_rank__init(rank);
        rank->rank = view->ranks[i].rank;
        rank->host = view->ranks[i].host;
        rank->pid = view->ranks[i].pid;
        rank->kernels = view->ranks[i].kernels;
        rank->threads = view->ranks[i].threads;
        rank_placement_tell(rank, &view->ranks[i].placement);
        rank->link_bytes_per_second = slowest_link(&view->links);
        rank->heartbeat_age_seconds = view->ranks[i].heartbeat_age_seconds;
        rank->work_age_seconds = view->ranks[i].work_age_seconds;
        rank->load_seconds = view->ranks[i].load_seconds;
        message->pointers[i] = rank;
    }
    return true;
}

/* The requests' messages with their storage. */
struct request_messages {
    Longhaul__V1__ActiveRequest *list; /* [count] */
    Longhaul__V1__ActiveRequest **pointers;
};

static bool set_requests(struct request_messages *messages, const struct cluster_facts *facts)
{
    messages->list = calloc(facts->requests_count + 1, sizeof *messages->list);
    messages->pointers = calloc(facts->requests_count + 1, sizeof *messages->pointers);
    if (!messages->list || !messages->pointers)
        return false;
    for (size_t i = 0; i < facts->requests_count; i++) {
        const struct requests_view *view = &facts->requests[i];
        Longhaul__V1__ActiveRequest *request = &messages->list[i];
        longhaul__v1__active_request__init(request);
        request->request_id = (char *)view->name;
        request->kind = view->is_score ? LONGHAUL__V1__REQUEST_KIND__REQUEST_KIND_SCORE
                                       : LONGHAUL__V1__REQUEST_KIND__REQUEST_KIND_GENERATE;
        request->state = view->group_id[0] ? LONGHAUL__V1__REQUEST_STATE__REQUEST_STATE_RUNNING
                                           : LONGHAUL__V1__REQUEST_STATE__REQUEST_STATE_QUEUED;
        request->age_seconds = view->age_seconds;
        request->group_id = (char *)view->group_id;
        request->prompt_tokens = view->tokens.prompt;
        request->prompt_tokens_done = view->tokens.prompt_done;
        request->completion_tokens = view->tokens.completion;
        messages->pointers[i] = request;
    }
    return true;
}

static void set_sessions(Longhaul__V1__SessionTotals *message, const struct sessions_totals *totals)
{
    longhaul__v1__session_totals__init(message);
    message->reading = totals->of_state[LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READING];
    message->ready = totals->of_state[LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READY];
    message->spilled = totals->of_state[LONGHAUL__V1__SESSION_STATE__SESSION_STATE_SPILLED];
    message->lost = totals->of_state[LONGHAUL__V1__SESSION_STATE__SESSION_STATE_LOST];
    message->tokens = totals->tokens;
    message->held_bytes = totals->held_bytes;
}

static enum status write_views(struct rpc_call *call, const struct cluster_facts *facts,
                               struct workers_group_view *views, struct group_message *messages,
                               Longhaul__V1__WorkerGroup **pointers, size_t count)
{
    struct request_messages requests = {0};
    bool complete = set_requests(&requests, facts);
    for (size_t i = 0; i < count && complete; i++) {
        complete = set_group(&messages[i], &views[i], facts);
        pointers[i] = &messages[i].group;
    }
    Longhaul__V1__GetClusterResponse response = LONGHAUL__V1__GET_CLUSTER_RESPONSE__INIT;
    response.version = (char *)LONGHAUL_VERSION;
    response.model = (char *)facts->model;
    response.context_tokens = facts->context_tokens;
    response.draining = facts->draining;
    response.queued_requests = facts->queued_requests;
    response.n_groups = count;
    response.groups = pointers;
    response.n_requests = facts->requests_count;
    response.requests = requests.pointers;
    Longhaul__V1__SessionTotals sessions;
    set_sessions(&sessions, facts->sessions);
    response.sessions = &sessions;
    enum status status = complete
                             ? rpc_call_write(call, &response.base)
                             : fail(STATUS_RESOURCE_EXHAUSTED, "no memory to describe the cluster");
    free(requests.pointers);
    free(requests.list);
    return status;
}

enum status cluster_write(struct rpc_call *call, const struct cluster_facts *facts,
                          struct workers *workers)
{
    struct workers_group_view *views = NULL;
    int count = 0;
    TRY(workers_view(workers, &views, &count));
    struct group_message *messages = calloc((size_t)count + 1, sizeof *messages);
    Longhaul__V1__WorkerGroup **pointers =
        calloc((size_t)count + 1, sizeof(Longhaul__V1__WorkerGroup *));
    enum status status = messages && pointers
                             ? write_views(call, facts, views, messages, pointers, (size_t)count)
                             : fail(STATUS_RESOURCE_EXHAUSTED, "no memory to describe the cluster");
    for (int i = 0; messages && i < count; i++) {
        free(messages[i].ranks);
        free(messages[i].pointers);
    }
    free(pointers);
    free(messages);
    workers_view_free(views, count);
    return status;
}
