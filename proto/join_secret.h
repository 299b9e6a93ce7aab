/* The secret by which a coordinator knows its workers: a file that only its owner can read.
 *
 * A coordinator draws it, writes it for its workers to read, and removes it at its end; a file that
 * is there already may be named instead. A secret is never logged. */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stddef.h>

#include "proto/secret_file.h"
#include "proto/status.h"

enum { JOIN_SECRET_ROOM = SECRET_ROOM };

/* Where the file lies when none is named, as the environment tells it; NULL: not set. The first
 * that can be used is taken, so that a coordinator and its workers find the same one. */
struct join_secret_places {
    const char *job, *job_folder; /* SLURM_JOB_ID, SLURM_SUBMIT_DIR: seen by all hosts of the job */
    const char *runtime;          /* XDG_RUNTIME_DIR */
    const char *temporary;        /* TMPDIR; NULL: /tmp */
};

/* The file of the coordinator whose workers join at `port`; INVALID_ARGUMENT: it is too long. */
MUST_CHECK enum status join_secret_path(char path[PATH_MAX],
                                        const struct join_secret_places *places, int port);

/* As secret_file_read; UNAVAILABLE: its coordinator is about to write it. */
MUST_CHECK enum status join_secret_read(char text[JOIN_SECRET_ROOM], const char *path);

/* ---- a coordinator's ---- */

struct join_secret;

/* The secret in `file`; drawn at random where there is no such file, or none is named (""). */
MUST_CHECK enum status join_secret_create(struct join_secret **secret, const char *file);

/* Writes a drawn secret to its file, which is made for this user alone, and keeps it locked. A file
 * that an ended coordinator left at the default place is written over, and others beside it are
 * removed; UNAVAILABLE while that coordinator runs. */
MUST_CHECK enum status join_secret_publish(struct join_secret *secret,
                                           const struct join_secret_places *places, int port);

/* The path of its file, for workers. Borrowed. */
const char *join_secret_file(const struct join_secret *secret);

/* Whether `said` [bytes] is the secret; takes the same time whatever is said. */
bool join_secret_matches(const struct join_secret *secret, const char *said, size_t bytes);

/* Removes the file that was written. NULL is accepted. */
void join_secret_destroy(struct join_secret *secret);
