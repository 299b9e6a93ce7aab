/* The lines that are about to run: read from the store, their prompts as ids, in the order in which
 * they should begin. A line that cannot begin yet, because a leader still reads what it shares,
 * or beside those that run, keeps its place while others pass it; one that has to run alone is
 * handed out for its owner to wait with. Used by one thread.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/batch/line_run.h"
#include "proto/status.h"

struct line_window;

/* What the window asks of its owner. */
struct line_window_settings {
    struct store *store;
    const struct prompt_forms *forms;
    /* Whether a line that waits in the store has been taken and its owner knows of it still. */
    bool (*known)(void *context, int64_t batch, int64_t line);
    /* Whether a line may begin beside those that run. */
    bool (*may_begin)(void *context, const struct line_run *line);
    /* A tenant's share beside the others': at least 1. */
    int (*weight)(void *context, const char *tenant);
    /* As reading_gate_awaited. */
    int64_t (*awaited)(void *context, const struct panel_chain *chain);
    void *context;
};

MUST_CHECK enum status line_window_create(struct line_window **window,
                                          const struct line_window_settings *settings);

/* Accepts NULL. */
void line_window_destroy(struct line_window *window);

/* Other lines may wait, or may begin, than at the last look. */
void line_window_refresh(struct line_window *window);

/* The next line that may begin, taken out of the window and the caller's to free; NULL: there is
 * none now. Where its text or its document is gone, the line says so (line_run.h). */
MUST_CHECK enum status line_window_take(struct line_window *window, struct line_run **line);
