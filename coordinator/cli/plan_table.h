/* A dry run's answer for people and for programs. */
#pragma once

#include "longhaul/v1/inference.pb-c.h"

/* The summary, what a token sees, a line a worker, and what each keeps in memory. */
void plan_table_print(const Longhaul__V1__PlanResponse *plan);

/* One JSON object: schema_version, plan, sight, reasons, ranks. */
void plan_table_print_json(const Longhaul__V1__PlanResponse *plan);
