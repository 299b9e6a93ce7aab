/* A plan and its consequences as parts of a JSON object. */
#pragma once

#include <stddef.h>

#include "longhaul/v1/inference.pb-c.h"
#include "proto/json_writer.h"

/* "plan": {...}, or null. */
void plan_report_json(struct json_writer *writer, const Longhaul__V1__PlanSummary *plan);

/* "usage": {...}, "seconds": {...}, "ranks": [...]. */
void plan_report_usage_json(struct json_writer *writer, const Longhaul__V1__Usage *usage);
void plan_report_seconds_json(struct json_writer *writer, const Longhaul__V1__Seconds *seconds);
void plan_report_ranks_json(struct json_writer *writer, Longhaul__V1__RankReport *const *ranks,
                            size_t count);
