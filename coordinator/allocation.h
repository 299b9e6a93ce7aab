/* Which hosts the coordinator's own workers run on, and how many each takes: those that are named,
 * or those of the Slurm job that it runs in, or this host alone. Pure: who asks reads environment
 * and files. */
#pragma once

#include <stdbool.h>

#include "coordinator/host_list.h"
#include "proto/status.h"

/* Of Slurm as the environment has it, NULL: not set; and of this host. */
struct allocation_environment {
    const char *job;            /* SLURM_JOB_ID */
    const char *nodes;          /* SLURM_JOB_NODELIST */
    const char *tasks_per_node; /* SLURM_TASKS_PER_NODE */
    const char *tasks_asked;    /* SLURM_NTASKS_PER_NODE: set where the job asked for it */
    const char *cores_per_task; /* SLURM_CPUS_PER_TASK: the same */
    const char *cores_per_node; /* SLURM_JOB_CPUS_PER_NODE */
    const char *cores_here;     /* SLURM_CPUS_ON_NODE */
    const char *node;           /* SLURMD_NODENAME: what Slurm calls this host */
    const char *step;           /* SLURM_STEP_ID: set by srun alone */
    const char *step_tasks;     /* SLURM_STEP_NUM_TASKS: the same */
    const char *host;           /* what this host calls itself */
    int usable_cores;           /* that this process may use; 0: not known */
};

struct allocation_asked {
    const char *hosts;         /* as --hosts says; "": not said */
    const char *hostfile;      /* its name; "": none */
    const char *hostfile_text; /* what is in it */
    int workers;               /* 0: not said */
    int threads;               /* 0: not said */
    bool one_process;          /* --transport loopback: all workers are threads of one process */
};

struct allocation {
    struct host_list list; /* this host first, where it is one of them; empty: this host alone */
    int *dealt;            /* [list.count]: how many workers each takes */
    char source[320];      /* who named the hosts: "Slurm job 12", "--hosts"; "": nobody */
    char unused[320];      /* why the hosts of the job are left alone; "": they are not */
    bool is_job;           /* they are a Slurm job's */
    bool is_task;          /* this process is a task of srun, and the list is its own host */
    bool remote;           /* another host than this one has workers */
    int workers;
    int threads; /* of each worker; 0: its share of what it may use on its host */
    int here;    /* workers on this host */
};

/* INVALID_ARGUMENT where what is asked makes no sense. */
MUST_CHECK enum status allocation_find(struct allocation *allocation,
                                       const struct allocation_asked *asked,
                                       const struct allocation_environment *environment);

void allocation_free(struct allocation *allocation);
