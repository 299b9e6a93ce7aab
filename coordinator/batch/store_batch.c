/* Owns the calls that change a batch. Promises that each is carried out once for its request id,
 * and that a batch changes its state only as the table in the header says. */
#include "coordinator/batch/store_batch.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/store_batch_row.h"
#include "coordinator/batch/store_begin.h"
#include "coordinator/batch/store_input.h"
#include "coordinator/batch/store_line_row.h"
#include "coordinator/batch/store_parts.h"
#include "coordinator/batch/store_request.h"

enum { PRIORITY_MAX = 100, ID_LENGTH_MAX = STORE_ID_BYTES - 1 };

/* ---- answers ---- */

/* The answer of an earlier call, if any. */
static enum status find_answer(struct store_link *link, struct store_batch_answer *answer,
                               int64_t tenant, int64_t now_us, const struct store_request *request)
{
    struct store_saved saved = {0};
    TRY(store_request_find(link, &saved, &answer->repeated, tenant, now_us, request));
    if (!answer->repeated)
        return STATUS_OK;
    const enum status status = store_request_load_batch(&answer->batch, &saved);
    store_request_clear(&saved);
    return status;
}

/* Takes the row's batch as the answer, and keeps it under the request id. */
static enum status give_answer(struct store_turn *turn, struct store_batch_answer *answer,
                               struct store_batch_row *row, const struct store_request *request)
{
    struct store_saved saved = {0};
    enum status status = STATUS_OK;
    if (request && request->id && request->id[0]) {
        status = store_request_save_batch(&saved, &row->batch);
        if (status == STATUS_OK)
            status = store_request_keep(turn, row->tenant, request, &saved);
        store_request_clear(&saved);
    }
    if (status == STATUS_OK)
        answer->batch = row->batch;
    else
        store_batch_clear(&row->batch);
    return status;
}

static void forget_answer(struct store_batch_answer *answer)
{
    store_batch_clear(&answer->batch);
    *answer = (struct store_batch_answer){0};
}

enum status store_batch_repeated(struct store *store, struct store_batch_answer *answer,
                                 const char *tenant, const struct store_request *request)
{
    struct store_link *link;
    int64_t number;
    *answer = (struct store_batch_answer){0};
    TRY(store_readers_take(store->readers, &link));
    enum status status = store_tenants_number(link, &number, tenant);
    if (status == STATUS_OK)
        status = find_answer(link, answer, number, store_now_us(store), request);
    store_readers_give(store->readers, link);
    if (status == STATUS_OK && !answer->repeated)
        return fail(STATUS_NOT_FOUND, "nothing was asked for under this request_id");
    return status;
}

/* ---- creation ---- */

struct create {
    const struct store_batch_args *args;
    struct store_batch_answer *answer;
    const char *id;
};

static enum status check_args(const struct store_batch_args *args)
{
    if (args->id && strlen(args->id) > ID_LENGTH_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "batch_id has more than %d characters", ID_LENGTH_MAX);
    if ((args->endpoint && strlen(args->endpoint) >= STORE_ENDPOINT_BYTES) ||
        (args->retry_of && strlen(args->retry_of) >= STORE_ID_BYTES) ||
        args->metadata_bytes > STORE_METADATA_BYTES || args->input_bytes > STORE_BODY_BYTES ||
        args->priority < -PRIORITY_MAX || args->priority > PRIORITY_MAX ||
        args->expires_after_seconds < 0 || args->retention_seconds < 0)
        return fail(STATUS_INVALID_ARGUMENT, "a field of the batch is out of range");
    return STATUS_OK;
}

/* The batch as it begins. */
static enum status fill_row(struct store_turn *turn, struct store_batch_row *row,
                            const struct create *create, int64_t tenant)
{
    const struct store_batch_args *args = create->args;
    struct store_batch *batch = &row->batch;
    *row = (struct store_batch_row){.tenant = tenant};
    TRY(store_begin_number(turn, &batch->number));
    memcpy(batch->id, create->id, strlen(create->id));
    memcpy(batch->endpoint, args->endpoint ? args->endpoint : "",
           args->endpoint ? strlen(args->endpoint) : 0);
    memcpy(batch->retry_of, args->retry_of ? args->retry_of : "",
           args->retry_of ? strlen(args->retry_of) : 0);
    batch->order = args->order;
    batch->priority = args->priority;
    batch->retention_seconds = args->retention_seconds;
    batch->created_us = turn->now_us;
    batch->expires_us = turn->now_us + args->expires_after_seconds * 1000000;
    row->due_us = batch->expires_us;
    batch->state = !args->input  ? STORE_BATCH_UPLOADING
                   : args->lines ? STORE_BATCH_QUEUED
                                 : STORE_BATCH_VALIDATING;
    if (args->metadata_bytes > 0) {
        batch->metadata = malloc(args->metadata_bytes);
        if (!batch->metadata)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a batch");
        memcpy(batch->metadata, args->metadata, args->metadata_bytes);
        batch->metadata_bytes = args->metadata_bytes;
    }
    return STATUS_OK;
}

static enum status fill_error(struct store_batch_row *row, const char *error)
{
    row->batch.error = strndup(error, STORE_ERROR_BYTES - 1);
    return row->batch.error ? STATUS_OK : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a batch");
}

/* Input and lines of a batch that is whole. */
static enum status fill_lines(struct store_turn *turn, struct store_batch_row *row,
                              const struct store_batch_args *args)
{
    struct store_tenant_entry *tenant = store_tenants_at(&turn->store->tenants, row->tenant);
    const struct store_tenant_growth growth = {.stored_bytes = (int64_t)args->input_bytes};
    if (args->error) {
        TRY(fill_error(row, args->error));
        return store_batch_row_end(turn, row, STORE_BATCH_FAILED);
    }
    TRY(store_tenants_check(tenant, args->limits, &growth));
    if (args->input_bytes > 0)
        TRY(store_input_add(turn, row, args->input, args->input_bytes));
    TRY(store_line_row_insert(turn, row, args->lines, args->lines_count, args->limits));
    store_tenants_grow(&turn->store->tenants, tenant, &growth);
    turn->lines |= args->lines_count > 0;
    return store_batch_row_settle(turn, row);
}

static enum status insert(struct store_turn *turn, struct store_batch_row *row,
                          const struct create *create)
{
    const struct store_batch_args *args = create->args;
    if (args->input) {
        TRY(store_writer_begin_part(turn));
        TRY(store_writer_end_part(turn, fill_lines(turn, row, args)));
    }
    return store_batch_row_insert(turn, row);
}

static enum status apply_create(struct store_turn *turn, void *context)
{
    const struct create *create = context;
    const struct store_batch_args *args = create->args;
    struct store_tenant_entry *tenant;
    int64_t number;
    bool there;
    forget_answer(create->answer);
    TRY(store_tenants_find(&turn->store->tenants, turn->link, &tenant, args->tenant));
    TRY(find_answer(turn->link, create->answer, tenant->number, turn->now_us, args->request));
    if (create->answer->repeated)
        return STATUS_OK;
    TRY(store_link_number(turn->link, &number, &there,
                          "SELECT number FROM batches WHERE tenant = ? AND id = ?",
                          store_int(tenant->number), store_text(create->id)));
    if (there)
        return fail(STATUS_ALREADY_EXISTS, "batches/%s is there: choose another batch_id",
                    create->id);
    struct store_batch_row row;
    enum status status = fill_row(turn, &row, create, tenant->number);
    if (status == STATUS_OK)
        status = insert(turn, &row, create);
    if (status != STATUS_OK) {
        store_batch_clear(&row.batch);
        return status;
    }
    return give_answer(turn, create->answer, &row, args->request);
}

enum status store_batch_create(struct store *store, struct store_batch_answer *answer,
                               const struct store_batch_args *args)
{
    char id[STORE_ID_BYTES];
    *answer = (struct store_batch_answer){0};
    TRY(check_args(args));
    const bool chosen = args->id && args->id[0];
    if (!chosen)
        store_make_id(store, id);
    struct create create = {args, answer, chosen ? args->id : id};
    return store_writer_run(store->writer, apply_create, &create);
}

static enum status apply_creation(struct store_turn *turn, void *context)
{
    struct store_batch_creation *creation = context;
    struct create create = {&creation->args, &creation->answer, creation->id};
    return apply_create(turn, &create);
}

static void creation_ended(struct store_change *change, enum status status)
{
    struct store_batch_creation *creation = change->context;
    creation->ended(creation, status);
}

void store_batch_create_later(struct store *store, struct store_batch_creation *creation)
{
    const char *chosen = creation->args.id;
    const enum status status = check_args(&creation->args);
    creation->answer = (struct store_batch_answer){0};
    if (status != STATUS_OK) {
        creation->ended(creation, status);
        return;
    }
    if (chosen && chosen[0])
        memcpy(creation->id, chosen, strlen(chosen) + 1);
    else
        store_make_id(store, creation->id);
    creation->change.apply = apply_creation;
    creation->change.context = creation;
    creation->change.ended = creation_ended;
    store_writer_post(store->writer, &creation->change);
}

/* ---- looking ---- */

enum status store_batch_get(struct store *store, struct store_batch *batch, const char *tenant,
                            const char *id)
{
    struct store_link *link;
    struct store_batch_row row;
    int64_t number;
    TRY(store_readers_take(store->readers, &link));
    enum status status = store_tenants_number(link, &number, tenant);
    if (status == STATUS_OK)
        status = store_batch_row_find(link, &row, number, id);
    store_readers_give(store->readers, link);
    if (status == STATUS_OK)
        *batch = row.batch;
    return status;
}

enum status store_batch_list(struct store *store, const char *tenant, int state, int64_t before,
                             int64_t count, store_batch_take *take, void *context)
{
    struct store_link *link;
    sqlite3_stmt *rows;
    int64_t number;
    TRY(store_readers_take(store->readers, &link));
    enum status status = store_tenants_number(link, &number, tenant);
    if (status == STATUS_OK && state)
        status = store_link_ask(link, &rows,
                                "SELECT" STORE_BATCH_COLUMNS "FROM batches WHERE tenant = ?"
                                " AND state = ? AND number < ? AND sweep < 4"
                                " ORDER BY number DESC LIMIT ?",
                                store_int(number), store_int(state),
                                store_int(before > 0 ? before : INT64_MAX), store_int(count));
    else if (status == STATUS_OK)
        status = store_link_ask(link, &rows,
                                "SELECT" STORE_BATCH_COLUMNS "FROM batches WHERE tenant = ?"
                                " AND number < ? AND sweep < 4 ORDER BY number DESC LIMIT ?",
                                store_int(number), store_int(before > 0 ? before : INT64_MAX),
                                store_int(count));
    while (status == STATUS_OK) {
        bool found;
        struct store_batch_row row;
        status = store_link_step(link, rows, &found);
        if (status != STATUS_OK || !found)
            break;
        status = store_batch_row_read(&row, rows);
        if (status != STATUS_OK)
            break;
        status = take(context, &row.batch);
        store_batch_clear(&row.batch);
    }
    store_readers_give(store->readers, link);
    return status;
}

/* The tenant's name in a column, told with the batch. */
static enum status tell_any(sqlite3_stmt *rows, store_any_batch_take *take, void *context)
{
    enum { NAME_COLUMN = 32 };
    struct store_batch_row row;
    TRY(store_batch_row_read(&row, rows));
    const struct store_any_batch any = {
        .tenant = (const char *)sqlite3_column_text(rows, NAME_COLUMN), .batch = &row.batch};
    const enum status status = take(context, &any);
    store_batch_clear(&row.batch);
    return status;
}

enum status store_batch_each(struct store *store, enum store_batch_state state, int64_t after,
                             int64_t count, store_any_batch_take *take, void *context)
{
    struct store_link *link;
    sqlite3_stmt *rows;
    TRY(store_readers_take(store->readers, &link));
    enum status status = store_link_ask(
        link, &rows,
        "SELECT" STORE_BATCH_COLUMNS ", (SELECT name FROM tenants t WHERE t.number = b.tenant)"
        " FROM batches b WHERE b.tenant IN (SELECT number FROM tenants) AND b.state = ?"
        " AND b.number > ? AND b.sweep < 4 ORDER BY b.number LIMIT ?",
        store_int(state), store_int(after), store_int(count));
    while (status == STATUS_OK) {
        bool found;
        status = store_link_step(link, rows, &found);
        if (status != STATUS_OK || !found)
            break;
        status = tell_any(rows, take, context);
    }
    store_readers_give(store->readers, link);
    return status;
}

/* ---- changes of one batch ---- */

/* What every change below is about: a batch by number, or by id where that is 0. */
struct target {
    const char *tenant;
    int64_t number;
    const char *id;
};

static enum status load(struct store_turn *turn, struct store_batch_row *row,
                        const struct target *target)
{
    const struct store_tenant_entry *tenant =
        store_tenants_known(&turn->store->tenants, target->tenant);
    const int64_t number = tenant ? tenant->number : -1;
    return target->number ? store_batch_row_load(turn->link, row, number, target->number)
                          : store_batch_row_find(turn->link, row, number, target->id);
}

static enum status wrong_state(const struct store_batch_row *row, const char *what)
{
    return fail(STATUS_FAILED_PRECONDITION, "batches/%s %s", row->batch.id, what);
}

struct append {
    struct target target;
    int64_t offset;
    const void *input;
    size_t bytes;
    const struct store_limits *limits;
    int64_t committed_bytes; /* out */
};

static enum status append_to(struct store_turn *turn, struct store_batch_row *row,
                             struct append *append)
{
    append->committed_bytes = row->batch.committed_bytes;
    if (row->batch.state != STORE_BATCH_UPLOADING)
        return wrong_state(row, "takes no lines any more");
    if (append->offset != row->batch.committed_bytes)
        return STATUS_OK; /* the caller looks again */
    struct store_tenant_entry *tenant = store_tenants_at(&turn->store->tenants, row->tenant);
    const struct store_tenant_growth growth = {.stored_bytes = (int64_t)append->bytes};
    TRY(store_tenants_check(tenant, append->limits, &growth));
    TRY(store_input_add(turn, row, append->input, append->bytes));
    TRY(store_batch_row_update(turn, row));
    store_tenants_grow(&turn->store->tenants, tenant, &growth);
    append->committed_bytes = row->batch.committed_bytes;
    return STATUS_OK;
}

static enum status apply_append(struct store_turn *turn, void *context)
{
    struct append *append = context;
    struct store_batch_row row;
    TRY(load(turn, &row, &append->target));
    const enum status status = append_to(turn, &row, append);
    store_batch_clear(&row.batch);
    return status;
}

/* What is there already from `offset` on must be what comes again. */
static enum status compare(struct store *store, const struct append *append)
{
    struct store_batch batch;
    TRY(store_batch_get(store, &batch, append->target.tenant, append->target.id));
    const int64_t number = batch.number, there = batch.committed_bytes;
    store_batch_clear(&batch);
    const int64_t rest = there - append->offset;
    const size_t bytes = rest < (int64_t)append->bytes ? (size_t)rest : append->bytes;
    char *old = malloc(bytes + 1);
    size_t read = 0;
    if (!old)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to compare lines");
    enum status status = store_batch_read_input(store, append->target.tenant, number,
                                                append->offset, old, bytes, &read);
    if (status == STATUS_OK && (read != bytes || memcmp(old, append->input, bytes) != 0))
        status = fail(STATUS_INVALID_ARGUMENT,
                      "batches/%s: the lines from byte %lld on are not those that were sent before",
                      append->target.id, (long long)append->offset);
    free(old);
    return status;
}

enum status store_batch_append(struct store *store, int64_t *committed_bytes, const char *tenant,
                               const char *id, int64_t offset, const void *input, size_t bytes,
                               const struct store_limits *limits)
{
    struct append append = {{tenant, 0, id}, offset, input, bytes, limits, 0};
    struct store_batch batch;
    if (offset < 0 || bytes > STORE_BODY_BYTES)
        return fail(STATUS_INVALID_ARGUMENT, "batches/%s: a piece of lines is out of range", id);
    TRY(store_batch_get(store, &batch, tenant, id));
    append.committed_bytes = batch.committed_bytes;
    store_batch_clear(&batch);
    for (;;) {
        const int64_t there = append.committed_bytes;
        if (append.offset > there)
            return fail(STATUS_OUT_OF_RANGE,
                        "batches/%s: lines from byte %lld on, but it has %lld bytes: go on there",
                        id, (long long)append.offset, (long long)there);
        if (append.offset < there) {
            TRY(compare(store, &append));
            const int64_t known = there - append.offset;
            const size_t skipped = known < (int64_t)append.bytes ? (size_t)known : append.bytes;
            append.offset += (int64_t)skipped;
            append.input = (const char *)append.input + skipped;
            append.bytes -= skipped;
        }
        if (append.bytes == 0)
            break;
        const int64_t end = append.offset + (int64_t)append.bytes;
        TRY(store_writer_run(store->writer, apply_append, &append));
        if (append.committed_bytes == end)
            break;
    }
    *committed_bytes = append.committed_bytes;
    return STATUS_OK;
}

/* The changes of state: `change` says whether the row is to be written. */
struct transition {
    struct target target;
    enum status (*change)(struct store_turn *turn, struct store_batch_row *row,
                          const struct transition *transition, bool *changed);
    const char *text;
};

static enum status apply_transition(struct store_turn *turn, void *context)
{
    const struct transition *transition = context;
    struct store_batch_row row;
    bool changed = false;
    TRY(load(turn, &row, &transition->target));
    enum status status = transition->change(turn, &row, transition, &changed);
    if (status == STATUS_OK && changed)
        status = store_batch_row_update(turn, &row);
    store_batch_clear(&row.batch);
    return status;
}

static enum status seal(struct store_turn *turn, struct store_batch_row *row,
                        const struct transition *transition, bool *changed)
{
    (void)turn;
    (void)transition;
    if (row->batch.state == STORE_BATCH_CANCELLING || row->batch.state == STORE_BATCH_CANCELLED)
        return wrong_state(row, "was cancelled");
    *changed = row->batch.state == STORE_BATCH_UPLOADING;
    if (*changed)
        row->batch.state = STORE_BATCH_VALIDATING;
    return STATUS_OK;
}

enum status store_batch_seal(struct store *store, const char *tenant, const char *id)
{
    struct transition transition = {{tenant, 0, id}, seal, NULL};
    return store_writer_run(store->writer, apply_transition, &transition);
}

static enum status let_run(struct store_turn *turn, struct store_batch_row *row,
                           const struct transition *transition, bool *changed)
{
    if (row->batch.state != STORE_BATCH_VALIDATING || row->batch.expiring)
        return wrong_state(row, "is not being validated");
    row->batch.state = STORE_BATCH_QUEUED;
    if (transition->text) {
        memset(row->batch.endpoint, 0, sizeof row->batch.endpoint);
        memcpy(row->batch.endpoint, transition->text,
               strnlen(transition->text, sizeof row->batch.endpoint - 1));
    }
    *changed = true;
    turn->lines = true;
    return store_batch_row_settle(turn, row);
}

enum status store_batch_queue(struct store *store, const char *tenant, int64_t number,
                              const char *endpoint)
{
    struct transition transition = {{tenant, number, NULL}, let_run, endpoint};
    return store_writer_run(store->writer, apply_transition, &transition);
}

static enum status fail_batch(struct store_turn *turn, struct store_batch_row *row,
                              const struct transition *transition, bool *changed)
{
    if (row->batch.state != STORE_BATCH_UPLOADING && row->batch.state != STORE_BATCH_VALIDATING)
        return wrong_state(row, "is not being validated");
    free(row->batch.error);
    TRY(fill_error(row, transition->text));
    row->sweep = STORE_SWEEP_FORGET;
    *changed = true;
    return store_batch_row_end(turn, row, STORE_BATCH_FAILED);
}

enum status store_batch_fail(struct store *store, const char *tenant, int64_t number,
                             const char *error)
{
    struct transition transition = {{tenant, number, NULL}, fail_batch, error};
    return store_writer_run(store->writer, apply_transition, &transition);
}

struct request_change {
    struct target target;
    const struct store_request *request;
    struct store_batch_answer *answer;
};

/* The tenant's number and the answer of an earlier call. */
static enum status find_earlier(struct store_turn *turn, const struct request_change *change)
{
    const struct store_tenant_entry *tenant =
        store_tenants_known(&turn->store->tenants, change->target.tenant);
    forget_answer(change->answer);
    if (!tenant)
        return STATUS_OK;
    return find_answer(turn->link, change->answer, tenant->number, turn->now_us, change->request);
}

static enum status apply_cancel(struct store_turn *turn, void *context)
{
    const struct request_change *change = context;
    struct store_batch_row row;
    TRY(find_earlier(turn, change));
    if (change->answer->repeated)
        return STATUS_OK;
    TRY(load(turn, &row, &change->target));
    enum status status = STATUS_OK;
    if (store_batch_row_has_ended(&row.batch) || row.batch.expiring)
        status = wrong_state(&row, "has ended");
    else if (row.batch.state != STORE_BATCH_CANCELLING) {
        row.batch.state = STORE_BATCH_CANCELLING;
        row.sweep = STORE_SWEEP_CANCEL;
        status = store_batch_row_settle(turn, &row);
        if (status == STATUS_OK)
            status = store_batch_row_update(turn, &row);
    }
    if (status == STATUS_OK)
        return give_answer(turn, change->answer, &row, change->request);
    store_batch_clear(&row.batch);
    return status;
}

enum status store_batch_cancel(struct store *store, struct store_batch_answer *answer,
                               const char *tenant, const char *id,
                               const struct store_request *request)
{
    struct request_change change = {{tenant, 0, id}, request, answer};
    *answer = (struct store_batch_answer){0};
    return store_writer_run(store->writer, apply_cancel, &change);
}

static enum status apply_delete(struct store_turn *turn, void *context)
{
    const struct request_change *change = context;
    struct store_batch_row row;
    TRY(find_earlier(turn, change));
    if (change->answer->repeated)
        return STATUS_OK;
    TRY(load(turn, &row, &change->target));
    enum status status = STATUS_OK;
    if (!store_batch_row_has_ended(&row.batch))
        status = wrong_state(&row, "has not ended: cancel it first");
    else {
        row.sweep = STORE_SWEEP_DELETE;
        status = store_batch_row_update(turn, &row);
    }
    if (status == STATUS_OK)
        return give_answer(turn, change->answer, &row, change->request);
    store_batch_clear(&row.batch);
    return status;
}

enum status store_batch_delete(struct store *store, const char *tenant, const char *id,
                               const struct store_request *request)
{
    struct store_batch_answer answer = {0};
    struct request_change change = {{tenant, 0, id}, request, &answer};
    const enum status status = store_writer_run(store->writer, apply_delete, &change);
    store_batch_clear(&answer.batch);
    return status;
}

/* ---- input and lines ---- */

enum status store_batch_read_input(struct store *store, const char *tenant, int64_t number,
                                   int64_t offset, void *buffer, size_t bytes, size_t *read)
{
    struct store_link *link;
    struct store_batch_row row;
    int64_t tenant_number;
    TRY(store_readers_take(store->readers, &link));
    enum status status = store_tenants_number(link, &tenant_number, tenant);
    if (status == STATUS_OK)
        status = store_batch_row_load(link, &row, tenant_number ? tenant_number : -1, number);
    if (status == STATUS_OK) {
        const int64_t rest = row.batch.committed_bytes - offset;
        const size_t wanted = rest < 0 ? 0 : rest < (int64_t)bytes ? (size_t)rest : bytes;
        status = store_input_read(store, link, &row, buffer, wanted, offset, true);
        store_batch_clear(&row.batch);
        if (status == STATUS_OK)
            *read = wanted;
    }
    store_readers_give(store->readers, link);
    return status;
}

struct add_lines {
    struct target target;
    int64_t first_line;
    const struct store_new_line *lines;
    size_t count;
    const struct store_limits *limits;
};

static enum status add_lines_to(struct store_turn *turn, struct store_batch_row *row,
                                const struct add_lines *add)
{
    if (row->batch.state != STORE_BATCH_VALIDATING || row->batch.expiring)
        return wrong_state(row, "is not being validated");
    if (add->first_line != row->batch.counts.total + 1)
        return fail(STATUS_FAILED_PRECONDITION, "batches/%s: its next line is %lld, not %lld",
                    row->batch.id, (long long)row->batch.counts.total + 1,
                    (long long)add->first_line);
    TRY(store_line_row_insert(turn, row, add->lines, add->count, add->limits));
    return store_batch_row_update(turn, row);
}

static enum status apply_add_lines(struct store_turn *turn, void *context)
{
    const struct add_lines *add = context;
    struct store_batch_row row;
    TRY(load(turn, &row, &add->target));
    enum status status = store_writer_begin_part(turn);
    if (status == STATUS_OK)
        status = store_writer_end_part(turn, add_lines_to(turn, &row, add));
    store_batch_clear(&row.batch);
    return status;
}

enum status store_batch_add_lines(struct store *store, const char *tenant, int64_t number,
                                  int64_t first_line, const struct store_new_line *lines,
                                  size_t count, const struct store_limits *limits)
{
    struct add_lines add = {{tenant, number, NULL}, first_line, lines, count, limits};
    return store_writer_run(store->writer, apply_add_lines, &add);
}
