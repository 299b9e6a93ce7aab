/* Owns a page of results while it is told. */
#include "coordinator/batch/result_calls.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "coordinator/batch/batch_message.h"
#include "coordinator/batch/batch_tools.h"
#include "coordinator/batch/line_result.h"
#include "coordinator/batch/store_line.h"
#include "longhaul/v1/batches.pb-c.h"
#include "proto/clock.h"

enum {
    PAGE_BYTES = 8 << 20,
    PART_RESULTS = 256, /* of one message of a stream */
    PART_BYTES = 1 << 20,
    WATCH_MS = 500, /* a batch is told at most twice a second */
    LOOK_MS = 100,
};

/* ---- which batch, and from where ---- */

struct walk {
    const struct batch_context *context;
    struct store_result_walk store;
    char id[STORE_ID_BYTES];
    char what[128]; /* what its page tokens belong to */
};

static enum status walk_begin(struct walk *walk, const struct batch_context *context,
                              const char *name, const char *token)
{
    struct store_batch batch;
    const char *id = NULL;
    TRY(batch_tools_name(context, &id, name, "batches"));
    TRY(store_batch_get(context->tools->store, &batch, context->tenant, id));
    *walk = (struct walk){
        .context = context,
        .store =
            {
                .tenant = context->tenant,
                .batch = batch.number,
                .input_order = batch.order == LONGHAUL__V1__RESULT_ORDER__RESULT_ORDER_INPUT,
            },
    };
    store_batch_clear(&batch);
    snprintf(walk->id, sizeof walk->id, "%s", id);
    snprintf(walk->what, sizeof walk->what, "results.%" PRId64, walk->store.batch);
    return batch_tools_place(context->details, &walk->store.after, walk->what, token);
}

/* ---- a page of results ---- */

struct told {
    Longhaul__V1__Result message;
    struct line_result result;
    char *custom_id;
    char cursor[BATCH_TOOLS_TOKEN_BYTES];
};

struct page {
    struct walk *walk;
    struct told *told;              /* [room] */
    Longhaul__V1__Result **results; /* [room] */
    size_t count, room;
};

static enum status page_init(struct page *page, struct walk *walk, int64_t count, int64_t bytes)
{
    *page = (struct page){.walk = walk, .room = (size_t)count};
    walk->store.count = count;
    walk->store.bytes = bytes;
    page->told = calloc(page->room, sizeof *page->told);
    page->results = calloc(page->room, sizeof *page->results);
    return page->told && page->results
               ? STATUS_OK
               : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a page of results");
}

static void page_clear(struct page *page)
{
    for (size_t i = 0; i < page->count; i++) {
        line_result_deinit(&page->told[i].result);
        free(page->told[i].custom_id);
    }
    page->count = 0;
}

static void page_deinit(struct page *page)
{
    page_clear(page);
    free(page->told);
    free(page->results);
}

static enum status add(void *context, const struct store_told_result *from)
{
    struct page *page = context;
    struct told *told = &page->told[page->count];
    *told = (struct told){.result = {.json = NULL}};
    TRY(line_result_told(&told->result, page->walk->id, from));
    told->custom_id = strdup(from->custom_id);
    if (!told->custom_id) {
        line_result_deinit(&told->result);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a result");
    }
    batch_tools_token(told->cursor, page->walk->what, from->cursor);
    longhaul__v1__result__init(&told->message);
    told->message.custom_id = told->custom_id;
    told->message.line = from->line;
    told->message.status_code = told->result.status_code;
    told->message.json = told->result.json;
    told->message.cursor = told->cursor;
    page->results[page->count++] = &told->message;
    return STATUS_OK;
}

static enum status page_fill(struct page *page)
{
    page_clear(page);
    return store_line_results(page->walk->context->tools->store, &page->walk->store, add, page);
}

static enum status tell_page(struct page *page)
{
    Longhaul__V1__ListResultsResponse response = LONGHAUL__V1__LIST_RESULTS_RESPONSE__INIT;
    char token[BATCH_TOOLS_TOKEN_BYTES];
    TRY(page_fill(page));
    response.n_results = page->count;
    response.results = page->results;
    response.complete = page->walk->store.complete;
    if (!response.complete && page->count > 0) {
        batch_tools_token(token, page->walk->what, page->walk->store.after);
        response.next_page_token = token;
    }
    return rpc_call_write(page->walk->context->call, &response.base);
}

enum status result_calls_list(const struct batch_context *context, const ProtobufCMessage *message)
{
    const Longhaul__V1__ListResultsRequest *request = (const void *)message;
    struct walk walk;
    struct page page;
    int64_t count = 0;
    TRY(batch_tools_page_size(context->details, &count, request->page_size));
    TRY(walk_begin(&walk, context, request->name, request->page_token));
    enum status status = page_init(&page, &walk, count, PAGE_BYTES);
    if (status == STATUS_OK)
        status = tell_page(&page);
    page_deinit(&page);
    return status;
}

/* ---- a stream of results ---- */

static enum status tell_parts(struct page *page)
{
    struct rpc_call *call = page->walk->context->call;
    struct store_result_walk *walk = &page->walk->store;
    uint64_t seen = 0;
    for (;;) {
        if (rpc_call_cancelled(call))
            return fail(STATUS_CANCELLED, "the client left");
        TRY(page_fill(page));
        if (page->count > 0) {
            Longhaul__V1__StreamResultsResponse part = LONGHAUL__V1__STREAM_RESULTS_RESPONSE__INIT;
            part.n_results = page->count;
            part.results = page->results;
            TRY(rpc_call_write(call, &part.base));
        }
        if (walk->complete)
            return STATUS_OK;
        if (page->count == 0)
            store_wait_batch(page->walk->context->tools->store, walk->batch, &seen, LOOK_MS);
    }
}

enum status result_calls_stream(const struct batch_context *context,
                                const ProtobufCMessage *message)
{
    const Longhaul__V1__StreamResultsRequest *request = (const void *)message;
    struct walk walk;
    struct page page;
    TRY(walk_begin(&walk, context, request->name, request->cursor));
    enum status status = page_init(&page, &walk, PART_RESULTS, PART_BYTES);
    if (status == STATUS_OK)
        status = tell_parts(&page);
    page_deinit(&page);
    return status;
}

/* ---- watch ---- */

static void pause_ms(int64_t ms)
{
    const struct timespec wait = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    nanosleep(&wait, NULL);
}

static enum status tell_batch(const struct batch_context *context, const char *id, int64_t *number,
                              bool *ended)
{
    struct store_batch batch;
    struct batch_message message;
    TRY(store_batch_get(context->tools->store, &batch, context->tenant, id));
    *number = batch.number;
    *ended = batch_message_has_ended(&batch);
    enum status status = batch_message_init(&message, &batch);
    if (status == STATUS_OK)
        status = rpc_call_write(context->call, &message.message.base);
    batch_message_deinit(&message);
    store_batch_clear(&batch);
    return status;
}

/* Until something has changed, and at least WATCH_MS. */
static enum status wait_for_change(const struct batch_context *context, int64_t number,
                                   uint64_t *seen)
{
    const int64_t earliest_ns = clock_after_ms(WATCH_MS);
    const uint64_t before = *seen;
    while (*seen == before || clock_now_ns() < earliest_ns) {
        if (rpc_call_cancelled(context->call))
            return fail(STATUS_CANCELLED, "the client left");
        if (*seen == before)
            store_wait_batch(context->tools->store, number, seen, LOOK_MS);
        else
            pause_ms(LOOK_MS);
    }
    return STATUS_OK;
}

enum status result_calls_watch(const struct batch_context *context, const ProtobufCMessage *message)
{
    const Longhaul__V1__WatchBatchRequest *request = (const void *)message;
    const char *id = NULL;
    int64_t number = 0;
    uint64_t seen = 0;
    bool ended = false;
    TRY(batch_tools_name(context, &id, request->name, "batches"));
    TRY(tell_batch(context, id, &number, &ended));
    while (!ended) {
        TRY(wait_for_change(context, number, &seen));
        TRY(tell_batch(context, id, &number, &ended));
    }
    return STATUS_OK;
}
