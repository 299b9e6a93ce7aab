/* What the launched workers write on standard error and standard output: passed on to the log line
 * by line as it comes, and its end kept for when they die.
 *
 * The workers write to a pipe that is always read, so that they never wait for whoever reads the
 * coordinator's own standard error.
 */
#pragma once

#include <stddef.h>

#include "proto/status.h"

struct worker_output;

MUST_CHECK enum status worker_output_create(struct worker_output **output);

/* The end that workers write to; the caller hands it to them and does not close it. */
int worker_output_descriptor(const struct worker_output *output);

/* Other workers begin: what the ones before them said is no longer asked for. */
void worker_output_begin(struct worker_output *output);

/* What they said last that tells why they ended, one line: a worker's own sentence of failure, else
 * what ssh or the system said, else the last line that is not a mere rule of dashes; "" when there
 * is none. Between such rules mpirun tells at length what may be wrong in general. All that they
 * wrote up to the call counts. */
void worker_output_last_words(struct worker_output *output, char *text, size_t bytes);

/* Passes on what is left. NULL is accepted. */
void worker_output_destroy(struct worker_output *output);
