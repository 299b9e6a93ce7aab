/* One worker group's state: its ranks, who has joined, what runs on it and why it was lost; and the
 * list of all groups under one lock. It is shared by workers.c (who is there), group_run.c (what
 * runs) and workers_view.c (what is told about it). Nobody else includes this. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "coordinator/group_links.h"
#include "coordinator/held_prompts.h"
#include "coordinator/rank_placement.h"
#include "longhaul/control/v1/control.pb-c.h"
#include "coordinator/worker_speeds.h"
#include "proto/clock.h"
#include "proto/rpc/rpc_server.h"
#include "proto/status.h"

enum { WORKER_GROUP_NAME_BYTES = 128, CAUSE_BYTES = 512, KERNELS_MAX = 8 };

struct rank {
    struct rpc_call *call;     /* NULL while nobody has joined as this rank; under send_lock */
    pthread_mutex_t send_lock; /* held while a message is being written */
    bool joined, loaded;       /* this and the rest under all->lock */
    int64_t heard_ns;
    struct clock_watch silence; /* since heard_ns */
    double work_age_seconds;
    int runs; /* that it says it has */
    char host[WORKER_GROUP_NAME_BYTES];
    int64_t pid;
    int threads;
    struct rank_placement placement;
    char kernels[KERNELS_MAX][WORKER_GROUP_NAME_BYTES]; /* best first */
    int kernels_count;
    int64_t memory_bytes;
    Longhaul__Control__V1__Loaded load; /* no pointers in it */
};

struct group {
    struct worker_groups *all;
    struct group *next;
    char id[WORKER_GROUP_NAME_BYTES];
    char transport[16];
    int size;
    bool shared_memory_bus;
    int64_t context_tokens;
    struct rank *ranks;         /* [size] */
    pthread_mutex_t begin_lock; /* held from a run's number to its last Run message */
    int joined_count, loaded_count;
    struct group_links links; /* as rank 0 tells them */
    bool lost;
    uint64_t serial;             /* this group's alone, from 1 */
    int holders;                 /* requests that have a place in it */
    int64_t taken_bytes;         /* what they and sessions hold of each rank's pool */
    int64_t session_bytes;       /* of these, what sessions hold */
    double pace;                 /* seconds of prompts for each that was predicted; 0: not known */
    struct worker_speed *speeds; /* [size] */
    struct partition_weights weights; /* that follow from them */
    double steady_pace;               /* the same, as plans that must be alike follow it; 0: 1 */
    struct held_prompts held;         /* that it was given */
    char cause[CAUSE_BYTES];          /* why it is lost */
    struct group_run *runs;           /* those that its ranks have not all ended */
};

struct worker_groups {
    pthread_mutex_t lock;
    pthread_cond_t left; /* a rank has left its group */
    struct group *first;
    uint64_t newest_run;   /* the highest number that a run has */
    uint64_t newest_group; /* the highest serial */
    bool stopping;
    char trouble[CAUSE_BYTES]; /* the last that went wrong */
    int64_t trouble_ns;        /* when */
    /* Called from any thread, with no lock held, when a group's state may have changed. */
    void (*announce)(void *context);
    void *context;
};

void worker_groups_init(struct worker_groups *all, void (*announce)(void *context), void *context);

/* Every group must be gone. */
void worker_groups_deinit(struct worker_groups *all);

/* Calls `announce`. Not under the lock. */
void worker_groups_announce(struct worker_groups *all);

/* NULL when there is none of that name. Under the lock. */
struct group *worker_group_find(struct worker_groups *all, const char *id);

/* A group of which nobody has joined yet; NULL without memory. Under the lock. */
struct group *worker_group_add(struct worker_groups *all,
                               const Longhaul__Control__V1__Hello *hello);

/* Frees a group that no rank and no request refers to any more. Under the lock. */
void worker_group_drop_if_empty(struct group *group);

/* Whether all ranks are there and have loaded the model. Under the lock. */
bool worker_group_is_ready(const struct group *group);

/* How many runs it can have at a time: what the rank says that can hold fewest. Under the lock. */
int worker_group_places(const struct group *group);

/* Places of its tensor axis, as rank 0 says. Under the lock. */
int worker_group_tensor(const struct group *group);

/* Ranks that map one copy of the rank's weights, itself included. Under the lock. */
int worker_group_sharers(const struct rank *rank);

/* What the rank has for arenas, where weights count whole that others map too; 0: not known. Under
 * the lock. */
int64_t worker_group_memory(const struct rank *rank);

/* The bytes of the smallest pool of its ranks; 0: no limit. Under the lock. */
int64_t worker_group_pool_bytes(const struct group *group);

/* Whether one more request has room that takes so much of each rank's pool. Under the lock. */
bool worker_group_has_room(const struct group *group, int64_t pool_bytes);

/* Gives back a place and what it held of the pool. Under the lock, where the group stays. */
void worker_group_give_back(struct group *group, int64_t pool_bytes);

/* The same by a request that needs the group no more. Not under the lock. */
void worker_group_release(struct group *group, int64_t pool_bytes);

/* Notes why the group is lost and wakes everybody; the first cause counts. Under the lock. */
__attribute__((format(printf, 2, 3))) void worker_group_lose(struct group *group,
                                                             const char *format, ...);

/* UNAVAILABLE when the rank has gone. Not under the lock: it may wait for the peer. */
MUST_CHECK enum status worker_group_send(struct group *group, int rank,
                                         const Longhaul__Control__V1__CoordinatorMessage *message);
