/* Runs the lines of batches: a thread that picks them and threads that each run one at a time.
 *
 * As many run as the ready groups have places, and one more that waits for the next place. A leader
 * reads what lines share before its followers begin (reading_gate.h). Lines that were lost with
 * groups before run with fewer beside them (line_outcome.h).
 *
 *   waiting  --store_line_lease (lease_lines)-->            leased, begun
 *   begun    --its first token (note_read)-->               read: its followers may begin
 *   begun, read
 *            --committed or given back (line_run_attempt)-->  over
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/batch/store_line.h"
#include "coordinator/errand.h"
#include "proto/status.h"

struct batch_dispatch;

/* Borrows both; starts the thread. */
MUST_CHECK enum status batch_dispatch_create(struct batch_dispatch **dispatch, struct store *store,
                                             struct errand_tools *errand);

/* Waits for the lines that run: the errands must be stopping. NULL is accepted. */
void batch_dispatch_destroy(struct batch_dispatch *dispatch);

/* Lines may wait: looks at once. */
void batch_dispatch_wake(struct batch_dispatch *dispatch);

/* The lines of a batch that run end within a step, as STORE_LINE_CANCELLED or
 * STORE_LINE_EXPIRED. */
void batch_dispatch_stop_batch(struct batch_dispatch *dispatch, int64_t batch,
                               enum store_line_state why);

/* Whether no line runs. */
bool batch_dispatch_is_idle(struct batch_dispatch *dispatch);
