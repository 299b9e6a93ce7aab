/* A store in a folder of its own, for tests. */
#pragma once

#include "coordinator/batch/store_batch.h"
#include "coordinator/batch/store_document.h"
#include "coordinator/batch/store_line.h"

enum { STORE_FOLDER_BYTES = 256 };

/* A new folder below TMPDIR or /tmp. */
void store_folder_make(char folder[STORE_FOLDER_BYTES]);

/* Removes it with all that is in it. */
void store_folder_remove(const char *folder);

/* Copies what is in `from` to the new folder `to`. */
void store_folder_copy(const char *from, const char *to);

struct store *store_folder_open(const char *folder);

/* A test's own store: what cmocka calls before and after it. `*state` is a struct store_fixture. */
struct store_fixture {
    char folder[STORE_FOLDER_BYTES];
    struct store *store;
};

int store_fixture_set_up(void **state);
int store_fixture_tear_down(void **state);

/* A batch of `count` lines {"n": I}, QUEUED, with custom ids c1, c2, ... and 10 tokens a line;
 * returns its number. */
int64_t store_folder_batch(struct store *store, const char *tenant, const char *id, int count);

/* Leases one line and says its epoch; 0 where it was not granted. */
int64_t store_folder_lease(struct store *store, const char *tenant, int64_t batch, int64_t line);

/* Commits `body` as the line's completed result. */
enum status store_folder_commit(struct store *store, const char *tenant, int64_t batch,
                                int64_t line, int64_t epoch, const char *body);
