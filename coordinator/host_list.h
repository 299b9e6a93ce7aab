/* The hosts that workers may run on, with what each takes: out of a Slurm job's variables, a
 * hostfile as mpirun reads it, or the words of --hosts. Pure: text in, a list out. */
#pragma once

#include <stddef.h>

#include "proto/status.h"

enum { HOST_LIST_MOST = 4096, HOST_NAME_BYTES = 256 };

struct host {
    char name[HOST_NAME_BYTES];
    int slots; /* workers that it is to take, as its line says; 0: it does not say */
    int cores; /* that may be used there; 0: not known */
};

/* All zero is an empty list. */
struct host_list {
    struct host *hosts; /* [count] */
    int count;
};

/* Slurm's "gpu[01-03,7],login" and, host by host, "4(x3),2", as SLURM_JOB_NODELIST,
 * SLURM_TASKS_PER_NODE and SLURM_JOB_CPUS_PER_NODE say them; NULL: not said. */
MUST_CHECK enum status host_list_read_slurm(struct host_list *list, const char *nodes,
                                            const char *tasks, const char *cores);

/* Lines of "NAME [slots=N]", with what mpirun knows beside ignored, and comments from # on. `file`
 * is its name, for sentences. */
MUST_CHECK enum status host_list_read_hostfile(struct host_list *list, const char *text,
                                               const char *file);

/* "NAME[:N],NAME[:N]", as mpirun's --host has it. */
MUST_CHECK enum status host_list_read_words(struct host_list *list, const char *words);

/* -1: it is not there. "node3" is "node3.cluster.example", which one of the two may leave out. */
int host_list_find(const struct host_list *list, const char *name);

/* The sum of their slots, of a host that says none 1. */
int host_list_slots(const struct host_list *list);

/* How many of `workers` each host takes, [count]: as evenly as its slots allow, and beyond these
 * evenly. The first hosts take more. */
void host_list_deal(const struct host_list *list, int *dealt, int workers);

/* The list becomes empty. */
void host_list_free(struct host_list *list);
