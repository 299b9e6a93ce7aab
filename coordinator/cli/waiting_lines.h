/* The lines of an input that have no result yet, as a stream of bytes for an upload. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "coordinator/cli/kept_results.h"
#include "proto/status.h"

/* {0} is not open. */
struct waiting_lines {
    FILE *file;
    const char *path;
    const struct kept_results *kept; /* borrowed */
    bool in_order;
    int64_t done;  /* lines at the beginning that are done, in order */
    int64_t count; /* that wait */
    char *line;    /* the one that is being told; getline's */
    size_t room;
    size_t bytes, told; /* of the line */
    int64_t number;     /* lines that were read */
    int64_t offset;     /* of the stream */
};

/* Counts those that wait. With `in_order` the first kept->lines lines are done, else those whose
 * custom_id is among kept->ids. NOT_FOUND where there is no input. */
MUST_CHECK enum status waiting_lines_open(struct waiting_lines *lines, const char *path,
                                          const struct kept_results *kept, bool in_order);
void waiting_lines_close(struct waiting_lines *lines);

/* As batch_client_read: `lines` is a struct waiting_lines. */
MUST_CHECK enum status waiting_lines_read(void *lines, int64_t offset, void *piece, size_t size,
                                          size_t *bytes);
