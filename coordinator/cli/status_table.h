/* A cluster on standard output: as tables for people, as JSON for programs. */
#pragma once

#include "longhaul/v1/inference.pb-c.h"

void status_table_print(const Longhaul__V1__GetClusterResponse *cluster);
void status_table_print_json(const Longhaul__V1__GetClusterResponse *cluster);
