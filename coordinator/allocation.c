/* Owns its list. Promises that a job's hosts are used, or that `unused` says why not. */
#include "coordinator/allocation.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int number_of(const char *text)
{
    const long number = text ? strtol(text, NULL, 10) : 0;
    return number > 0 && number <= 1 << 20 ? (int)number : 0;
}

static bool is_set(const char *text)
{
    return text && text[0];
}

/* Slurm's names for hosts need not be theirs. */
static int find_own(const struct allocation *allocation,
                    const struct allocation_environment *environment)
{
    int own = -1;
    if ((allocation->is_job || allocation->is_task) && is_set(environment->node))
        own = host_list_find(&allocation->list, environment->node);
    if (own < 0)
        own = host_list_find(&allocation->list, environment->host);
    return own >= 0 ? own : host_list_find(&allocation->list, "localhost");
}

/* Rank 0 is best beside the coordinator. */
static void put_first(struct host_list *list, int own)
{
    const struct host host = list->hosts[own];
    memmove(list->hosts + 1, list->hosts, (size_t)own * sizeof host);
    list->hosts[0] = host;
}

/* The shell that salloc starts where Slurm's use_interactive_step is set, as a step of one task: it
 * stands for the whole job. */
static bool is_interactive(const struct allocation_environment *environment)
{
    static const char interactive[] = "4294967290";
    return is_set(environment->step) && strcmp(environment->step, interactive) == 0;
}

/* What is left of the job's list for a task of srun: its own host, also where that is the only one,
 * since mpirun would take the hosts of the job. It takes all the workers that are asked for. */
static void keep_own(struct allocation *allocation,
                     const struct allocation_environment *environment, int step_tasks)
{
    allocation->is_task = true;
    const int own = find_own(allocation, environment);
    if (allocation->list.count > 1 && step_tasks > 1)
        snprintf(allocation->unused, sizeof allocation->unused,
                 "srun started this process, one of %d, and each uses its own host alone: start it "
                 "without srun to use all hosts of the job",
                 step_tasks);
    else if (allocation->list.count > 1)
        snprintf(allocation->unused, sizeof allocation->unused,
                 "srun started this process, and what it starts uses its own host alone: start it "
                 "without srun, or with SLURM_STEP_NUM_TASKS unset, to use all hosts of the job");
    if (own < 0) {
        host_list_free(&allocation->list);
        return;
    }
    put_first(&allocation->list, own);
    allocation->list.count = 1;
    allocation->list.hosts[0].slots = 0;
}

/* Fills in the hosts of the job, or why they are left alone. "--ntasks 32" alone is how cores are
 * asked for: a task is a worker's where the job says what a task is, else there is one per host. */
static void take_job(struct allocation *allocation,
                     const struct allocation_environment *environment)
{
    const bool are_workers =
        is_set(environment->tasks_asked) || is_set(environment->cores_per_task);
    const int step_tasks = is_interactive(environment) ? 0 : number_of(environment->step_tasks);
    if (!is_set(environment->job) || !is_set(environment->nodes))
        return;
    if (host_list_read_slurm(&allocation->list, environment->nodes,
                             are_workers ? environment->tasks_per_node : NULL,
                             environment->cores_per_node) != STATUS_OK) {
        snprintf(allocation->unused, sizeof allocation->unused, "%s; name them with --hosts",
                 status_message());
        return;
    }
    if (step_tasks > 0) {
        keep_own(allocation, environment, step_tasks);
        return;
    }
    allocation->is_job = true;
    snprintf(allocation->source, sizeof allocation->source, "Slurm job %s", environment->job);
}

static enum status take_hosts(struct allocation *allocation, const struct allocation_asked *asked,
                              const struct allocation_environment *environment)
{
    const bool named = asked->hosts[0] || asked->hostfile[0];
    if (asked->hosts[0] && asked->hostfile[0])
        return fail(STATUS_INVALID_ARGUMENT, "--hosts and --hostfile both name hosts: give one");
    if (named && asked->one_process)
        return fail(STATUS_INVALID_ARGUMENT,
                    "--transport loopback keeps all workers in one process: leave it out with %s",
                    asked->hosts[0] ? "--hosts" : "--hostfile");
    if (asked->hosts[0]) {
        snprintf(allocation->source, sizeof allocation->source, "--hosts");
        return host_list_read_words(&allocation->list, asked->hosts);
    }
    if (asked->hostfile[0]) {
        snprintf(allocation->source, sizeof allocation->source, "--hostfile %.256s",
                 asked->hostfile);
        return host_list_read_hostfile(&allocation->list, asked->hostfile_text, asked->hostfile);
    }
    take_job(allocation, environment);
    return STATUS_OK;
}

/* Threads of a worker where nothing keeps the job's processes to the job's cores: as many as the
 * host with the fewest cores a worker has. Where Slurm confines them, a worker sees its cores. */
static int threads_of(const struct allocation *allocation,
                      const struct allocation_environment *environment)
{
    const int here = number_of(environment->cores_here);
    int threads = 0;
    if (here == 0 || environment->usable_cores <= here)
        return 0;
    for (int i = 0; i < allocation->list.count; i++) {
        const int workers = allocation->dealt[i], cores = allocation->list.hosts[i].cores;
        if (workers == 0 || cores == 0)
            continue;
        const int share = cores / workers > 0 ? cores / workers : 1;
        threads = threads == 0 || share < threads ? share : threads;
    }
    return threads;
}

static enum status deal(struct allocation *allocation, const struct allocation_asked *asked,
                        const struct allocation_environment *environment)
{
    const int own = find_own(allocation, environment);
    if (own > 0)
        put_first(&allocation->list, own);
    /* All in one process: on this host, whatever the job has beside it. */
    if (asked->one_process && allocation->list.count > (own >= 0)) {
        snprintf(allocation->unused, sizeof allocation->unused,
                 "--transport loopback keeps all workers in one process");
        allocation->list.count = own >= 0;
        allocation->workers = asked->workers ? asked->workers : 1;
    }
    allocation->dealt = calloc((size_t)allocation->list.count + 1, sizeof *allocation->dealt);
    if (!allocation->dealt)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a list of hosts");
    if (allocation->list.count == 0) {
        allocation->here = allocation->workers;
        return STATUS_OK;
    }
    host_list_deal(&allocation->list, allocation->dealt, allocation->workers);
    allocation->here = own >= 0 ? allocation->dealt[0] : 0;
    allocation->remote = allocation->here < allocation->workers;
    allocation->threads = asked->threads || !allocation->is_job
                              ? asked->threads
                              : threads_of(allocation, environment);
    return STATUS_OK;
}

enum status allocation_find(struct allocation *allocation, const struct allocation_asked *asked,
                            const struct allocation_environment *environment)
{
    struct allocation found = {.threads = asked->threads};
    enum status status = take_hosts(&found, asked, environment);
    found.workers = asked->workers     ? asked->workers
                    : found.list.count ? host_list_slots(&found.list)
                                       : 1;
    if (status == STATUS_OK)
        status = deal(&found, asked, environment);
    if (status == STATUS_OK)
        *allocation = found;
    else
        allocation_free(&found);
    return status;
}

void allocation_free(struct allocation *allocation)
{
    host_list_free(&allocation->list);
    free(allocation->dealt);
    *allocation = (struct allocation){.workers = 0};
}
