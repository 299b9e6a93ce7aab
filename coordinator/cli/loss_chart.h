/* The curve of a training run's losses. */
#pragma once

#include "proto/status.h"

/* Draws FOLDER/loss.svg of FOLDER/losses.jsonl, a JSON line a step; nothing where there is none.
 * Of more steps than a chart shows, means of as many neighbours as it takes. */
MUST_CHECK enum status loss_chart_draw(const char *folder, const char *title);
