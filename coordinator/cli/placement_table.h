/* What each rank of a group got of its host: cores, memory, address, GPU. */
#pragma once

#include <stdio.h>

#include "longhaul/v1/inference.pb-c.h"
#include "proto/json_writer.h"
#include "proto/status.h"

struct rpc_client;

/* A line a rank. */
void placement_table_print(FILE *out, const Longhaul__V1__WorkerGroup *group);

/* Its members of a rank's object. */
void placement_table_json(struct json_writer *writer, const Longhaul__V1__WorkerRank *rank);

/* Asks the coordinator for its groups and prints a table of each on standard error. */
MUST_CHECK enum status placement_table_tell(struct rpc_client *client);
