/* What a rank got of its host, as it told when it joined: for people, nothing is decided by it. */
#pragma once

#include <stdbool.h>

#include "longhaul/control/v1/control.pb-c.h"
#include "longhaul/v1/inference.pb-c.h"

struct rank_placement {
    char cpus[96];         /* that its threads run on: "0-3,8" */
    char memory_nodes[96]; /* that these are on */
    bool cores_shared;     /* with others: there are fewer than threads */
    int foreign_cores;     /* that it may use and that other worker groups hold */
    char address[64];      /* its own, as it reaches the coordinator */
    char interface[32];    /* of its host, that has the address */
    char gpu[128];         /* "": it computes on the CPU */
};

void rank_placement_read(struct rank_placement *placement,
                         const Longhaul__Control__V1__Hello *hello);

/* The texts are borrowed. */
void rank_placement_tell(Longhaul__V1__WorkerRank *rank, const struct rank_placement *placement);
