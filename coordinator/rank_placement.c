/* Owns nothing. Promises that texts of any length from a worker stay within their room. */
#include "coordinator/rank_placement.h"

#include <stdio.h>

void rank_placement_read(struct rank_placement *placement,
                         const Longhaul__Control__V1__Hello *hello)
{
    placement->cores_shared = hello->cores_shared;
    placement->foreign_cores = hello->foreign_cores;
    snprintf(placement->cpus, sizeof placement->cpus, "%s", hello->cpus);
    snprintf(placement->memory_nodes, sizeof placement->memory_nodes, "%s", hello->memory_nodes);
    snprintf(placement->address, sizeof placement->address, "%s", hello->address);
    snprintf(placement->interface, sizeof placement->interface, "%s", hello->interface);
    snprintf(placement->gpu, sizeof placement->gpu, "%s", hello->gpu);
}

void rank_placement_tell(Longhaul__V1__WorkerRank *rank, const struct rank_placement *placement)
{
    rank->cpus = (char *)placement->cpus;
    rank->memory_nodes = (char *)placement->memory_nodes;
    rank->cores_shared = placement->cores_shared;
    rank->foreign_cores = placement->foreign_cores;
    rank->address = (char *)placement->address;
    rank->interface = (char *)placement->interface;
    rank->gpu = (char *)placement->gpu;
}
