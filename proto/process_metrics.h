/* What every process can tell Prometheus of itself: process_cpu_seconds, its memory, descriptors,
 * threads and start. */
#pragma once

/* From now on. Any number of times. */
void process_metrics_offer(void);
