/* The state that workers.c (who is there) and group_run.c (what runs) share. Nobody else includes
 * this. */
#pragma once

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "coordinator/group_run.h"
#include "coordinator/workers.h"

enum { CAUSE_BYTES = 512, KERNELS_MAX = 8 };

struct rank {
    struct rpc_call *call;     /* NULL while nobody has joined as this rank; under send_lock */
    pthread_mutex_t send_lock; /* held while a message is being written */
    bool joined, loaded;       /* this and the rest under workers->lock */
    int64_t heard_ns;
    double work_age_seconds;
    bool busy;
    char host[WORKERS_NAME_BYTES];
    int64_t pid;
    int threads;
    char kernels[KERNELS_MAX][WORKERS_NAME_BYTES]; /* best first */
    int kernels_count;
    int64_t memory_bytes;
    Longhaul__Control__V1__Loaded load; /* no pointers in it */
};

struct group {
    struct workers *workers;
    struct group *next;
    char id[WORKERS_NAME_BYTES];
    char transport[16];
    int size;
    bool shared_memory_bus;
    int64_t context_tokens;
    struct rank *ranks; /* [size] */
    int joined_count, loaded_count;
    bool lost, reserved;
    char cause[CAUSE_BYTES]; /* why it is lost */
    struct group_run *run;   /* NULL while nothing runs */
};

struct workers {
    struct workers_settings settings;
    pthread_mutex_t lock;
    pthread_cond_t changed; /* anything below it, and the news of runs */
    struct group *groups;
    bool stopping;
    char stop_reason[CAUSE_BYTES];
    char trouble[CAUSE_BYTES]; /* the last that went wrong */
};

/* Notes why the group is lost and wakes everybody; the first cause counts. Under the lock. */
__attribute__((format(printf, 2, 3))) void worker_group_lose(struct group *group,
                                                             const char *format, ...);

/* UNAVAILABLE when the rank has gone. Not under the lock: it may wait for the peer. */
MUST_CHECK enum status worker_group_send(struct group *group, int rank,
                                         const Longhaul__Control__V1__CoordinatorMessage *message);

/* Hands a message of a rank to the group's run. Under the lock. */
void group_run_take(struct group_run *run, int rank,
                    const Longhaul__Control__V1__WorkerMessage *message);
