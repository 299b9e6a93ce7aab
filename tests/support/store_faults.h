/* The disk below a store, watched or failing: a VFS of SQLite's and the table of our own files
 * (store_file.h), over the system's. One store at a time.
 *
 *     struct store_options options = {.folder = folder,
 *                                     .vfs = STORE_FAULTS_VFS,
 *                                     .files = &store_faults_files};
 */
#pragma once

#include "coordinator/batch/store_file.h"
#include "tests/support/crash_disk.h"

#define STORE_FAULTS_VFS "faults"

extern const struct store_file_row store_faults_files;

/* From now on calls below `folder` are recorded (`disk` NULL: they are not). What is in the folder
 * already is part of the record, and safe. */
void store_faults_watch(const char *folder, struct crash_disk *disk);

/* The `at`-th call that changes the disk from now on fails with `reason` (ENOSPC, EIO, EROFS), a
 * write after half of its bytes; and so do all later ones where `lasting`. 0: none does. */
void store_faults_fail(int64_t at, int reason, bool lasting);

/* Calls that changed the disk, or failed to, since store_faults_fail. */
int64_t store_faults_calls(void);

/* Whether a call has failed since. */
bool store_faults_fired(void);
