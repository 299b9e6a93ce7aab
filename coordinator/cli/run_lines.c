/* Owns one run over a file of lines: its record, its store, its coordinator. Promises that a run
 * that is broken off at any moment and repeated has each line's result once, and that finished
 * lines are not computed again. */
#include "coordinator/cli/run_lines.h"

#include <errno.h>
#include <ftw.h>
#include <inttypes.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/cli/batch_client.h"
#include "coordinator/cli/batch_view.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/kept_results.h"
#include "coordinator/cli/line_file.h"
#include "coordinator/cli/result_file.h"
#include "coordinator/cli/result_line.h"
#include "coordinator/cli/run_record.h"
#include "coordinator/cli/template_digest.h"
#include "coordinator/cli/text_file.h"
#include "coordinator/cli/waiting_lines.h"
#include "proto/clock.h"
#include "proto/json_writer.h"
#include "proto/model/model.h"

enum {
    LOOK_SECONDS = 1,
    EXPIRES_SECONDS = 2592000,
    TREE_DESCRIPTORS = 16,
    INCOMPLETE = 75,
    STORE_LEFT_MS = 15000, /* for a killed run's coordinator to end */
    STORE_LOOK_NS = 50000000,
};

static const char *temporary_folder = "/tmp";
static const char store_prefix[] = "/longhaul-run-";

void run_lines_configure(const char *temporary)
{
    if (temporary && temporary[0])
        temporary_folder = temporary;
}

struct run {
    const struct run_lines_options *options;
    const struct config *config;
    bool in_order;
    struct run_record_key key;
    struct run_record record;
    struct kept_results kept; /* what is written: of earlier runs and of this one */
    int64_t kept_before;      /* of earlier runs alone */
    struct waiting_lines waiting;
    struct connection connection;
    struct batch_client client;
    struct batch_progress progress;
    struct result_file file;
    char store[PATH_MAX];
    char *name; /* of the batch; owned */
    double looked_seconds;
    bool draining;
    bool unfinished; /* some lines were not answered, by no fault of theirs */
};

enum status run_lines_check(const struct run_lines_options *options)
{
    if (!options->input)
        return fail(STATUS_INVALID_ARGUMENT, "-i FILE is missing: the lines to answer");
    if (!options->output)
        return fail(STATUS_INVALID_ARGUMENT, "-o FILE is missing: where results go");
    if (strcmp(options->input, "-") == 0)
        return fail(STATUS_INVALID_ARGUMENT, "-i -: a run that can be repeated needs a file");
    const char *order = options->order;
    if (order && strcmp(order, "completion") != 0 && strcmp(order, "input") != 0)
        return fail(STATUS_INVALID_ARGUMENT, "--order %s: give completion or input", order);
    return STATUS_OK;
}

/* ---- what the run is of ---- */

static enum status digest_input(char hex[DIGEST_HEX_BYTES], const struct line_file *file)
{
    if (file->bytes == 0) {
        text_set_hex(hex, "", 0);
        return STATUS_OK;
    }
    void *bytes = mmap(NULL, (size_t)file->bytes, PROT_READ, MAP_PRIVATE, file->descriptor, 0);
    if (bytes == MAP_FAILED)
        return fail(STATUS_IO, "read %s: %s", file->path, strerror(errno));
    text_set_hex(hex, bytes, (size_t)file->bytes);
    munmap(bytes, (size_t)file->bytes);
    return STATUS_OK;
}

_Static_assert((int)TEXT_SET_HEX_BYTES == (int)DIGEST_HEX_BYTES, "both are 128 bits");

static enum status digest_of_model(char hex[DIGEST_HEX_BYTES], const char *path)
{
    struct model *model = NULL;
    TRY(text_file_check_readable(path, "model"));
    TRY(model_open(&model, path));
    digest_model(hex, model);
    model_close(model);
    return STATUS_OK;
}

/* Those that change what is answered; how many workers there are does not. */
static enum status digest_options(char hex[DIGEST_HEX_BYTES], const struct run *run)
{
    char text[4096], template[DIGEST_HEX_BYTES];
    TRY(template_digest(template, config_text(run->config, "model.chat_template")));
    const int bytes = snprintf(
        text, sizeof text, "%s\n%s\n%s\n%s", template, config_text(run->config, "engine.method"),
        config_text(run->config, "engine.context"), run->in_order ? "input" : "completion");
    text_set_hex(hex, text, bytes < (int)sizeof text ? (size_t)bytes : sizeof text - 1);
    return STATUS_OK;
}

static enum status make_key(struct run *run)
{
    struct line_file file;
    TRY(line_file_open(&file, run->options->input));
    enum status status = digest_input(run->key.input, &file);
    line_file_close(&file);
    TRY(status);
    TRY(digest_options(run->key.options, run));
    console_progress("reading the model");
    status = digest_of_model(run->key.model, config_text(run->config, "model.path"));
    console_clear();
    return status;
}

/* ---- the store ---- */

static int remove_entry(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)kind;
    (void)place;
    return remove(path);
}

/* One of our own folders, of this run or of one that was killed: that one's coordinator may still
 * be ending, and write. */
static void remove_store(const char *folder)
{
    const struct timespec pause = {.tv_nsec = STORE_LOOK_NS};
    const int64_t until_ns = clock_after_ms(STORE_LEFT_MS);
    if (!strstr(folder, store_prefix))
        return;
    while (nftw(folder, remove_entry, TREE_DESCRIPTORS, FTW_DEPTH | FTW_PHYS) != 0 &&
           access(folder, F_OK) == 0 && clock_now_ns() < until_ns)
        nanosleep(&pause, NULL);
}

static enum status make_store(struct run *run)
{
    remove_store(run->record.store);
    if ((size_t)snprintf(run->store, sizeof run->store, "%s%sXXXXXX", temporary_folder,
                         store_prefix) >= sizeof run->store)
        return fail(STATUS_INVALID_ARGUMENT, "the path of TMPDIR is too long");
    if (!mkdtemp(run->store)) {
        enum status status =
            fail(STATUS_IO, "make a folder in %s: %s", temporary_folder, strerror(errno));
        run->store[0] = 0;
        return status;
    }
    return run_record_write(&run->record, &run->key, run->store);
}

/* ---- results ---- */

static enum status look(struct run *run)
{
    Longhaul__V1__Batch *batch = NULL;
    if (clock_now_seconds() < run->looked_seconds + LOOK_SECONDS)
        return STATUS_OK;
    run->looked_seconds = clock_now_seconds();
    TRY(batch_client_get(&run->client, &batch, run->name));
    batch_progress_show(&run->progress, batch, run->kept_before);
    longhaul__v1__batch__free_unpacked(batch, NULL);
    return STATUS_OK;
}

/* A running coordinator goes on with what others ask; this batch begins no more lines. */
static void cancel(struct run *run)
{
    Longhaul__V1__Batch *batch = NULL;
    console_say("cancelling the batch; lines that were answered stay");
    if (batch_client_cancel(&run->client, &batch, run->name) == STATUS_OK)
        longhaul__v1__batch__free_unpacked(batch, NULL);
    else
        console_say("%s could not be cancelled: %s", run->name, status_message());
}

/* The first signal lets what runs come to its end, within the coordinator's time for it. */
static void drain_once(struct run *run)
{
    if (run->draining || interrupt_count() == 0)
        return;
    run->draining = true;
    if (run->options->server) {
        cancel(run);
        return;
    }
    console_say("ending in order: lines that run have their time; again to end at once");
    private_coordinator_drain(run->connection.own);
}

static enum status take_result(struct run *run, const char *json)
{
    struct result_line line;
    if (!result_line_read(&line, json, strlen(json)))
        return fail(STATUS_INTERNAL, "the coordinator tells a result that is none");
    if (line.status_code == 0) { /* it was not answered: it stays to be done */
        run->unfinished = true;
        return STATUS_OK;
    }
    kept_results_count(&run->kept, line.status_code, &line.usage);
    return result_file_take(&run->file, json);
}

static enum status take_results(void *context, const ProtobufCMessage *message)
{
    struct run *run = context;
    const Longhaul__V1__StreamResultsResponse *part = (const void *)message;
    drain_once(run);
    for (size_t i = 0; part && i < part->n_results; i++)
        TRY(take_result(run, part->results[i]->json));
    TRY(result_file_flush(&run->file));
    return run->draining ? STATUS_OK : look(run);
}

/* ---- the batch ---- */

static enum status create(struct run *run)
{
    Longhaul__V1__CreateBatchRequest request = LONGHAUL__V1__CREATE_BATCH_REQUEST__INIT;
    Longhaul__V1__Batch batch = LONGHAUL__V1__BATCH__INIT;
    ProtobufCMessage *reply = NULL;
    batch.order = run->in_order ? LONGHAUL__V1__RESULT_ORDER__RESULT_ORDER_INPUT
                                : LONGHAUL__V1__RESULT_ORDER__RESULT_ORDER_COMPLETION;
    batch.expires_after_seconds = EXPIRES_SECONDS;
    request.batch = &batch;
    TRY(batch_client_ask(&run->client, &reply, "CreateBatch", &longhaul__v1__batch__descriptor,
                         &request.base));
    run->name = strdup(((const Longhaul__V1__Batch *)reply)->name);
    protobuf_c_message_free_unpacked(reply, NULL);
    return run->name ? STATUS_OK : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a name");
}

/* A batch that was refused as a whole says why. */
static enum status check_accepted(struct run *run)
{
    Longhaul__V1__Batch *batch = NULL;
    if (run->draining)
        return STATUS_OK;
    TRY(batch_client_get(&run->client, &batch, run->name));
    enum status status =
        batch->state == LONGHAUL__V1__BATCH_STATE__BATCH_STATE_FAILED
            ? fail(STATUS_INVALID_ARGUMENT, "%s: %s", run->options->input, batch->error)
            : STATUS_OK;
    longhaul__v1__batch__free_unpacked(batch, NULL);
    return status;
}

static enum status answer_lines(struct run *run)
{
    const struct batch_client_lines lines = {waiting_lines_read, NULL, &run->waiting};
    run->client = (struct batch_client){.rpc = run->connection.client, .interrupts = 1};
    TRY(create(run));
    TRY(batch_client_upload(&run->client, run->name, &lines));
    TRY(batch_client_results(&run->client, run->name, take_results, run));
    return check_accepted(run);
}

/* A coordinator that has drained ends its streams: that is no failure. */
static enum status run_batch(struct run *run)
{
    static const struct server_option own = {.address = NULL};
    const struct server_option *server = run->options->server ? run->options->server : &own;
    const struct private_coordinator_args args = {
        .config = run->config, .store = run->store, .context_tokens = run->options->context_tokens};
    if (run->options->server)
        TRY(run_record_write(&run->record, &run->key, ""));
    else
        TRY(make_store(run));
    enum status status = connection_open(&run->connection, server, &args);
    if (status == STATUS_OK)
        status = answer_lines(run);
    if (run->draining && (status == STATUS_UNAVAILABLE || status == STATUS_CANCELLED))
        status = STATUS_OK;
    return connection_end(&run->connection, status);
}

static enum status run_waiting(struct run *run)
{
    TRY(result_file_append(&run->file, run->options->output));
    enum status status = result_file_close(&run->file, run_batch(run));
    remove_store(run->store);
    return status;
}

/* ---- all of it ---- */

static bool has_output(const struct run *run)
{
    struct stat about;
    return stat(run->options->output, &about) == 0 && about.st_size > 0;
}

static enum status go(struct run *run)
{
    const char *output = run->options->output;
    const bool overwrite = run->options->overwrite;
    TRY(make_key(run));
    TRY(run_record_open(&run->record, output, &run->key, has_output(run), overwrite));
    if (overwrite && truncate(output, 0) != 0 && errno != ENOENT)
        return fail(STATUS_IO, "write %s: %s", output, strerror(errno));
    TRY(kept_results_read(&run->kept, output, run->in_order));
    run->kept_before = run->kept.lines;
    TRY(waiting_lines_open(&run->waiting, run->options->input, &run->kept, run->in_order));
    if (run->waiting.count == 0) {
        remove_store(run->record.store);
        return run_record_write(&run->record, &run->key, "");
    }
    return run_waiting(run);
}

static int64_t lines_left(const struct run *run)
{
    return run->kept_before + run->waiting.count - run->kept.lines;
}

static void print_json(const struct run *run)
{
    struct json_writer writer = {.file = stdout};
    Longhaul__V1__LineCounts counts = LONGHAUL__V1__LINE_COUNTS__INIT;
    counts.total = run->kept_before + run->waiting.count;
    counts.completed = run->kept.completed;
    counts.failed = run->kept.failed;
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    json_writer_text(&writer, "output", run->options->output);
    batch_view_write_counts(&writer, &counts);
    batch_view_write_usage(&writer, &run->kept.usage);
    json_writer_end_object(&writer);
    putchar('\n');
}

static void tell_end(const struct run *run)
{
    console_clear();
    if (run->options->json)
        print_json(run);
    if (run->options->quiet)
        return;
    char kept[64] = "";
    if (run->kept_before > 0)
        snprintf(kept, sizeof kept, ", %" PRId64 " of them kept", run->kept_before);
    console_say("%" PRId64 " of %" PRId64 " lines: %" PRId64 " completed, %" PRId64 " failed%s; "
                "%" PRId64 " prompt tokens, %" PRId64 " of them computed, answers of %" PRId64,
                run->kept.lines, run->kept_before + run->waiting.count, run->kept.completed,
                run->kept.failed, kept, run->kept.usage.prompt_tokens,
                run->kept.usage.prefilled_tokens, run->kept.usage.completion_tokens);
}

/* 75: the same command goes on where this one ended. */
static int end(const char *program, const struct run *run, enum status status)
{
    const bool again = status == STATUS_UNAVAILABLE || status == STATUS_CANCELLED ||
                       (status == STATUS_OK && lines_left(run) > 0);
    console_clear();
    if (status == STATUS_OK)
        tell_end(run);
    else if (status != STATUS_CANCELLED)
        (void)console_failure(program, status);
    if (again) {
        console_say("%s: incomplete; the same command goes on", program);
        return INCOMPLETE;
    }
    if (status != STATUS_OK)
        return status_exit_code(status);
    return run->kept.failed > 0 ? 1 : 0;
}

int run_lines(const char *program, const struct run_lines_options *options,
              const struct config *config)
{
    struct run run = {
        .options = options,
        .config = config,
        .in_order = options->order && strcmp(options->order, "input") == 0,
        .record = {.descriptor = -1},
        .progress = {.quiet = options->quiet},
    };
    interrupt_install();
    const enum status status = go(&run);
    const int exit_code = end(program, &run, status);
    waiting_lines_close(&run.waiting);
    kept_results_deinit(&run.kept);
    run_record_close(&run.record);
    free(run.name);
    return exit_code;
}
