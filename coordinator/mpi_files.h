/* The folder for what Open MPI keeps on this host while a group runs: its session directories, and
 * the shared memory of ranks (vader's segments). It is removed with all that is in it, so that an
 * mpirun which is killed or crashes leaves nothing. */
#pragma once

#include "proto/status.h"

struct mpi_files;

/* Makes a folder of its own in /dev/shm, or where there is none in `temporary` (NULL: /tmp), and
 * removes those that coordinators which were killed have left there. */
MUST_CHECK enum status mpi_files_create(struct mpi_files **files, const char *temporary);

/* Borrowed. */
const char *mpi_files_folder(const struct mpi_files *files);

/* A descriptor that says, as long as anybody has it open, that the folder is in use. mpirun gets it
 * too: it may outlive us. */
int mpi_files_lock(const struct mpi_files *files);

/* Removes what is in the folder. No process may use it any more. */
void mpi_files_clear(const struct mpi_files *files);

/* Removes the folder. NULL is accepted. */
void mpi_files_destroy(struct mpi_files *files);
