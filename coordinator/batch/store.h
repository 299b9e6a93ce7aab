/* What outlives a connection: batches, their lines and results, documents, and the request ids that
 * make calls safe to repeat, in one folder of a local disk.
 *
 *     struct store_options options = {.folder = "/var/lib/longhaul"};
 *     TRY(store_open(&store, &options));
 *     ... store_batch.h, store_line.h, store_document.h ...
 *     store_close(store);
 *
 * Every call that changes something returns when the change is on disk (SQLite, WAL, FULL): what
 * was answered OK survives a crash and a power cut. One thread writes; up to 128 changes that wait
 * at the same time share one commit. A call waits as long as the disk takes.
 *
 * Any thread may call. Everything belongs to a tenant, by name ("" is one as any other); a call
 * sees what belongs to the tenant that it is given and answers NOT_FOUND for the rest.
 *
 * Where the disk fails (full, EIO, read-only, a damaged page), the store turns read-only by itself:
 * what changes something answers UNAVAILABLE with the reason, reads go on. It tries the disk again
 * every `retry_ms` and then serves again. A single record that is damaged is DATA_LOSS, with its
 * name, and harms no other.
 *
 * Times are microseconds since 1970 by the store's own clock, which goes on evenly while the
 * process lives, whatever happens to the machine's.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

struct store;
struct store_file_row;

enum {
    STORE_ID_BYTES = 64,                /* of an id with its end */
    STORE_INLINE_BYTES = 64 * 1024,     /* longer bodies lie in segment files */
    STORE_BODY_BYTES = 64 * 1024 * 1024 /* the longest body: a chunk, a line, a result */
};

struct store_options {
    const char *folder;   /* made where it is not there */
    int readers;          /* connections that read at the same time; 0: 4 */
    int64_t cache_bytes;  /* of pages in memory; 0: 64 MiB. All readers have half of it again */
    int64_t retry_ms;     /* of a store that does not take changes; 0: 5000 */
    bool accept_lost_log; /* open although the write-ahead log of an unclean end is gone */
    int log_pages;        /* of the write-ahead log, from which on they are brought home; 0: 4096 */
    const char *vfs;      /* of SQLite, by name; NULL: its own. For tests */
    const struct store_file_row *files; /* our own files; NULL: the system's. For tests */
};

/* Opens or makes the store: leases that were held are over, their lines wait again.
 *
 * FAILED_PRECONDITION: another process has it open (named); a network file system; written by a
 * newer version (named; nothing is touched); the process before ended without closing it and its
 * write-ahead log is gone, so that what was acknowledged last may be missing. DATA_LOSS: the file
 * is damaged or no store. IO: the system said no. */
MUST_CHECK enum status store_open(struct store **store, const struct store_options *options);

/* Opens a store that is there for store_verify and store_backup alone, beside the process that has
 * it open, or without one. NOT_FOUND: the folder is no store. */
MUST_CHECK enum status store_look(struct store **store, const char *folder);

/* Ends what waits with UNAVAILABLE, writes everything home and leaves the mark of a clean end. No
 * other call may run or come. NULL: nothing. */
void store_close(struct store *store);

/* Whether changes are taken; else `reason` (with its end, cut to `bytes`; NULL and 0: not asked
 * for) says why not. */
bool store_is_serving(struct store *store, char *reason, size_t bytes);

struct store_facts {
    int64_t commits;        /* transactions since it was opened */
    int64_t changes;        /* calls that those carried */
    double commit_seconds;  /* sum over commits, fsync included */
    int64_t log_bytes;      /* of the write-ahead log */
    int64_t free_bytes;     /* of its disk */
    int64_t stored_bytes;   /* lines, results and documents of all tenants */
    int64_t refused;        /* changes that were answered UNAVAILABLE */
    int64_t memory_bytes;   /* of SQLite: pages that it keeps, statements */
    int64_t leases_expired; /* that ran out, or whose process had ended when it was opened */
    bool serving;
};

void store_read_facts(struct store *store, struct store_facts *facts);

/* The store's clock. */
int64_t store_now_us(const struct store *store);

/* A new id: 26 letters and digits that sort by time; no two are equal. */
void store_make_id(struct store *store, char id[STORE_ID_BYTES]);

/* ---- calls that are safe to repeat ---- */

/* Who asks, and under which request id. For 24 hours the same id of the same tenant with the same
 * content has the same answer and no second effect; with other content it is ALREADY_EXISTS. */
struct store_request {
    const char *id;      /* at most 128 bytes; NULL or "": not to be repeated */
    const void *content; /* what was asked for, the call's name included; kept as a digest */
    size_t content_bytes;
};

/* ---- tenants ---- */

/* What one tenant may have in the store; 0: no limit. Checked in the transaction that adds:
 * RESOURCE_EXHAUSTED beyond it. */
struct store_limits {
    int64_t queued_lines;  /* that wait to run */
    int64_t queued_tokens; /* of their prompts and longest answers */
    int64_t stored_bytes;  /* lines, results, documents */
};

/* What it has now. */
struct store_tenant {
    const char *name; /* borrowed during a call */
    int64_t queued_lines, queued_tokens, running_lines, stored_bytes;
};

/* All 0 for one that has never had anything. */
MUST_CHECK enum status store_read_tenant(struct store *store, const char *name,
                                         struct store_tenant *tenant);

typedef enum status store_tenant_take(void *context, const struct store_tenant *tenant);

/* Every tenant that has lines waiting. Ends early with what `take` says. */
MUST_CHECK enum status store_each_waiting_tenant(struct store *store, store_tenant_take *take,
                                                 void *context);

/* Whether lines of anybody wait, run by a lease, or are still to be looked through. */
MUST_CHECK enum status store_has_work(struct store *store, bool *has);

/* ---- waiting ---- */

/* Sleeps until lines may wait to run, or `timeout_ms` have passed. `*seen` is 0 at first and is
 * updated: what came since the last call returns at once. */
void store_wait_lines(struct store *store, uint64_t *seen, int64_t timeout_ms);

/* Sleeps until batch `number` may have changed, or `timeout_ms` have passed; `*seen` as above. */
void store_wait_batch(struct store *store, int64_t number, uint64_t *seen, int64_t timeout_ms);

/* ---- for people ---- */

/* Gets a sentence for each thing that is wrong. */
typedef void store_report(void *context, const char *sentence);

/* Reads everything: SQLite's integrity check and every digest. DATA_LOSS where something is
 * wrong. */
MUST_CHECK enum status store_verify(struct store *store, store_report *report, void *context);

/* A copy that store_open opens, of one moment, made while the store serves, in a folder that is not
 * there yet on the same file system (segments and documents become hard links). */
MUST_CHECK enum status store_backup(struct store *store, const char *folder);
