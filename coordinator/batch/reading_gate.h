/* Which lines may begin to read their prompts: a line waits while another one is still reading a
 * panel that both begin with, so that the panel is computed once (a leader, then its followers).
 *
 * It knows of the panels that were read lately, so that followers of one leader go on side by side.
 * What a group has forgotten since, or another group holds, is computed again: that costs time and
 * is never wrong. Not for several threads at once.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/batch/panel_chain.h"
#include "proto/status.h"

struct reading_gate;

MUST_CHECK enum status reading_gate_create(struct reading_gate **gate);

/* Accepts NULL. Nobody reads any more. */
void reading_gate_destroy(struct reading_gate *gate);

/* A line that reads; the caller owns it from reading_gate_begin to reading_gate_end. */
struct reading_line {
    const struct panel_chain *chain; /* borrowed */
    struct reading_line *next, *before;
    bool reading;
};

/* How many of its first panels somebody is about to have read; 0: it may begin. */
int64_t reading_gate_awaited(const struct reading_gate *gate, const struct panel_chain *chain);

void reading_gate_begin(struct reading_gate *gate, struct reading_line *line,
                        const struct panel_chain *chain);

/* Its panels are there (`read`), or it has given up. Nothing where it reads no more. */
void reading_gate_end(struct reading_gate *gate, struct reading_line *line, bool read);

/* No group holds anything any more. */
void reading_gate_forget(struct reading_gate *gate);
