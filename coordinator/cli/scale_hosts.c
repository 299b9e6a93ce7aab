/* Owns what main has read of the environment. */
#include "coordinator/cli/scale_hosts.h"

#include <stdio.h>
#include <stdlib.h>

#include "coordinator/hostfile.h"

static const char *slurm_job_nodes;

void scale_hosts_configure(const char *slurm_nodes)
{
    slurm_job_nodes = slurm_nodes;
}

static enum status read_hostfile(struct host_list *list, const char *path)
{
    char *text = NULL;
    TRY(hostfile_read(&text, path));
    enum status status = host_list_read_hostfile(list, text, path);
    free(text);
    return status;
}

enum status scale_hosts_read(struct host_list *list, const struct config *config)
{
    const char *hosts = config_text(config, "coordinator.hosts");
    const char *hostfile = config_text(config, "coordinator.hostfile");
    *list = (struct host_list){.count = 0};
    if (hosts[0])
        return host_list_read_words(list, hosts);
    if (hostfile[0])
        return read_hostfile(list, hostfile);
    if (slurm_job_nodes)
        return host_list_read_slurm(list, slurm_job_nodes, NULL, NULL);
    return fail(STATUS_FAILED_PRECONDITION,
                "--nodes counts hosts, and nobody names any: give --hosts or --hostfile, or run it "
                "in a Slurm job");
}

enum status scale_hosts_words(char **words, const struct host_list *list, int nodes, int workers)
{
    size_t bytes = 0;
    if (nodes > list->count)
        return fail(STATUS_INVALID_ARGUMENT, "--nodes %d: there are %d hosts", nodes, list->count);
    FILE *file = open_memstream(words, &bytes);
    if (!file)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the names of %d hosts", nodes);
    for (int h = 0; h < nodes; h++)
        fprintf(file, "%s%s:%d", h ? "," : "", list->hosts[h].name, workers / nodes);
    if (fclose(file) == 0)
        return STATUS_OK;
    free(*words);
    return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the names of %d hosts", nodes);
}
