/* Owns one page of results at a time. Promises flat memory, however many lines a batch has. */
#include "coordinator/http/http_results.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/line_result.h"
#include "coordinator/batch/store_line.h"
#include "coordinator/http/http_store.h"
#include "coordinator/openai/openai_files.h"
#include "proto/clock.h"
#include "proto/json_writer.h"

enum { PAGE_LINES = 256, PAGE_BYTES = 1 << 20 };

/* Lines on their way out. */
struct results {
    struct http_exchange *exchange;
    struct store *store;
    struct store_batch batch;
    bool errors; /* those that did not end well, not the others */
    struct store_result_walk walk;
    bool over;
    char *page;        /* lines, each with its line feed */
    size_t first, end; /* [first, end) is to be given */
    FILE *file;        /* of the page, while it is made */
    int64_t begun_ns;
};

bool http_results_is(const char *id)
{
    return strncmp(id, HTTP_OUTPUT_PREFIX, sizeof HTTP_OUTPUT_PREFIX - 1) == 0 ||
           strncmp(id, HTTP_ERRORS_PREFIX, sizeof HTTP_ERRORS_PREFIX - 1) == 0;
}

static void close_results(void *context)
{
    struct results *results = context;
    store_batch_clear(&results->batch);
    free(results->page);
    free(results);
}

static enum status open_results(struct results **results, struct http_exchange *exchange)
{
    const struct batch_tools *tools = NULL;
    const char *id = NULL;
    TRY(http_store_tools(exchange, &tools));
    struct results *r = calloc(1, sizeof *r);
    if (!r)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for results");
    enum status status = http_store_id(&id, exchange->name, HTTP_OUTPUT_PREFIX);
    r->errors = status != STATUS_OK;
    if (r->errors)
        status = http_store_id(&id, exchange->name, HTTP_ERRORS_PREFIX);
    if (status == STATUS_OK)
        status = store_batch_get(tools->store, &r->batch, exchange->caller.tenant.name, id);
    if (status != STATUS_OK) {
        free(r);
        return http_store_end(exchange, status);
    }
    r->exchange = exchange;
    r->store = tools->store;
    r->begun_ns = clock_now_ns();
    r->walk = (struct store_result_walk){
        .tenant = exchange->caller.tenant.name,
        .batch = r->batch.number,
        .count = PAGE_LINES,
        .bytes = PAGE_BYTES,
    };
    *results = r;
    return STATUS_OK;
}

static enum status take_result(void *context, const struct store_told_result *told)
{
    struct results *results = context;
    struct line_result result;
    if ((told->state != STORE_LINE_COMPLETED) != results->errors)
        return STATUS_OK;
    TRY(line_result_told(&result, results->batch.id, told));
    fwrite(result.json, 1, result.bytes, results->file);
    fputc('\n', results->file);
    line_result_deinit(&result);
    return STATUS_OK;
}

/* The next page that has anything, or the end of what is there now. */
static enum status make_page(struct results *results)
{
    results->first = results->end = 0;
    while (results->end == 0 && !results->over) {
        const int64_t before = results->walk.after;
        free(results->page);
        results->page = NULL;
        results->file = open_memstream(&results->page, &results->end);
        if (!results->file)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for results");
        const enum status status =
            store_line_results(results->store, &results->walk, take_result, results);
        if (fclose(results->file) != 0)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for results");
        TRY(status);
        results->over = results->walk.complete || results->walk.after == before;
    }
    return STATUS_OK;
}

static ssize_t give(void *context, uint64_t position, char *buffer, size_t most)
{
    struct results *results = context;
    http_connection_pace(results->exchange->peer, results->begun_ns, position);
    if (results->first == results->end && make_page(results) != STATUS_OK)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    const size_t left = results->end - results->first, given = left < most ? left : most;
    if (given == 0)
        return MHD_CONTENT_READER_END_OF_STREAM;
    memcpy(buffer, results->page + results->first, given);
    results->first += given;
    return (ssize_t)given;
}

enum status http_results_content(struct http_exchange *exchange)
{
    struct results *results = NULL;
    TRY(open_results(&results, exchange));
    exchange->work = results;
    exchange->end_work = close_results;
    return http_reply_stream(exchange, "application/jsonl", give, results);
}

static enum status reply_file(struct results *results)
{
    struct http_exchange *exchange = results->exchange;
    char filename[HTTP_ID_BYTES + 16];
    struct http_text text;
    int64_t bytes = 0;
    do {
        TRY(make_page(results));
        bytes += (int64_t)results->end;
    } while (results->end > 0);
    snprintf(filename, sizeof filename, "%s_%s.jsonl", results->batch.id,
             results->errors ? "errors" : "output");
    const struct openai_file file = {
        .id = exchange->name,
        .filename = filename,
        .purpose = "batch_output",
        .bytes = bytes,
        .created_s = results->batch.created_us / 1000000,
    };
    TRY(http_text_open(&text));
    struct json_writer writer = {.file = text.file};
    openai_file_write(&writer, &file);
    return http_reply_json(exchange, &text);
}

enum status http_results_file(struct http_exchange *exchange)
{
    struct results *results = NULL;
    TRY(open_results(&results, exchange));
    const enum status status = reply_file(results);
    close_results(results);
    return status;
}
