/* Threads that are kept for the next job: to start one costs more than most calls do. */
#pragma once

#include "proto/status.h"

/* Embedded in the object that it works on. */
struct rpc_job {
    void (*run)(struct rpc_job *job); /* the job may be freed in it */
    struct rpc_job *next;             /* the threads' own */
};

struct rpc_threads;

MUST_CHECK enum status rpc_threads_create(struct rpc_threads **threads);

/* Runs the job on a thread that rests, the one that rests shortest, or on a new one.
 * RESOURCE_EXHAUSTED where none can be had: the job does not run. */
MUST_CHECK enum status rpc_threads_run(struct rpc_threads *threads, struct rpc_job *job);

/* Runs a job that waits for nothing but the disk, after others of its kind and on few threads:
 * while they have something to do nobody must be woken for it. */
MUST_CHECK enum status rpc_threads_run_brief(struct rpc_threads *threads, struct rpc_job *job);

/* Waits for the jobs that run; there must be no new ones. NULL is accepted. */
void rpc_threads_destroy(struct rpc_threads *threads);
