/* The hosts that --nodes counts off: those that --hosts or --hostfile names, or the Slurm job's. */
#pragma once

#include "coordinator/host_list.h"
#include "proto/config.h"
#include "proto/status.h"

/* Once, from main: the value of SLURM_JOB_NODELIST, which may be NULL. */
void scale_hosts_configure(const char *slurm_nodes);

/* FAILED_PRECONDITION where nobody names hosts. The caller calls host_list_free. */
MUST_CHECK enum status scale_hosts_read(struct host_list *list, const struct config *config);

/* The first `nodes` of them with `workers` evenly on them, as --hosts takes it; the caller frees
 * `*words`. INVALID_ARGUMENT where there are not so many. */
MUST_CHECK enum status scale_hosts_words(char **words, const struct host_list *list, int nodes,
                                         int workers);
