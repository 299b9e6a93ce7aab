/* The workers that a coordinator starts itself, from its settings: on which hosts, at which address
 * these reach it, and how they are started. */
#pragma once

#include <stdbool.h>

#include "coordinator/allocation.h"
#include "coordinator/launch.h"
#include "coordinator/local_address.h"
#include "coordinator/server.h"
#include "proto/config.h"
#include "proto/plan/mesh.h"
#include "proto/status.h"

struct own_workers {
    struct allocation allocation;
    struct mesh mesh;             /* of which tensor is 0 where the workers find it out */
    struct local_address address; /* where there are workers on other hosts */
    const char *pin; /* what Open MPI's connections keep to; NULL: it chooses. Of `address`, or the
                        setting's text */
};

/* Finds the hosts, and the address towards them; says in the log what it found. `environment` lacks
 * what this host itself tells: its name and cores. */
MUST_CHECK enum status own_workers_plan(struct own_workers *own, const struct config *config,
                                        const struct allocation_environment *environment);

/* Where workers reach the coordinator: "127.0.0.1" where all are on this host. */
const char *own_workers_address(const struct own_workers *own);

struct own_workers_place {
    const char *coordinator;            /* HOST:PORT */
    const char *join_secret;            /* the file */
    const char *path, *temporary, *job; /* PATH, TMPDIR, SLURM_JOB_ID; NULL: not set */
    char *const *environment;
};

MUST_CHECK enum status own_workers_start(struct launch **launch, const struct own_workers *own,
                                         const struct config *config,
                                         const struct own_workers_place *place);

/* One look at them, as launch_look. */
MUST_CHECK enum status own_workers_look(struct launch *launch, struct server *server);

void own_workers_free(struct own_workers *own);
