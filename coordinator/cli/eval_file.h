/* The lines of --file, one record after the other. */
#pragma once

#include <stdint.h>
#include <stdio.h>

#include "coordinator/eval/eval_record.h"
#include "proto/status.h"

struct eval_file {
    FILE *file;
    const char *path;
    char *line; /* getline's */
    size_t room;
    int64_t number; /* of the line that was read last, from 1 */
};

/* NOT_FOUND where it cannot be opened. */
MUST_CHECK enum status eval_file_open(struct eval_file *file, const char *path);
void eval_file_close(struct eval_file *file);

/* The next record; false in `*there` behind the last one. Empty lines are passed over. A line
 * that is none is told with its number. */
MUST_CHECK enum status eval_file_next(struct eval_file *file, struct eval_record *record,
                                      bool *there);
