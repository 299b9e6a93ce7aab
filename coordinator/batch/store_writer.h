/* The store's one writing thread. Changes that wait at the same time go into one transaction, and
 * are answered when it is on disk.
 *
 * State       changed by
 * serving     a probe of the disk that succeeded
 * read-only   a commit, a write or a checkpoint that the disk refused: changes are answered
 *             UNAVAILABLE with the reason at once; the disk is probed every `retry_ms`
 */
#pragma once

#include <semaphore.h>

#include "coordinator/batch/store.h"

struct store_writer;
struct store_turn;

/* One change: looks, decides, then writes. Where it refuses (any status) it has written nothing, or
 * has undone it by store_writer_end_part. It may run twice: after a failure in a transaction with
 * others it is run in one of its own. */
typedef enum status store_apply(struct store_turn *turn, void *context);

MUST_CHECK enum status store_writer_create(struct store_writer **writer, struct store *store,
                                           int64_t retry_ms, int log_pages);

/* Ends the thread; what waits is answered UNAVAILABLE. */
void store_writer_destroy(struct store_writer *writer);

/* Runs a change on the writer's thread; on disk when it returns OK. */
MUST_CHECK enum status store_writer_run(struct store_writer *writer, store_apply *apply,
                                        void *context);

enum { STORE_WRITER_MESSAGE_BYTES = 1024 };

/* A change that nobody waits for. */
struct store_change {
    store_apply *apply;
    void *context;
    /* Called once, with the last fail() sentence, on a thread of the store's that tells of one
     * change after the other; or by store_writer_post, where the store takes none. The change may
     * be freed in it. */
    void (*ended)(struct store_change *change, enum status status);

    /* The writer's own. */
    struct store_change *next;
    sem_t *waiter; /* who waits after all: store_writer_run */
    enum status status;
    char message[STORE_WRITER_MESSAGE_BYTES];
};

void store_writer_post(struct store_writer *writer, struct store_change *change);

/* A part of a change that is undone when the change is refused in the middle:
 *     TRY(store_writer_begin_part(turn));
 *     status = ...
 *     return store_writer_end_part(turn, status); */
MUST_CHECK enum status store_writer_begin_part(struct store_turn *turn);
MUST_CHECK enum status store_writer_end_part(struct store_turn *turn, enum status status);

bool store_writer_is_serving(struct store_writer *writer, char *reason, size_t bytes);

void store_writer_facts(struct store_writer *writer, struct store_facts *facts);
