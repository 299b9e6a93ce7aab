/* The folder of a store: whose it is, whether its disk will do, and how it was left.
 *
 *     FOLDER/lock        held by the process that has it open; names it
 *     FOLDER/files-held  held by those that read all of it, by any number
 *     FOLDER/state       the mark: how the store was left (below)
 *     FOLDER/store.db    the database; store.db-wal its write-ahead log
 *     FOLDER/segments/   long bodies (store_segment.h)
 *     FOLDER/documents/  documents (store_document.h); documents/new/ those that are on their way
 *
 * The mark's ends:
 *     making  the database is being made: nothing was acknowledged yet. Made anew
 *     open    in use, or left without being closed: the log must be there, and the database must
 *             have been opened as often as the mark says. SQLite alone would take a database
 *             without its log for a whole one, and be silent about what is missing
 *     closed  everything is in the database
 */
#pragma once

#include <limits.h>
#include <stdbool.h>
#include <stdint.h>

#include "coordinator/batch/store_file.h"

enum store_place_end { STORE_PLACE_MAKING, STORE_PLACE_OPEN, STORE_PLACE_CLOSED };

struct store_place {
    const struct store_file_row *files;
    char folder[PATH_MAX - 128]; /* room for what is in it */
    int lock;                    /* descriptor; -1: not held */
    enum store_place_end end;
    int64_t schema, opened; /* of the mark */
};

/* Makes the folder where it is not there, takes the lock, reads the mark. FAILED_PRECONDITION:
 * another process holds it; a network file system; a database without a mark. */
MUST_CHECK enum status store_place_open(struct store_place *place, const char *folder,
                                        const struct store_file_row *files);

/* Lets the lock go; what the mark says stays. */
void store_place_close(struct store_place *place);

/* The folder of a store that is there, for one that reads beside the process that has it: takes no
 * lock. NOT_FOUND: there is none. */
MUST_CHECK enum status store_place_look(struct store_place *place, const char *folder);

/* From here on the files of what is deleted stay, whichever process has the store open: what a
 * transaction that begins now finds in the database has its files. Let go of by closing `*hold`. */
MUST_CHECK enum status store_place_hold_files(const struct store_place *place, int *hold);

/* Whether somebody holds them. */
bool store_place_files_are_held(const struct store_place *place);

/* Writes the mark. */
MUST_CHECK enum status store_place_mark(struct store_place *place, enum store_place_end end,
                                        int64_t schema, int64_t opened);

/* FAILED_PRECONDITION for a kind of file system (statfs's f_type) that several machines share.
 * Apart for tests. */
MUST_CHECK enum status store_place_check_kind(const char *folder, int64_t kind);

/* Whether the write-ahead log is there, with a beginning. */
bool store_place_has_log(const struct store_place *place);

/* FOLDER/NAME. */
void store_place_path(const struct store_place *place, char path[PATH_MAX], const char *name);

int64_t store_place_free_bytes(const struct store_place *place);
int64_t store_place_log_bytes(const struct store_place *place);
