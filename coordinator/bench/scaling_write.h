/* Rows of scaling and the runs that they are made of, as JSON objects. */
#pragma once

#include <stdint.h>

#include "coordinator/bench/scaling.h"

struct json_writer;

/* The members of an object that is open. */
void scaling_write_row(struct json_writer *writer, struct scaling_row *row);
void scaling_write_run(struct json_writer *writer, const struct scaling_row *row,
                       const struct scaling_run *run, int64_t repetition);
