/* Owns a drawn history and its facts. */
#include "tests/durability/store_history.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/store_batch.h"
#include "coordinator/batch/store_document.h"
#include "coordinator/batch/store_line.h"
#include "tests/support/random.h"

enum { BATCHES = 512, LINES = 3, DOCUMENTS = 64, TEXT_BYTES = 150 * 1000, LONG = 90 * 1000 };

#define NEVER INT64_MAX

/* Step numbers say since when something holds: NEVER for what has not happened. A thing that may
 * have happened in the step after the last acknowledged one is checked neither way. */
struct line {
    int64_t epoch;     /* of the lease that is held; 0: none */
    int64_t committed; /* the step that committed its result */
    uint64_t seed;     /* of its body */
    size_t bytes;
};

struct batch {
    char id[16], request[16], cancel_request[24];
    int index;
    int64_t created, queued, cancelled, deleted; /* steps */
    int lines_count;
    bool uploaded; /* its input comes in pieces */
    struct {
        int64_t step, bytes; /* what was there after this step */
    } pieces[4];
    int pieces_count;
    struct line lines[LINES];
};

struct document {
    char id[16];
    int64_t created, deleted;
    size_t bytes;
    uint64_t seed;
};

struct store_history {
    uint64_t seed;
    int64_t steps;
    struct batch batches[BATCHES];
    int batches_count;
    struct document documents[DOCUMENTS];
    int documents_count;
    char text[TEXT_BYTES], other[TEXT_BYTES];
};

struct store_history *store_history_create(uint64_t seed)
{
    struct store_history *history = calloc(1, sizeof *history);
    assert(history);
    history->seed = seed;
    return history;
}

void store_history_destroy(struct store_history *history)
{
    free(history);
}

int64_t store_history_steps(const struct store_history *history)
{
    return history->steps;
}

void store_history_reopened(struct store_history *history)
{
    for (int i = 0; i < history->batches_count; i++)
        for (int l = 0; l < LINES; l++)
            history->batches[i].lines[l].epoch = 0;
}

/* Text without line feeds that follows from a seed. */
static void write_text(char *text, size_t bytes, uint64_t seed)
{
    struct random random = {seed};
    uint64_t bits = 0;
    for (size_t i = 0; i < bytes; i++) {
        if (i % 12 == 0)
            bits = (uint64_t)random_between(&random, 0, INT64_C(1) << 60);
        text[i] = (char)('A' + (bits >> (5 * (i % 12)) & 31));
    }
}

/* A batch's input: one line feed behind each line. Lines 2 and 3 are shorter than line 1. */
static size_t line_bytes(const struct batch *batch, int line)
{
    return batch->index % 5 == 0 && line == 0 ? LONG : (size_t)(20 + 7 * line);
}

static size_t write_input(const struct batch *batch, uint64_t seed, char *text,
                          struct store_new_line lines[LINES])
{
    static const char *const ids[LINES] = {"x", "y", "z"};
    size_t at = 0;
    for (int i = 0; i < batch->lines_count; i++) {
        const size_t bytes = line_bytes(batch, i);
        write_text(text + at, bytes, seed + (uint64_t)i);
        text[at + bytes] = '\n';
        lines[i] = (struct store_new_line){
            .custom_id = ids[i],
            .offset = (int64_t)at,
            .bytes = (int64_t)bytes,
            .digest = store_line_digest(text + at, bytes),
            .queued_tokens = 5 + i,
            .order_key = &"cab"[i],
            .order_key_bytes = 1,
        };
        at += bytes + 1;
    }
    return at;
}

static uint64_t input_seed(const struct store_history *history, const struct batch *batch)
{
    return history->seed * 1000003 + (uint64_t)batch->index * 31;
}

/* ---- steps ---- */

/* A drawn batch that suits; NULL: none does. */
typedef bool suits_fn(const struct batch *batch);

static struct batch *draw(struct store_history *history, struct random *random, suits_fn *suits)
{
    if (history->batches_count == 0)
        return NULL;
    const int first = (int)random_between(random, 0, history->batches_count);
    for (int i = 0; i < history->batches_count; i++) {
        struct batch *batch = &history->batches[(first + i) % history->batches_count];
        if (suits(batch))
            return batch;
    }
    return NULL;
}

static bool takes_input(const struct batch *batch)
{
    return batch->uploaded && batch->queued == NEVER && batch->cancelled == NEVER &&
           batch->deleted == NEVER;
}

static bool runs(const struct batch *batch)
{
    if (batch->queued == NEVER || batch->cancelled != NEVER || batch->deleted != NEVER)
        return false;
    for (int i = 0; i < batch->lines_count; i++)
        if (batch->lines[i].committed == NEVER)
            return true;
    return false;
}

static bool holds_lease(const struct batch *batch)
{
    for (int i = 0; i < batch->lines_count; i++)
        if (batch->lines[i].epoch && batch->lines[i].committed == NEVER)
            return true;
    return false;
}

static bool has_ended(const struct batch *batch)
{
    if (batch->queued == NEVER || batch->deleted != NEVER || batch->cancelled != NEVER)
        return false;
    for (int i = 0; i < batch->lines_count; i++)
        if (batch->lines[i].committed == NEVER)
            return false;
    return true;
}

static enum status create(struct store_history *history, struct store *store, struct random *random)
{
    assert(history->batches_count < BATCHES);
    struct batch *batch = &history->batches[history->batches_count];
    struct store_new_line lines[LINES];
    *batch =
        (struct batch){.created = NEVER, .queued = NEVER, .cancelled = NEVER, .deleted = NEVER};
    batch->index = history->batches_count;
    batch->lines_count = (int)random_between(random, 1, LINES + 1);
    batch->uploaded = random_between(random, 0, 3) == 0;
    for (int i = 0; i < LINES; i++)
        batch->lines[i].committed = NEVER;
    snprintf(batch->id, sizeof batch->id, "b%d", history->batches_count);
    snprintf(batch->request, sizeof batch->request, "r%d", history->batches_count);
    const size_t bytes = write_input(batch, input_seed(history, batch), history->text, lines);
    const struct store_request request = {batch->request, batch->id, strlen(batch->id)};
    const struct store_batch_args args = {
        .tenant = "t",
        .request = &request,
        .id = batch->id,
        .endpoint = "/v1/completions",
        .expires_after_seconds = 86400,
        .retention_seconds = 86400,
        .input = batch->uploaded ? NULL : history->text,
        .input_bytes = batch->uploaded ? 0 : bytes,
        .lines = batch->uploaded ? NULL : lines,
        .lines_count = batch->uploaded ? 0 : (size_t)batch->lines_count,
    };
    struct store_batch_answer answer;
    const enum status status = store_batch_create(store, &answer, &args);
    if (status != STATUS_OK)
        return status;
    batch->created = history->steps;
    batch->queued = batch->uploaded ? NEVER : history->steps;
    store_batch_clear(&answer.batch);
    history->batches_count++;
    return STATUS_OK;
}

/* The store's number of a batch; it may be gone. */
static enum status number_of(struct store *store, const struct batch *batch, int64_t *number)
{
    struct store_batch found;
    const enum status status = store_batch_get(store, &found, "t", batch->id);
    if (status != STATUS_OK)
        return status;
    *number = found.number;
    store_batch_clear(&found);
    return STATUS_OK;
}

/* The next piece of an upload; after the last one its lines are added and it is queued. */
static enum status upload(struct store_history *history, struct store *store, struct batch *batch)
{
    struct store_new_line lines[LINES];
    const size_t bytes = write_input(batch, input_seed(history, batch), history->text, lines);
    const int64_t there =
        batch->pieces_count > 0 ? batch->pieces[batch->pieces_count - 1].bytes : 0;
    int64_t number, committed;
    if (batch->pieces_count < 2) {
        const int64_t end = batch->pieces_count == 0 ? (int64_t)bytes / 2 : (int64_t)bytes;
        TRY(store_batch_append(store, &committed, "t", batch->id, there, history->text + there,
                               (size_t)(end - there), NULL));
        assert(committed == end);
        batch->pieces[batch->pieces_count].step = history->steps;
        batch->pieces[batch->pieces_count++].bytes = end;
        return STATUS_OK;
    }
    TRY(number_of(store, batch, &number));
    TRY(store_batch_seal(store, "t", batch->id));
    const enum status added =
        store_batch_add_lines(store, "t", number, 1, lines, (size_t)batch->lines_count, NULL);
    /* They are there when an earlier try of this step got that far. */
    if (added != STATUS_OK && added != STATUS_FAILED_PRECONDITION)
        return added;
    const enum status queued = store_batch_queue(store, "t", number, "/v1/completions");
    if (queued != STATUS_OK && queued != STATUS_FAILED_PRECONDITION)
        return queued;
    batch->queued = history->steps;
    return STATUS_OK;
}

static enum status lease(struct store *store, struct batch *batch, struct random *random)
{
    const int line = (int)random_between(random, 0, batch->lines_count);
    struct store_lease asked = {.line = line + 1};
    TRY(number_of(store, batch, &asked.batch));
    TRY(store_line_lease(store, "t", &asked, 1, 0));
    if (asked.granted)
        batch->lines[line].epoch = asked.epoch;
    return STATUS_OK;
}

static enum status commit(struct store_history *history, struct store *store, struct batch *batch,
                          struct random *random)
{
    struct line *line = batch->lines;
    while (!line->epoch || line->committed != NEVER)
        line++;
    int64_t number;
    TRY(number_of(store, batch, &number));
    if (random_between(random, 0, 6) == 0) {
        TRY(store_line_give_back(store, "t", number, line - batch->lines + 1, line->epoch,
                                 STORE_GIVE_BACK_LOST, "rank 1 died"));
        line->epoch = 0;
        return STATUS_OK;
    }
    line->seed = (uint64_t)random_between(random, 0, INT64_C(1) << 40);
    line->bytes = random_between(random, 0, 5) == 0 ? LONG : 40;
    write_text(history->text, line->bytes, line->seed);
    const struct store_result result = {
        .batch = number,
        .line = line - batch->lines + 1,
        .epoch = line->epoch,
        .state = STORE_LINE_COMPLETED,
        .status_code = 200,
        .body = history->text,
        .body_bytes = line->bytes,
        .usage = {.prompt_tokens = 3, .prefilled_tokens = 3, .completion_tokens = 1},
    };
    TRY(store_line_commit(store, "t", &result));
    line->committed = history->steps;
    return STATUS_OK;
}

static enum status cancel(struct store_history *history, struct store *store, struct batch *batch)
{
    snprintf(batch->cancel_request, sizeof batch->cancel_request, "c%s", batch->id);
    const struct store_request request = {batch->cancel_request, "cancel", 6};
    struct store_batch_answer answer;
    TRY(store_batch_cancel(store, &answer, "t", batch->id, &request));
    store_batch_clear(&answer.batch);
    batch->cancelled = history->steps;
    return STATUS_OK;
}

static enum status delete_batch(struct store_history *history, struct store *store,
                                struct batch *batch)
{
    char id[24];
    snprintf(id, sizeof id, "d%s", batch->id);
    const struct store_request request = {id, "delete", 6};
    TRY(store_batch_delete(store, "t", batch->id, &request));
    batch->deleted = history->steps;
    return STATUS_OK;
}

static enum status put_document(struct store_history *history, struct store *store,
                                struct random *random)
{
    if (history->documents_count == DOCUMENTS)
        return STATUS_OK;
    struct document *document = &history->documents[history->documents_count];
    *document = (struct document){.created = NEVER, .deleted = NEVER};
    snprintf(document->id, sizeof document->id, "d%d", history->documents_count);
    document->seed = history->seed * 77 + (uint64_t)history->documents_count;
    document->bytes = (size_t)random_between(random, 1, 20000);
    write_text(history->text, document->bytes, document->seed);
    struct store_document_upload *upload_to;
    struct store_document_answer answer;
    const struct store_document_args args = {.id = document->id, .expires_after_seconds = 86400};
    TRY(store_document_begin(&upload_to, store, "t", NULL));
    enum status status = store_document_write(upload_to, history->text, document->bytes);
    if (status == STATUS_OK)
        status = store_document_finish(upload_to, &answer, &args);
    store_document_abandon(upload_to);
    TRY(status);
    document->created = history->steps;
    history->documents_count++;
    return STATUS_OK;
}

static enum status delete_document(struct store_history *history, struct store *store,
                                   struct random *random)
{
    if (history->documents_count == 0)
        return STATUS_OK;
    struct document *document =
        &history->documents[random_between(random, 0, history->documents_count)];
    char id[24];
    if (document->deleted != NEVER)
        return STATUS_OK;
    snprintf(id, sizeof id, "x%s", document->id);
    const struct store_request request = {id, "delete", 6};
    TRY(store_document_delete(store, "t", document->id, &request));
    document->deleted = history->steps;
    return STATUS_OK;
}

static enum status step(struct store_history *history, struct store *store, struct random *random)
{
    const int64_t what = random_between(random, 0, 100);
    struct batch *batch;
    if (what < 20)
        return create(history, store, random);
    if (what < 40 && (batch = draw(history, random, takes_input)))
        return upload(history, store, batch);
    if (what < 60 && (batch = draw(history, random, runs)))
        return lease(store, batch, random);
    if (what < 85 && (batch = draw(history, random, holds_lease)))
        return commit(history, store, batch, random);
    if (what < 88 && (batch = draw(history, random, runs)))
        return cancel(history, store, batch);
    if (what < 93 && (batch = draw(history, random, has_ended)))
        return delete_batch(history, store, batch);
    if (what < 97)
        return put_document(history, store, random);
    return delete_document(history, store, random);
}

enum status store_history_step(struct store_history *history, struct store *store)
{
    /* From the step's number alone, so that a try after a failure draws the same. */
    struct random random = {history->seed * RANDOM_STEP + (uint64_t)history->steps * 7919};
    TRY(step(history, store, &random));
    history->steps++;
    return STATUS_OK;
}

/* ---- the check ---- */

struct check {
    const struct store_history *history;
    struct store *store;
    int64_t steps;
    int64_t wrong, facts;
    char *text, *other;
};

__attribute__((format(printf, 2, 3))) static void complain(struct check *check, const char *format,
                                                           ...)
{
    va_list arguments;
    va_start(arguments, format);
    printf("violation: after %lld steps of seed %llu: ", (long long)check->steps,
           (unsigned long long)check->history->seed);
    vprintf(format, arguments);
    putchar('\n');
    va_end(arguments);
    check->wrong++;
}

/* Whether something of this step was acknowledged, and whether it may have happened. */
static bool was(const struct check *check, int64_t at)
{
    return at < check->steps;
}

static bool may_be(const struct check *check, int64_t at)
{
    return at <= check->steps;
}

static void expect(struct check *check, bool right, const char *what, const struct batch *batch)
{
    check->facts++;
    if (!right)
        complain(check, "batches/%s: %s (%s)", batch->id, what, status_message());
}

static void check_input(struct check *check, const struct batch *batch, int64_t number)
{
    struct store_new_line lines[LINES];
    size_t bytes = write_input(batch, input_seed(check->history, batch), check->text, lines);
    size_t read = 0;
    if (batch->uploaded) {
        bytes = 0;
        for (int i = 0; i < batch->pieces_count; i++)
            if (was(check, batch->pieces[i].step))
                bytes = (size_t)batch->pieces[i].bytes;
    }
    const enum status status =
        store_batch_read_input(check->store, "t", number, 0, check->other, TEXT_BYTES, &read);
    expect(check, status == STATUS_OK && read >= bytes, "its input is short", batch);
    if (status == STATUS_OK && read >= bytes)
        expect(check, memcmp(check->text, check->other, bytes) == 0, "its input differs", batch);
}

/* What store_line_results told, by line. */
struct told {
    struct check *check;
    const struct batch *batch;
    int times[LINES + 1];
};

static enum status take_result(void *context, const struct store_told_result *result)
{
    struct told *told = context;
    struct check *check = told->check;
    if (result->line < 1 || result->line > told->batch->lines_count) {
        complain(check, "batches/%s: a result of line %lld", told->batch->id,
                 (long long)result->line);
        return STATUS_OK;
    }
    const struct line *line = &told->batch->lines[result->line - 1];
    told->times[result->line]++;
    expect(check, result->damaged == STATUS_OK, "a result is damaged", told->batch);
    if (result->status_code == 0 || result->damaged != STATUS_OK)
        return STATUS_OK;
    expect(check, may_be(check, line->committed), "a result that nobody gave", told->batch);
    write_text(check->text, line->bytes, line->seed);
    expect(check,
           result->body_bytes == line->bytes && memcmp(result->body, check->text, line->bytes) == 0,
           "a result differs", told->batch);
    return STATUS_OK;
}

static void check_results(struct check *check, const struct batch *batch, int64_t number)
{
    for (int order = 0; order < 2; order++) {
        struct told told = {.check = check, .batch = batch};
        struct store_result_walk walk = {
            .tenant = "t", .batch = number, .input_order = order == 1, .count = 100};
        const enum status status = store_line_results(check->store, &walk, take_result, &told);
        expect(check, status == STATUS_OK, "its results cannot be read", batch);
        bool all_before = true; /* in the order of input a line is told behind those before it */
        for (int i = 0; i < batch->lines_count; i++) {
            const bool committed = was(check, batch->lines[i].committed);
            all_before &= committed;
            expect(check, told.times[i + 1] <= 1, "a result is there twice", batch);
            if (order == 0 ? committed : all_before)
                expect(check, told.times[i + 1] == 1, "a result is missing", batch);
        }
    }
}

/* Leases of the time before are over. */
static void check_leases(struct check *check, const struct batch *batch, int64_t number)
{
    for (int i = 0; i < batch->lines_count; i++) {
        const struct line *line = &batch->lines[i];
        if (!line->epoch || line->committed != NEVER)
            continue;
        const struct store_result late = {.batch = number,
                                          .line = i + 1,
                                          .epoch = line->epoch,
                                          .state = STORE_LINE_COMPLETED,
                                          .status_code = 200,
                                          .body = "late",
                                          .body_bytes = 4};
        expect(check, store_line_commit(check->store, "t", &late) == STATUS_FAILED_PRECONDITION,
               "a lease outlived its process", batch);
    }
}

/* A call that is made again has its first answer. */
static void check_request(struct check *check, const struct batch *batch)
{
    const struct store_request request = {batch->request, batch->id, strlen(batch->id)};
    struct store_batch_answer answer;
    const enum status status = store_batch_repeated(check->store, &answer, "t", &request);
    expect(check, status == STATUS_OK && strcmp(answer.batch.id, batch->id) == 0,
           "its request id is forgotten", batch);
    if (status == STATUS_OK)
        store_batch_clear(&answer.batch);
}

static void check_batch(struct check *check, const struct batch *batch, bool leases_are_over)
{
    struct store_batch found = {0};
    if (!was(check, batch->created))
        return;
    check_request(check, batch);
    const enum status status = store_batch_get(check->store, &found, "t", batch->id);
    if (was(check, batch->deleted)) {
        expect(check, status == STATUS_NOT_FOUND, "it was deleted and is there", batch);
        store_batch_clear(&found);
        return;
    }
    if (may_be(check, batch->deleted) && status == STATUS_NOT_FOUND)
        return;
    expect(check, status == STATUS_OK, "it is missing", batch);
    if (status != STATUS_OK)
        return;
    if (was(check, batch->queued))
        expect(check, found.state >= STORE_BATCH_QUEUED && found.counts.total == batch->lines_count,
               "its lines are missing", batch);
    if (was(check, batch->cancelled))
        expect(check, found.state == STORE_BATCH_CANCELLING || found.state == STORE_BATCH_CANCELLED,
               "it was cancelled and is not", batch);
    check_input(check, batch, found.number);
    check_results(check, batch, found.number);
    if (leases_are_over)
        check_leases(check, batch, found.number);
    store_batch_clear(&found);
}

static void check_document(struct check *check, const struct document *document)
{
    char *text = NULL;
    size_t bytes = 0;
    if (!was(check, document->created))
        return;
    const enum status status = store_document_read(check->store, "t", document->id, &text, &bytes);
    check->facts++;
    write_text(check->text, document->bytes, document->seed);
    if (was(check, document->deleted)) {
        if (status != STATUS_NOT_FOUND)
            complain(check, "documents/%s was deleted and is there", document->id);
    } else if (status != STATUS_NOT_FOUND || !may_be(check, document->deleted)) {
        if (status != STATUS_OK || bytes != document->bytes ||
            memcmp(text, check->text, bytes) != 0)
            complain(check, "documents/%s is missing or differs: %s", document->id,
                     status_message());
    }
    if (status == STATUS_OK)
        free(text);
}

static void take_complaint(void *context, const char *sentence)
{
    complain(context, "%s", sentence);
}

int64_t store_history_check(const struct store_history *history, struct store *store, int64_t steps,
                            bool reopened, int64_t *facts)
{
    struct check check = {.history = history, .store = store, .steps = steps};
    check.text = malloc(TEXT_BYTES);
    check.other = malloc(TEXT_BYTES);
    assert(check.text && check.other);
    for (int i = 0; i < history->batches_count; i++)
        check_batch(&check, &history->batches[i], reopened);
    for (int i = 0; i < history->documents_count; i++)
        check_document(&check, &history->documents[i]);
    check.facts++;
    const enum status status = store_verify(store, take_complaint, &check);
    if (status != STATUS_OK && status != STATUS_DATA_LOSS)
        complain(&check, "the store cannot be verified: %s", status_message());
    free(check.text);
    free(check.other);
    *facts += check.facts;
    return check.wrong;
}
