/* What `longhaul scale` tells of its rows: tables for people, JSON lines for programs. */
#pragma once

#include <stdio.h>

#include "coordinator/bench/manifest.h"
#include "coordinator/cli/scale_campaign.h"
#include "proto/status.h"

/* On standard output: a line for each row, with what makes it doubtful, and one for each rank. */
void scale_report_table(struct scale_campaign *campaign);

/* A line with the manifest; and the same, then one for each row. */
void scale_report_manifest(FILE *file, const struct manifest *manifest);
void scale_report_lines(FILE *file, struct scale_campaign *campaign,
                        const struct manifest *manifest);

/* scale.jsonl with these lines, and manifest.json with the first of them. */
MUST_CHECK enum status scale_report_write(struct scale_campaign *campaign,
                                          const struct manifest *manifest, const char *folder);
