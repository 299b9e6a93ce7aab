/* Owns the reading connections. Promises that each is used by one thread at a time, and that a read
 * left in the middle holds back no checkpoint. */
#include "coordinator/batch/store_readers.h"

#include <pthread.h>
#include <stdlib.h>

#include "proto/clock.h"

enum { WAIT_MS = 10000 };

struct store_readers {
    pthread_mutex_t lock;
    pthread_cond_t given;
    int count, free_count;
    struct store_link **free_links;
    struct store_link links[];
};

enum status store_readers_create(struct store_readers **readers, const char *path, const char *vfs,
                                 int count, int64_t cache_kib)
{
    struct store_readers *r = calloc(1, sizeof *r + (size_t)count * sizeof r->links[0]);
    if (!r)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the store");
    pthread_mutex_init(&r->lock, NULL);
    pthread_cond_init(&r->given, NULL);
    enum status status = STATUS_OK;
    r->free_links = calloc((size_t)count, sizeof *r->free_links);
    if (!r->free_links) {
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the store");
        goto destroy;
    }
    for (; r->count < count; r->count++) {
        TRY_ELSE(store_link_open(&r->links[r->count], path, vfs, cache_kib), destroy);
        TRY_ELSE(store_link_run(&r->links[r->count], "PRAGMA query_only=ON"), close);
        r->free_links[r->free_count++] = &r->links[r->count];
    }
    *readers = r;
    return STATUS_OK;
close:
    store_link_close(&r->links[r->count]);
destroy:
    store_readers_destroy(r);
    return status;
}

void store_readers_destroy(struct store_readers *readers)
{
    if (!readers)
        return;
    for (int i = 0; i < readers->count; i++)
        store_link_close(&readers->links[i]);
    pthread_cond_destroy(&readers->given);
    pthread_mutex_destroy(&readers->lock);
    free(readers->free_links);
    free(readers);
}

enum status store_readers_take(struct store_readers *readers, struct store_link **link)
{
    const int64_t deadline_ns = clock_after_ms(WAIT_MS);
    pthread_mutex_lock(&readers->lock);
    while (readers->free_count == 0 && clock_wait(&readers->given, &readers->lock, deadline_ns))
        continue;
    const bool found = readers->free_count > 0;
    if (found)
        *link = readers->free_links[--readers->free_count];
    pthread_mutex_unlock(&readers->lock);
    return found ? STATUS_OK
                 : fail(STATUS_UNAVAILABLE, "the store is busy: %d calls read from it for %d s",
                        readers->count, WAIT_MS / 1000);
}

void store_readers_give(struct store_readers *readers, struct store_link *link)
{
    store_link_reset(link);
    pthread_mutex_lock(&readers->lock);
    readers->free_links[readers->free_count++] = link;
    pthread_cond_signal(&readers->given);
    pthread_mutex_unlock(&readers->lock);
}
