/* Owns communicators between threads. Promises that a send is done with its receive and not before,
 * that both are pieces of their streams, that calls take effect late, and that a group's further
 * messages to or from one peer begin only when all of the group's first ones are done: NCCL makes
 * them the next batch of the same kernel. */
#include <assert.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/support/standin.h"
#include "tests/support/standin_stream.h"

enum { RANKS_MOST = 16, PARTS_MOST = 2 * RANKS_MOST, LATE_POLLS = 4 };

/* One send or receive, waiting in its pair for the other end. */
struct part {
    struct ncclComm *comm;
    int peer;
    bool sends;
    void *data;
    size_t bytes;
    bool posted, done;
    struct part *next;
};

struct pair {
    struct part *sends, *receives;
};

/* The ranks of one id. */
struct nccl_world {
    char id[NCCL_ID_BYTES];
    int size, joined, left;
    char error[128]; /* "": none */
    struct pair pairs[RANKS_MOST][RANKS_MOST];
    struct nccl_world *next;
};

struct ncclComm {
    struct nccl_world *world;
    int rank;
    int busy_polls;        /* until the last call has taken effect */
    struct group *pending; /* not on its stream before */
    bool aborted;
    int under_way; /* groups on a stream */
    bool gone;
};

/* The parts of a group, as a piece of its stream. */
struct group {
    struct ncclComm *comm;
    struct CUstream_st *stream;
    int count;
    struct part parts[PARTS_MOST];
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* of all worlds */
static struct nccl_world *worlds;
static _Atomic int failing_rank = -1;
static _Thread_local struct group *building;

void standin_nccl_fail(int rank)
{
    atomic_store(&failing_rank, rank);
}

static bool run_group(void *arguments);

static enum status make_id(struct nccl_id *id)
{
    static _Atomic int number;
    memset(id, 0, sizeof *id);
    snprintf(id->bytes, sizeof id->bytes, "world %d", atomic_fetch_add(&number, 1));
    return STATUS_OK;
}

static enum status begin_init(struct ncclComm **comm, const struct nccl_id *id, int size, int rank)
{
    assert(size <= RANKS_MOST);
    pthread_mutex_lock(&lock);
    struct nccl_world *world = worlds;
    while (world && memcmp(world->id, id->bytes, sizeof world->id) != 0)
        world = world->next;
    if (!world) {
        world = calloc(1, sizeof *world);
        assert(world);
        memcpy(world->id, id->bytes, sizeof world->id);
        world->size = size;
        world->next = worlds;
        worlds = world;
    }
    world->joined++;
    *comm = calloc(1, sizeof **comm);
    assert(*comm);
    **comm = (struct ncclComm){.world = world, .rank = rank, .busy_polls = LATE_POLLS};
    pthread_mutex_unlock(&lock);
    return STATUS_OK;
}

static enum status state(struct ncclComm *comm, bool *busy)
{
    pthread_mutex_lock(&lock);
    if (comm->busy_polls > 0)
        comm->busy_polls--;
    *busy = comm->world->joined < comm->world->size || comm->busy_polls > 0;
    struct group *group = *busy ? NULL : comm->pending;
    if (group)
        comm->pending = NULL;
    const bool fails = atomic_load(&failing_rank) == comm->rank;
    char error[128];
    memcpy(error, comm->world->error, sizeof error);
    pthread_mutex_unlock(&lock);
    if (group)
        TRY(standin_put(group->stream, run_group, &group, sizeof group));
    if (fails)
        return fail(STATUS_UNAVAILABLE, "NCCL error 6: remote process exited or there was a "
                                        "network error");
    return error[0] ? fail(STATUS_INTERNAL, "%s", error) : STATUS_OK;
}

/* ---- work ---- */

static void append(struct part **first, struct part *part)
{
    while (*first)
        first = &(*first)->next;
    *first = part;
}

static void drop(struct part **first, const struct part *part)
{
    while (*first && *first != part)
        first = &(*first)->next;
    if (*first)
        *first = part->next;
}

static struct pair *pair_of(const struct part *part)
{
    const int rank = part->comm->rank;
    struct nccl_world *world = part->comm->world;
    return part->sends ? &world->pairs[rank][part->peer] : &world->pairs[part->peer][rank];
}

static void match(struct pair *pair)
{
    struct part *send = pair->sends;
    struct part *receive = pair->receives;
    if (!send || !receive || standin_random() % 3 == 0)
        return;
    if (send->bytes != receive->bytes)
        snprintf(send->comm->world->error, sizeof send->comm->world->error,
                 "a send of %zu bytes met a receive of %zu", send->bytes, receive->bytes);
    else
        memcpy(receive->data, send->data, send->bytes);
    send->done = receive->done = true;
    pair->sends = send->next;
    pair->receives = receive->next;
}

static void free_world_if_left(struct nccl_world *world)
{
    if (world->left < world->size)
        return;
    struct nccl_world **at = &worlds;
    while (*at != world)
        at = &(*at)->next;
    *at = world->next;
    free(world);
}

static void leave_if_done(struct ncclComm *comm)
{
    if (!comm->gone || comm->under_way > 0)
        return;
    comm->world->left++;
    free_world_if_left(comm->world);
    free(comm);
}

/* Under the lock. */
static bool run_part(struct part *part)
{
    struct pair *pair = pair_of(part);
    if (!part->posted)
        append(part->sends ? &pair->sends : &pair->receives, part);
    part->posted = true;
    if (!part->done)
        match(pair);
    if (!part->done && part->comm->aborted) {
        drop(part->sends ? &pair->sends : &pair->receives, part);
        part->done = true;
    }
    return part->done;
}

/* How many parts of the group before this one go the same way. */
static int batch_of(const struct group *group, int which)
{
    const struct part *part = &group->parts[which];
    int batch = 0;
    for (int p = 0; p < which; p++)
        batch += group->parts[p].peer == part->peer && group->parts[p].sends == part->sends;
    return batch;
}

static bool run_group(void *arguments)
{
    struct group *group = *(struct group **)arguments;
    bool done = true;
    pthread_mutex_lock(&lock);
    for (int batch = 0, met = 1; done && met > 0; batch++) {
        met = 0;
        for (int p = 0; p < group->count; p++) {
            if (batch_of(group, p) != batch)
                continue;
            met++;
            done = run_part(&group->parts[p]) && done;
        }
    }
    if (done) {
        group->comm->under_way--;
        leave_if_done(group->comm);
    }
    pthread_mutex_unlock(&lock);
    if (done)
        free(group);
    return done;
}

/* ---- calls ---- */

static enum status group_begin(void)
{
    assert(!building);
    building = calloc(1, sizeof *building);
    assert(building);
    return STATUS_OK;
}

static enum status group_end(void)
{
    struct group *group = building;
    building = NULL;
    if (group->count == 0) {
        free(group);
        return STATUS_OK;
    }
    pthread_mutex_lock(&lock);
    group->comm->under_way++;
    group->comm->busy_polls = 1 + (int)(standin_random() % LATE_POLLS);
    assert(!group->comm->pending); /* nobody calls while the last call is under way */
    group->comm->pending = group;
    pthread_mutex_unlock(&lock);
    return STATUS_OK;
}

static enum status add_part(struct ncclComm *comm, void *data, size_t bytes, int peer, bool sends,
                            struct CUstream_st *stream)
{
    struct group *group = building;
    assert(group && group->count < PARTS_MOST);
    if (!standin_runtime()->on_device(data))
        return fail(STATUS_INTERNAL, "NCCL error 4: %p is not device memory", data);
    group->comm = comm;
    group->stream = stream;
    group->parts[group->count++] = (struct part){
        .comm = comm, .peer = peer, .sends = sends, .data = standin_behind(data), .bytes = bytes};
    return STATUS_OK;
}

static enum status send_part(struct ncclComm *comm, const void *data, size_t bytes, int peer,
                             struct CUstream_st *stream)
{
    return add_part(comm, (void *)data, bytes, peer, true, stream);
}

static enum status receive_part(struct ncclComm *comm, void *data, size_t bytes, int peer,
                                struct CUstream_st *stream)
{
    return add_part(comm, data, bytes, peer, false, stream);
}

static void leave(struct ncclComm *comm, bool aborts)
{
    if (!comm)
        return;
    pthread_mutex_lock(&lock);
    comm->aborted = aborts;
    if (comm->pending) {
        free(comm->pending);
        comm->pending = NULL;
        comm->under_way--;
    }
    comm->gone = true;
    leave_if_done(comm);
    pthread_mutex_unlock(&lock);
}

static void destroy_comm(struct ncclComm *comm)
{
    leave(comm, false);
}

static void abort_comm(struct ncclComm *comm)
{
    leave(comm, true);
}

const struct nccl_api *standin_nccl(void)
{
    static const struct nccl_api api = {
        .name = "stand-in",
        .make_id = make_id,
        .begin_init = begin_init,
        .state = state,
        .group_begin = group_begin,
        .group_end = group_end,
        .send = send_part,
        .receive = receive_part,
        .destroy = destroy_comm,
        .abort = abort_comm,
    };
    return &api;
}
