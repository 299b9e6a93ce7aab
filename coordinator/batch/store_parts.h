/* What the store's files share: the store itself, and a turn of its writer. Nobody else includes
 * it. */
#pragma once

#include <pthread.h>
#include <stdatomic.h>

#include "coordinator/batch/store.h"
#include "coordinator/batch/store_link.h"
#include "coordinator/batch/store_place.h"
#include "coordinator/batch/store_readers.h"
#include "coordinator/batch/store_segment.h"
#include "coordinator/batch/store_tenants.h"
#include "coordinator/batch/store_waits.h"
#include "coordinator/batch/store_writer.h"

struct store {
    struct store_place place;
    char database[PATH_MAX];
    const char *vfs;         /* NULL: SQLite's own */
    int64_t cache_kib;       /* of the writer's pages */
    int64_t clock_offset_us; /* from the monotonic clock to the store's */
    atomic_llong leases_expired;
    struct store_readers *readers;
    struct store_waits *waits;
    struct store_writer *writer;
    /* The writer's own from here on. */
    struct store_link link;
    struct store_tenants tenants;
    struct store_segment segment;
    int64_t clock_kept_us;
    int64_t next_batch, next_batch_kept; /* numbers below `kept` are given away on disk */
};

/* A file that goes once the commit is on disk. */
struct store_removal {
    struct store_removal *next;
    char path[];
};

/* One transaction of the writer, as those who change something in it see it. */
struct store_turn {
    struct store *store;
    struct store_link *link;
    int64_t now_us;
    struct store_removal *removals;
    bool lines;               /* lines may wait that did not before */
    uint64_t touched_batches; /* by number modulo 64 */
    bool undone;              /* a part was undone: nothing of the change is left */
    struct {                  /* what there was where the part began */
        int64_t growths, segment;
        struct store_removal *removals;
    } part;
};

/* The name of a file of the store that goes when this turn is on disk. */
MUST_CHECK enum status store_turn_remove(struct store_turn *turn, const char *name);
