/* The folder of --spill: files of keys (docs/cache-files.md) that a coordinator wrote of what its
 * workers had no more room for, up to a limit of bytes.
 *
 *     FOLDER/lock                          held by the coordinator that uses the folder
 *     FOLDER/TENANT-HEADER-NUMBER.keys     hexadecimal: digests of the tenant and of the header,
 *                                          and a number that makes the name unique
 *     FOLDER/....keys.unfinished           one that is being written
 *
 * A coordinator that starts takes over the files that are there. Those that are damaged, unfinished
 * or of another model are removed with a warning; files of other names are left alone, and so is
 * what cannot be read for now.
 *
 * Where there is no room, the file that was unused longest goes, at first of those that nobody
 * needs because the same keys lie in memory.
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "proto/cache_file/cache_header.h"
#include "proto/status.h"

struct spill_folder;

/* Makes the folder where it is not there. FAILED_PRECONDITION where another process uses it. */
MUST_CHECK enum status spill_folder_open(struct spill_folder **folder, const char *path,
                                         int64_t bytes_most, const char *model);

/* The files stay. NULL is accepted. */
void spill_folder_close(struct spill_folder *folder);

/* A file that is to be written. */
struct spill_place {
    char path[PATH_MAX];
    int64_t number; /* of the file once it is there */
    int64_t bytes;  /* held for it; 0: it was refused */
};

/* Makes room for the file of this header, and names it. RESOURCE_EXHAUSTED where that is more than
 * the limit, or than files that are being written leave of it. After OK the caller calls
 * spill_folder_written. */
MUST_CHECK enum status spill_folder_begin(struct spill_folder *folder, struct spill_place *place,
                                          const char *tenant, const struct cache_header *header);

/* The file is there, as a reader finds it, and has a number; or it is not, and nothing is left of
 * it. IO, DATA_LOSS where it cannot be read. */
MUST_CHECK enum status spill_folder_written(struct spill_folder *folder, struct spill_place *place,
                                            bool is_there);

/* The number of the file with most tokens of those that the tenant's prompt begins with, by this
 * method, and how many tokens it has; 0: there is none. */
int64_t spill_folder_find(struct spill_folder *folder, int64_t *tokens, const char *tenant,
                          const char *method, const int32_t *ids, int64_t count);

/* Whether the file is there. */
bool spill_folder_has(struct spill_folder *folder, int64_t number);

/* The same; *path is its own, and it was used. */
bool spill_folder_path(struct spill_folder *folder, char path[PATH_MAX], int64_t number);

/* Whether its keys are nowhere else. False: it is not there. */
bool spill_folder_need(struct spill_folder *folder, int64_t number, bool needed);

/* Removes it, with a warning where a cause is given. One that is not there was removed before. */
void spill_folder_remove(struct spill_folder *folder, int64_t number, const char *cause);

/* What is there. */
struct spill_facts {
    int64_t files, bytes;
    int64_t written, taken, removed; /* files, since the start: taken are those that were read */
};
void spill_folder_facts(struct spill_folder *folder, struct spill_facts *facts);

/* The keys of a file are in memory again. */
void spill_folder_taken(struct spill_folder *folder);
