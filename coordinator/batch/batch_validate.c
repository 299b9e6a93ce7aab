/* Owns the thread that validates. Promises that its memory does not grow with a batch's lines. */
#include "coordinator/batch/batch_validate.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/batch_tools.h"
#include "coordinator/batch/line_check.h"
#include "coordinator/batch/line_splitter.h"
#include "coordinator/batch/store_batch.h"
#include "coordinator/batch/store_line.h"
#include "proto/clock.h"
#include "proto/log.h"

enum {
    PIECE_BYTES = 1 << 20, /* of input, read at a time */
    SLICE_LINES = 512,     /* added in one transaction */
    SLICE_MS = 500,        /* before another batch has its turn */
    LOOK_MS = 1000,
    BATCHES = 64, /* that are looked at in one round */
    TENANT_BYTES = 128,
};

struct batch_validate {
    struct store *store;
    struct line_request_tools tools;
    struct access *access;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint64_t wakes; /* under the lock */
    atomic_bool stopping;
};

/* A batch of which some lines are about to be read. */
struct slice {
    struct batch_validate *validate;
    char tenant[TENANT_BYTES];
    char id[STORE_ID_BYTES];
    int64_t number;
    char endpoint[STORE_ENDPOINT_BYTES];
    int64_t first_line; /* the next one to add */
    struct checked_line *checked;
    struct store_new_line *lines; /* [SLICE_LINES] each */
    size_t count;
    int64_t until_ns;
    bool over;       /* its time is used up */
    bool over_quota; /* its tenant has no room for the lines */
};

/* ---- reading lines ---- */

/* Whether the tenant's quota is why the lines were not taken; it may be memory, too. */
static bool exceeds(const struct slice *slice, const struct store_limits *limits)
{
    struct store_tenant tenant;
    if (store_read_tenant(slice->validate->store, slice->tenant, &tenant) != STATUS_OK)
        return false;
    for (size_t i = 0; i < slice->count; i++) {
        tenant.stored_bytes += (int64_t)slice->lines[i].failed_body_bytes;
        if (!slice->lines[i].failed_code)
            tenant.queued_tokens += slice->lines[i].queued_tokens;
    }
    return (limits->queued_tokens > 0 && tenant.queued_tokens > limits->queued_tokens) ||
           (limits->stored_bytes > 0 && tenant.stored_bytes > limits->stored_bytes);
}

static enum status add_within_quota(struct slice *slice)
{
    char sentence[STORE_ERROR_BYTES];
    struct access_tenant tenant;
    access_tenant(slice->validate->access, &tenant, slice->tenant);
    const struct store_limits limits = batch_tools_limits(&tenant);
    const enum status status =
        store_batch_add_lines(slice->validate->store, slice->tenant, slice->number,
                              slice->first_line, slice->lines, slice->count, &limits);
    if (status != STATUS_RESOURCE_EXHAUSTED)
        return status;
    snprintf(sentence, sizeof sentence, "%s", status_message());
    slice->over_quota = exceeds(slice, &limits);
    return fail(status, "%s", sentence);
}

static enum status add_lines(struct slice *slice)
{
    for (size_t i = 0; i < slice->count; i++)
        slice->lines[i] = slice->checked[i].line;
    enum status status = STATUS_OK;
    if (slice->count > 0)
        status = add_within_quota(slice);
    for (size_t i = 0; i < slice->count; i++)
        line_check_deinit(&slice->checked[i]);
    slice->first_line += (int64_t)slice->count;
    slice->count = 0;
    return status;
}

static enum status take_line(void *context, const struct split_line *line)
{
    struct slice *slice = context;
    struct line_request request;
    const struct line_check_place place = {
        slice->tenant, slice->id, line->number, line->offset, line->stream_bytes, slice->endpoint,
    };
    if (slice->over) /* the rest of a piece is read again by the next slice */
        return STATUS_OK;
    enum status status = line_check(&slice->checked[slice->count], &request,
                                    &slice->validate->tools, &place, line->text, line->bytes);
    line_request_deinit(&request);
    if (status != STATUS_OK) {
        line_check_deinit(&slice->checked[slice->count]);
        return status;
    }
    slice->count++;
    slice->over = atomic_load(&slice->validate->stopping) || clock_now_ns() >= slice->until_ns;
    return slice->over || slice->count == SLICE_LINES ? add_lines(slice) : STATUS_OK;
}

static enum status note_end(void *context, const struct store_line *line)
{
    *(int64_t *)context = line->offset + line->bytes + 1;
    return STATUS_OK;
}

/* Where the first line stands that is not in the store yet. */
static enum status find_offset(const struct slice *slice, int64_t *offset)
{
    *offset = 0;
    if (slice->first_line == 1)
        return STATUS_OK;
    const unsigned any = 1u << STORE_LINE_WAITING | 1u << STORE_LINE_FAILED;
    return store_line_list(slice->validate->store, slice->tenant, slice->number, any,
                           slice->first_line - 1, 1, note_end, offset);
}

/* Reads on until the slice's time is over or the input ends; `*whole` says which. */
static enum status read_lines(struct slice *slice, bool *whole)
{
    struct line_splitter splitter;
    int64_t offset = 0;
    TRY(find_offset(slice, &offset));
    char *piece = malloc(PIECE_BYTES);
    if (!piece)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a piece of a batch's input");
    line_splitter_init(&splitter, OPENAI_BODY_BYTES_MAX, slice->first_line - 1, offset);
    enum status status = STATUS_OK;
    size_t got = PIECE_BYTES;
    while (status == STATUS_OK && !slice->over && got == PIECE_BYTES) {
        status = store_batch_read_input(slice->validate->store, slice->tenant, slice->number,
                                        offset, piece, PIECE_BYTES, &got);
        if (status == STATUS_OK)
            status = line_splitter_feed(&splitter, piece, got, take_line, slice);
        offset += (int64_t)got;
    }
    if (status == STATUS_OK && !slice->over)
        status = line_splitter_end(&splitter, take_line, slice);
    *whole = !slice->over;
    if (status == STATUS_OK)
        status = add_lines(slice);
    line_splitter_deinit(&splitter);
    free(piece);
    return status;
}

/* ---- the url of all lines ---- */

static enum status note_number(void *context, const struct store_line *line)
{
    *(int64_t *)context = line->line;
    return STATUS_OK;
}

/* The first line that was right has said it; the batch knows it once all are read. */
static enum status find_endpoint(struct slice *slice)
{
    struct store *store = slice->validate->store;
    struct status_details details = {.reason = NULL};
    struct batch_line parts;
    int64_t number = 0;
    char *text = NULL;
    size_t bytes = 0;
    if (slice->endpoint[0] || slice->first_line == 1)
        return STATUS_OK;
    TRY(store_line_list(store, slice->tenant, slice->number, 1u << STORE_LINE_WAITING, 1, 1,
                        note_number, &number));
    if (number == 0)
        return STATUS_OK;
    TRY(store_line_read_text(store, slice->tenant, slice->number, number, &text, &bytes));
    enum status status = batch_line_parse(&parts, &details, text, bytes);
    if (status == STATUS_OK)
        snprintf(slice->endpoint, sizeof slice->endpoint, "%s", parts.url);
    free(text);
    return status;
}

/* ---- a slice of a batch ---- */

static enum status slice_init(struct slice *slice)
{
    slice->checked = calloc(SLICE_LINES, sizeof *slice->checked);
    slice->lines = calloc(SLICE_LINES, sizeof *slice->lines);
    slice->until_ns = clock_after_ms(SLICE_MS);
    return slice->checked && slice->lines
               ? STATUS_OK
               : fail(STATUS_RESOURCE_EXHAUSTED, "no memory to validate a batch");
}

static void slice_deinit(struct slice *slice)
{
    for (size_t i = 0; i < slice->count; i++)
        line_check_deinit(&slice->checked[i]);
    free(slice->checked);
    free(slice->lines);
}

/* What the store says no to for good is the batch's own fault. */
static enum status settle(struct slice *slice, enum status status, bool whole)
{
    char sentence[STORE_ERROR_BYTES];
    struct store *store = slice->validate->store;
    if (status == STATUS_OK && whole) {
        log_line(LOG_INFO, "batch validated", log_text("batch", slice->id),
                 log_integer("lines", slice->first_line - 1));
        return store_batch_queue(store, slice->tenant, slice->number,
                                 slice->endpoint[0] ? slice->endpoint : NULL);
    }
    const bool wrong = line_request_is_wrong(status) && status != STATUS_FAILED_PRECONDITION;
    if (!wrong && !slice->over_quota)
        return status;
    snprintf(sentence, sizeof sentence, "%s", status_message());
    log_line(LOG_INFO, "batch refused", log_text("batch", slice->id), log_text("why", sentence));
    return store_batch_fail(store, slice->tenant, slice->number, sentence);
}

static enum status validate_slice(struct slice *slice)
{
    struct store_batch batch;
    bool whole = false;
    TRY(store_batch_get(slice->validate->store, &batch, slice->tenant, slice->id));
    const bool wanted = batch.state == STORE_BATCH_VALIDATING;
    slice->first_line = batch.counts.total + 1;
    snprintf(slice->endpoint, sizeof slice->endpoint, "%s", batch.endpoint);
    store_batch_clear(&batch);
    if (!wanted)
        return STATUS_OK;
    TRY(find_endpoint(slice));
    enum status status = slice_init(slice);
    if (status == STATUS_OK)
        status = read_lines(slice, &whole);
    status = settle(slice, status, whole);
    slice_deinit(slice);
    return status;
}

/* ---- the thread ---- */

struct round {
    struct slice slices[BATCHES];
    size_t count;
};

static enum status add_to_round(void *context, const struct store_any_batch *any)
{
    struct round *round = context;
    struct slice *slice = &round->slices[round->count++];
    *slice = (struct slice){.number = any->batch->number};
    snprintf(slice->tenant, sizeof slice->tenant, "%s", any->tenant);
    snprintf(slice->id, sizeof slice->id, "%s", any->batch->id);
    return STATUS_OK;
}

/* Gives every batch that waits a slice; whether there was one. */
static bool validate_round(struct batch_validate *validate, struct round *round)
{
    round->count = 0;
    enum status status =
        store_batch_each(validate->store, STORE_BATCH_VALIDATING, 0, BATCHES, add_to_round, round);
    for (size_t i = 0; i < round->count && !atomic_load(&validate->stopping); i++) {
        round->slices[i].validate = validate;
        const enum status each = validate_slice(&round->slices[i]);
        status = each != STATUS_OK ? each : status;
        if (each != STATUS_OK)
            log_line(LOG_WARN, "batch not validated yet", log_text("batch", round->slices[i].id),
                     log_text("why", status_message()));
    }
    return status == STATUS_OK && round->count > 0;
}

static void wait_for_work(struct batch_validate *validate, uint64_t *seen)
{
    pthread_mutex_lock(&validate->lock);
    const int64_t until_ns = clock_after_ms(LOOK_MS);
    while (!atomic_load(&validate->stopping) && validate->wakes == *seen &&
           clock_wait(&validate->changed, &validate->lock, until_ns))
        ;
    *seen = validate->wakes;
    pthread_mutex_unlock(&validate->lock);
}

static void *validate_thread(void *context)
{
    struct batch_validate *validate = context;
    struct round *round = calloc(1, sizeof *round);
    uint64_t seen = 0;
    while (!atomic_load(&validate->stopping))
        if (!round || !validate_round(validate, round))
            wait_for_work(validate, &seen);
    free(round);
    return NULL;
}

enum status batch_validate_create(struct batch_validate **validate, struct store *store,
                                  const struct prompt_forms *forms, struct access *access)
{
    struct batch_validate *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to validate batches");
    made->store = store;
    made->tools = (struct line_request_tools){store, forms};
    made->access = access;
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->changed, NULL);
    if (pthread_create(&made->thread, NULL, validate_thread, made) != 0) {
        pthread_cond_destroy(&made->changed);
        pthread_mutex_destroy(&made->lock);
        free(made);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no thread to validate batches");
    }
    *validate = made;
    return STATUS_OK;
}

void batch_validate_destroy(struct batch_validate *validate)
{
    if (!validate)
        return;
    atomic_store(&validate->stopping, true);
    batch_validate_wake(validate);
    pthread_join(validate->thread, NULL);
    pthread_cond_destroy(&validate->changed);
    pthread_mutex_destroy(&validate->lock);
    free(validate);
}

void batch_validate_wake(struct batch_validate *validate)
{
    pthread_mutex_lock(&validate->lock);
    validate->wakes++;
    pthread_cond_broadcast(&validate->changed);
    pthread_mutex_unlock(&validate->lock);
}
