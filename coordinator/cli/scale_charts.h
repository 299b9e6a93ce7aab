/* The charts of a scaling measurement: rate, efficiency, seconds and bytes over workers, each
 * beside what is ideal or was predicted. */
#pragma once

#include <stdbool.h>

#include "coordinator/cli/scale_campaign.h"
#include "proto/status.h"

/* All as SVG into the folder; the first two in characters on standard output too where `shown`.
 */
MUST_CHECK enum status scale_charts_draw(struct scale_campaign *campaign, const char *folder,
                                         bool shown);
