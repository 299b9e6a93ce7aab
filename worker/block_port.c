/* Owns a command's blocks on their way. Promises that what the engine gets are the bytes that were
 * saved. */
#include "worker/block_port.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "proto/cache_file/cache_block.h"
#include "proto/clock.h"

/* One that has come, as it is stored. */
struct received {
    uint8_t *bytes; /* the port's */
    size_t count;
    int64_t number;
    uint64_t digest;
};

struct block_port {
    struct cache_header header;
    uint64_t run;
    struct reports *reports;
    /* The engine's thread's own. */
    struct cache_packer *packer;
    uint8_t *records; /* [a block] */
    int64_t untold;   /* that were taken, and the coordinator does not know of */

    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct received received[CACHE_BLOCKS_AHEAD]; /* [count] from `first` on, around */
    int first, count;
    int64_t room; /* blocks that the coordinator takes */
};

enum status block_port_create(struct block_port **out, const struct cache_header *header,
                              uint64_t run, struct reports *reports)
{
    const size_t most = cache_header_block_most(header);
    struct block_port *port = calloc(1, sizeof *port);
    if (!port)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for blocks of keys");
    *port = (struct block_port){
        .header = *header, .run = run, .reports = reports, .room = CACHE_BLOCKS_AHEAD};
    pthread_mutex_init(&port->lock, NULL);
    pthread_cond_init(&port->changed, NULL);
    enum status status =
        cache_packer_create(&port->packer, most, cache_header_element_bytes(header));
    port->records = malloc(most);
    if (status == STATUS_OK && !port->records)
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for blocks of %zu bytes", most);
    if (status != STATUS_OK) {
        block_port_destroy(port);
        return status;
    }
    *out = port;
    return STATUS_OK;
}

void block_port_destroy(struct block_port *port)
{
    if (!port)
        return;
    for (; port->count > 0; port->count--)
        free(port->received[(port->first + port->count - 1) % CACHE_BLOCKS_AHEAD].bytes);
    cache_packer_destroy(port->packer);
    pthread_mutex_destroy(&port->lock);
    pthread_cond_destroy(&port->changed);
    free(port->records);
    free(port);
}

/* ---- the listener's side ---- */

enum status block_port_take(struct block_port *port, const Longhaul__Control__V1__RunBlock *message)
{
    const size_t bytes = message->stored.len;
    struct received received = {malloc(bytes + 1), bytes, message->number, message->digest};
    if (!received.bytes)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a block of %zu bytes", bytes);
    memcpy(received.bytes, message->stored.data, bytes);
    pthread_mutex_lock(&port->lock);
    const bool fits = port->count < CACHE_BLOCKS_AHEAD;
    if (fits)
        port->received[(port->first + port->count++) % CACHE_BLOCKS_AHEAD] = received;
    pthread_cond_signal(&port->changed);
    pthread_mutex_unlock(&port->lock);
    if (fits)
        return STATUS_OK;
    free(received.bytes);
    return fail(STATUS_INTERNAL, "the coordinator sends more blocks of keys than were asked for");
}

void block_port_taken(struct block_port *port, int64_t blocks)
{
    pthread_mutex_lock(&port->lock);
    port->room += blocks;
    pthread_cond_signal(&port->changed);
    pthread_mutex_unlock(&port->lock);
}

/* ---- the engine's ---- */

static bool wait_for(struct block_port *port, bool sends, int64_t wait_ms)
{
    const int64_t deadline_ns = clock_after_ms(wait_ms);
    pthread_mutex_lock(&port->lock);
    while ((sends ? port->room : port->count) == 0 && wait_ms > 0 &&
           clock_wait(&port->changed, &port->lock, deadline_ns))
        ;
    const bool ready = (sends ? port->room : port->count) > 0;
    pthread_mutex_unlock(&port->lock);
    return ready;
}

static bool has_room(void *context, int64_t wait_ms)
{
    return wait_for(context, true, wait_ms);
}

static bool has_block(void *context, int64_t wait_ms)
{
    return wait_for(context, false, wait_ms);
}

static enum status put(void *context, const struct engine_block *block, const void *records,
                       size_t bytes)
{
    struct block_port *port = context;
    const struct cache_place place = {block->store, block->panel, block->layer};
    struct cache_stored stored = {.number = cache_header_number(&port->header, &place)};
    if (stored.number < 0)
        return fail(STATUS_INTERNAL, "panel %lld, layer %d, has no place in a file",
                    (long long)block->panel, block->layer);
    cache_block_pack(port->packer, &stored.bytes, &stored.count, records, bytes);
    stored.digest = cache_block_digest(stored.bytes, stored.count, stored.number);
    pthread_mutex_lock(&port->lock);
    port->room--;
    pthread_mutex_unlock(&port->lock);
    return reports_block(port->reports, port->run, &stored);
}

static struct received pop(struct block_port *port)
{
    pthread_mutex_lock(&port->lock);
    const struct received popped = port->received[port->first];
    port->first = (port->first + 1) % CACHE_BLOCKS_AHEAD;
    port->count--;
    pthread_mutex_unlock(&port->lock);
    return popped;
}

static enum status unpack(struct block_port *port, const struct received *received, size_t bytes)
{
    const struct cache_stored stored = {.bytes = received->bytes,
                                        .count = received->count,
                                        .number = received->number,
                                        .digest = received->digest,
                                        .name = "the saved session"};
    return cache_block_unpack(port->packer, port->records, bytes, &stored);
}

static enum status get(void *context, struct engine_block *block, const void **records,
                       size_t *bytes)
{
    struct block_port *port = context;
    const struct received received = pop(port);
    enum status status = STATUS_OK;
    if (received.number < 0 || received.number >= cache_header_blocks(&port->header)) {
        status = fail(STATUS_DATA_LOSS, "block %lld of a saved session that has %lld",
                      (long long)received.number, (long long)cache_header_blocks(&port->header));
    } else {
        const struct cache_place place = cache_header_place(&port->header, received.number);
        *bytes = cache_header_block_bytes(&port->header, received.number);
        status = unpack(port, &received, *bytes);
        *block = (struct engine_block){place.store, place.panel, place.layer};
        *records = port->records;
    }
    free(received.bytes);
    TRY(status);
    if (++port->untold < CACHE_BLOCKS_AHEAD / 4)
        return STATUS_OK;
    const int64_t untold = port->untold;
    port->untold = 0;
    return reports_blocks_taken(port->reports, port->run, untold);
}

struct engine_port block_port_view(struct block_port *port)
{
    return (struct engine_port){
        .context = port, .has_room = has_room, .has_block = has_block, .put = put, .get = get};
}
