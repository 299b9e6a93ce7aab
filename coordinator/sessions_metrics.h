/* What metrics tell of sessions and of the files of --spill, as they are when they are read. */
#pragma once

#include "coordinator/sessions.h"
#include "proto/metrics.h"

void sessions_metrics_tell(struct metrics_writer *writer, struct sessions *sessions);
