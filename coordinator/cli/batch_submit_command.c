/* longhaul batch submit: a file of lines as a new batch. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/batch_command.h"
#include "coordinator/cli/batch_view.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/line_file.h"

static const char program[] = "longhaul batch submit";

struct submitting {
    struct batch_asking asking;
    struct line_file file;
    const char *id, *request_id, *order, *endpoint;
    int64_t priority, expires_seconds, retention_seconds;
    struct flags_texts metadata;
};

static enum status read_lines(void *context, int64_t offset, void *piece, size_t size,
                              size_t *bytes)
{
    struct submitting *submitting = context;
    return line_file_read(&submitting->file, offset, piece, size, bytes);
}

static void tell_uploaded(void *context, int64_t bytes)
{
    const struct submitting *submitting = context;
    const double whole = (double)submitting->file.bytes;
    console_progress("uploading: %.0f %% of %.1f MB", whole > 0 ? 100 * (double)bytes / whole : 100,
                     whole / 1e6);
}

/* Labels with their storage. */
struct labels {
    Longhaul__V1__Label messages[FLAGS_TEXTS_MAX];
    Longhaul__V1__Label *pointers[FLAGS_TEXTS_MAX];
    char keys[FLAGS_TEXTS_MAX][256];
};

static enum status read_metadata(struct labels *labels, const struct flags_texts *texts)
{
    for (size_t i = 0; i < texts->count; i++) {
        const char *equals = strchr(texts->texts[i], '=');
        const size_t key_bytes = equals ? (size_t)(equals - texts->texts[i]) : 0;
        if (key_bytes == 0 || key_bytes >= sizeof labels->keys[i])
            return fail(STATUS_INVALID_ARGUMENT, "--metadata %s: give KEY=VALUE", texts->texts[i]);
        snprintf(labels->keys[i], sizeof labels->keys[i], "%.*s", (int)key_bytes, texts->texts[i]);
        longhaul__v1__label__init(&labels->messages[i]);
        labels->messages[i].key = labels->keys[i];
        labels->messages[i].value = (char *)equals + 1;
        labels->pointers[i] = &labels->messages[i];
    }
    return STATUS_OK;
}

static enum status read_order(Longhaul__V1__ResultOrder *order, const char *word)
{
    *order = LONGHAUL__V1__RESULT_ORDER__RESULT_ORDER_COMPLETION;
    if (!word || strcmp(word, "completion") == 0)
        return STATUS_OK;
    *order = LONGHAUL__V1__RESULT_ORDER__RESULT_ORDER_INPUT;
    return strcmp(word, "input") == 0
               ? STATUS_OK
               : fail(STATUS_INVALID_ARGUMENT, "--order %s: give completion or input", word);
}

static enum status create(struct submitting *submitting, Longhaul__V1__Batch **made,
                          Longhaul__V1__Batch *batch)
{
    Longhaul__V1__CreateBatchRequest request = LONGHAUL__V1__CREATE_BATCH_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    char id[BATCH_CLIENT_ID_BYTES];
    TRY(batch_client_make_id(id));
    request.batch = batch;
    request.request_id = submitting->request_id ? (char *)submitting->request_id : id;
    if (submitting->id)
        request.batch_id = (char *)submitting->id;
    TRY(batch_client_ask(&submitting->asking.client, &reply, "CreateBatch",
                         &longhaul__v1__batch__descriptor, &request.base));
    *made = (Longhaul__V1__Batch *)reply;
    return STATUS_OK;
}

/* The name is told once all lines are on the coordinator's disk. */
static enum status upload(struct submitting *submitting, const char *name)
{
    const struct batch_client_lines lines = {read_lines, tell_uploaded, submitting};
    Longhaul__V1__Batch *batch = NULL;
    TRY(batch_client_upload(&submitting->asking.client, name, &lines));
    console_clear();
    if (!submitting->asking.json) {
        printf("%s\n", name);
        return STATUS_OK;
    }
    TRY(batch_client_get(&submitting->asking.client, &batch, name));
    batch_view_print_json(batch);
    longhaul__v1__batch__free_unpacked(batch, NULL);
    return STATUS_OK;
}

static enum status submit(struct submitting *submitting, Longhaul__V1__Batch *batch)
{
    Longhaul__V1__Batch *made = NULL;
    TRY(batch_asking_begin(&submitting->asking));
    TRY(create(submitting, &made, batch));
    enum status status = upload(submitting, made->name);
    longhaul__v1__batch__free_unpacked(made, NULL);
    return status;
}

static int run(struct submitting *submitting, const char *path)
{
    Longhaul__V1__Batch batch = LONGHAUL__V1__BATCH__INIT;
    struct labels labels;
    enum status status = read_order(&batch.order, submitting->order);
    if (status == STATUS_OK)
        status = read_metadata(&labels, &submitting->metadata);
    if (status != STATUS_OK)
        return console_usage(program);
    batch.metadata = labels.pointers;
    batch.n_metadata = submitting->metadata.count;
    batch.priority = (int32_t)submitting->priority;
    batch.expires_after_seconds = submitting->expires_seconds;
    batch.retention_seconds = submitting->retention_seconds;
    if (submitting->endpoint)
        batch.endpoint = (char *)submitting->endpoint;
    status = line_file_open(&submitting->file, path);
    if (status != STATUS_OK)
        return console_failure(program, status);
    status = submit(submitting, &batch);
    line_file_close(&submitting->file);
    return batch_asking_end(&submitting->asking, program, status, 0);
}

int batch_command_submit(int argc, char **argv)
{
    struct submitting submitting = {.file = {.descriptor = -1}};
    struct flags_row rows[BATCH_ASKING_ROWS + 8] = {
        [BATCH_ASKING_ROWS] =
            {.name = "id",
             .type = FLAGS_TEXT,
             .target = &submitting.id,
             .value = "ID",
             .help = "its id: small letters, digits and hyphens; not given: the coordinator's"},
        {.name = "order",
         .type = FLAGS_TEXT,
         .target = &submitting.order,
         .value = "WORD",
         .help = "in which results are told: completion (not given) or input"},
        {.name = "priority",
         .type = FLAGS_INTEGER,
         .target = &submitting.priority,
         .value = "N",
         .help = "among your own, higher first; 50 stands beside single requests",
         .least = -100,
         .most = 100},
        {.name = "expires",
         .type = FLAGS_INTEGER,
         .target = &submitting.expires_seconds,
         .value = "SECONDS",
         .help = "until lines that have not ended expire; not given: a day",
         .least = 60,
         .most = 2592000},
        {.name = "retention",
         .type = FLAGS_INTEGER,
         .target = &submitting.retention_seconds,
         .value = "SECONDS",
         .help = "that lines and results are kept after its end; not given: the coordinator's",
         .least = 1,
         .most = 31536000},
        {.name = "metadata",
         .type = FLAGS_TEXTS,
         .target = &submitting.metadata,
         .value = "KEY=VALUE",
         .help = "a label; up to 16"},
        {.name = "endpoint",
         .type = FLAGS_TEXT,
         .target = &submitting.endpoint,
         .value = "URL",
         .help = "every line's url; not given: the first line's"},
        {.name = "request-id",
         .type = FLAGS_TEXT,
         .target = &submitting.request_id,
         .value = "ID",
         .help = "makes the command safe to repeat: the same id submits once in 24 hours"},
    };
    batch_asking_rows(&submitting.asking, rows);
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul batch submit --server 127.0.0.1:7711 questions.jsonl\n",
        .summary =
            "Makes a batch of a file (- is standard input) and prints its name. A line is\n"
            "OpenAI's: {\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/completions\",\n"
            "\"body\": {...}}; urls are /v1/completions, /v1/chat/completions and\n"
            "/longhaul/v1/generate. An upload that breaks goes on where it was.\n",
        .arguments = "FILE",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int first = 0;
    const int exit_code = batch_asking_parse(&submitting.asking, &command, argc, argv, &first);
    return exit_code == FLAGS_GO_ON ? run(&submitting, argv[first]) : exit_code;
}
