/* A model's folder while it is written: beside its place (output_beside.h), and put there when it
 * is whole. Who opens PATH finds the model that was there before, or all of the new one. */
#pragma once

#include <stdbool.h>

#include "proto/status.h"

enum { OUTPUT_FOLDER_PATH_BYTES = 4096 };

struct output_folder {
    char path[OUTPUT_FOLDER_PATH_BYTES]; /* without a slash at its end */
    char part[OUTPUT_FOLDER_PATH_BYTES]; /* where files are written */
};

/* Names of the files that a model's folder has when it has been written here, but for shards; ended
 * by NULL. */
extern const char *const output_folder_names[];

/* Whether a model may be written to `path`: nothing is there, or a folder with no other files than
 * those. ALREADY_EXISTS names the first other one: nobody's file is removed unasked. */
MUST_CHECK enum status output_folder_check(const char *path);

/* Makes a folder "PATH.part-...", empty, as output_folder_check says. */
MUST_CHECK enum status output_folder_begin(struct output_folder *folder, const char *path);

/* "PATH.part-.../name" */
void output_folder_file(char path[OUTPUT_FOLDER_PATH_BYTES], const struct output_folder *folder,
                        const char *name);

/* Puts the folder in its place, and removes the one that was there; ALREADY_EXISTS where it
 * `keeps_existing` and something has come there. Where the file system cannot exchange two folders
 * (NFS), the old one is in "PATH.old-..." for a moment. */
MUST_CHECK enum status output_folder_finish(struct output_folder *folder, bool keeps_existing);

/* Removes what was written. */
void output_folder_discard(struct output_folder *folder);
