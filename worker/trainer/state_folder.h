/* The names in a folder of checkpoints, and what is made and removed there. One rank calls. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

enum { STATE_FOLDER_PATH_BYTES = 4096, STATE_FOLDER_STEPS_MOST = 64 };

extern const char *const state_folder_files[]; /* of one checkpoint; ended by NULL */

/* FOLDER/step-NNNNNNNNN/FILE; while it is written the folder's name ends in ".part". */
MUST_CHECK enum status state_folder_path(char path[STATE_FOLDER_PATH_BYTES], const char *folder,
                                         int64_t step, const char *file);
MUST_CHECK enum status state_folder_part_path(char path[STATE_FOLDER_PATH_BYTES],
                                              const char *folder, int64_t step, const char *file);

/* The steps of the checkpoints that are there, newest first; at most STATE_FOLDER_STEPS_MOST. */
MUST_CHECK enum status state_folder_list(int64_t steps[STATE_FOLDER_STEPS_MOST], int *count,
                                         const char *folder);

/* Makes the folder, and an empty part for a step; what others left half done goes. */
MUST_CHECK enum status state_folder_begin(const char *folder, int64_t step);

/* Puts the part in its place, also where that step was there, and removes all others but the
 * `keep` - 1 before it: those of later steps too, which were passed over when the run went on.
 * FAILED_PRECONDITION where one to be removed holds files of others. */
MUST_CHECK enum status state_folder_finish(const char *folder, int64_t step, int keep);
