/* longhaul batch status, cancel, retry and list: one request, one answer. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/batch_command.h"
#include "coordinator/cli/batch_view.h"
#include "coordinator/cli/console.h"

static void show(const struct batch_asking *asking, const Longhaul__V1__Batch *batch)
{
    if (asking->json)
        batch_view_print_json(batch);
    else
        batch_view_print(batch);
}

static const struct {
    const char *word, *program, *example, *summary;
} texts[] = {
    {"status", "longhaul batch status", "  longhaul batch status --server 127.0.0.1:7711 NAME\n",
     "Shows how far a batch is: its state, its lines and its tokens.\n"},
    {"cancel", "longhaul batch cancel", "  longhaul batch cancel --server 127.0.0.1:7711 NAME\n",
     "Ends a batch: lines that run end within a step, those that wait never begin, finished\n"
     "ones keep their results.\n"},
    {"retry", "longhaul batch retry", "  longhaul batch retry --server 127.0.0.1:7711 NAME\n",
     "Makes a new batch of the lines that failed, expired or were cancelled in one that has\n"
     "ended, and prints its name.\n"},
};

enum asking { STATUS, CANCEL, RETRY };

static enum status retry(struct batch_asking *asking, const char *name)
{
    Longhaul__V1__RetryBatchRequest request = LONGHAUL__V1__RETRY_BATCH_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    char id[BATCH_CLIENT_ID_BYTES];
    TRY(batch_client_make_id(id));
    request.name = (char *)name;
    request.request_id = id;
    TRY(batch_client_ask(&asking->client, &reply, "RetryBatch", &longhaul__v1__batch__descriptor,
                         &request.base));
    const Longhaul__V1__Batch *made = (const void *)reply;
    if (asking->json)
        batch_view_print_json(made);
    else
        printf("%s\n", made->name);
    protobuf_c_message_free_unpacked(reply, NULL);
    return STATUS_OK;
}

static enum status ask(struct batch_asking *asking, enum asking what, const char *word)
{
    Longhaul__V1__Batch *batch = NULL;
    char name[BATCH_ASKING_NAME_BYTES];
    batch_asking_name(name, word);
    TRY(batch_asking_begin(asking));
    if (what == RETRY)
        return retry(asking, name);
    TRY(what == CANCEL ? batch_client_cancel(&asking->client, &batch, name)
                       : batch_client_get(&asking->client, &batch, name));
    show(asking, batch);
    longhaul__v1__batch__free_unpacked(batch, NULL);
    return STATUS_OK;
}

static int ask_about(enum asking what, int argc, char **argv)
{
    struct batch_asking asking = {.json = false};
    struct flags_row rows[BATCH_ASKING_ROWS];
    batch_asking_rows(&asking, rows);
    const struct flags_command command = {
        .program = texts[what].program,
        .example = texts[what].example,
        .summary = texts[what].summary,
        .arguments = "NAME",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = BATCH_ASKING_ROWS,
    };
    int first = 0;
    const int exit_code = batch_asking_parse(&asking, &command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    return batch_asking_end(&asking, texts[what].program, ask(&asking, what, argv[first]), 0);
}

int batch_command_status(int argc, char **argv)
{
    return ask_about(STATUS, argc, argv);
}

int batch_command_cancel(int argc, char **argv)
{
    return ask_about(CANCEL, argc, argv);
}

int batch_command_retry(int argc, char **argv)
{
    return ask_about(RETRY, argc, argv);
}

/* ---- list ---- */

static const char list_program[] = "longhaul batch list";

static void print_row(const Longhaul__V1__Batch *batch)
{
    static const Longhaul__V1__LineCounts none = LONGHAUL__V1__LINE_COUNTS__INIT;
    const Longhaul__V1__LineCounts *counts = batch->counts ? batch->counts : &none;
    printf("%-36s  %-10s  %8" PRId64 "  %9" PRId64 "  %6" PRId64 "  %7" PRId64 "\n", batch->name,
           batch_view_state(batch->state), counts->total, counts->completed, counts->failed,
           counts->running);
}

static enum status list(struct batch_asking *asking, Longhaul__V1__BatchState state)
{
    char token[256] = "";
    TRY(batch_asking_begin(asking));
    if (!asking->json)
        printf("%-36s  %-10s  %8s  %9s  %6s  %7s\n", "name", "state", "lines", "completed",
               "failed", "running");
    do {
        Longhaul__V1__ListBatchesRequest request = LONGHAUL__V1__LIST_BATCHES_REQUEST__INIT;
        ProtobufCMessage *reply = NULL;
        request.page_token = token;
        request.state = state;
        TRY(batch_client_ask(&asking->client, &reply, "ListBatches",
                             &longhaul__v1__list_batches_response__descriptor, &request.base));
        const Longhaul__V1__ListBatchesResponse *page = (const void *)reply;
        for (size_t i = 0; i < page->n_batches; i++)
            if (asking->json)
                batch_view_print_json(page->batches[i]);
            else
                print_row(page->batches[i]);
        snprintf(token, sizeof token, "%s", page->next_page_token);
        protobuf_c_message_free_unpacked(reply, NULL);
    } while (token[0]);
    return STATUS_OK;
}

int batch_command_list(int argc, char **argv)
{
    struct batch_asking asking = {.json = false};
    const char *word = NULL;
    struct flags_row rows[BATCH_ASKING_ROWS + 1] = {
        [BATCH_ASKING_ROWS] = {.name = "state",
                               .type = FLAGS_TEXT,
                               .target = &word,
                               .value = "WORD",
                               .help = "only those in this state: running, succeeded, ..."},
    };
    batch_asking_rows(&asking, rows);
    const struct flags_command command = {
        .program = list_program,
        .example = "  longhaul batch list --server 127.0.0.1:7711 --state running\n",
        .summary = "Lists the batches of a coordinator, the newest first.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int first = 0;
    const int exit_code = batch_asking_parse(&asking, &command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    const Longhaul__V1__BatchState state =
        word ? batch_view_state_of(word) : LONGHAUL__V1__BATCH_STATE__BATCH_STATE_UNSPECIFIED;
    if (word && state == LONGHAUL__V1__BATCH_STATE__BATCH_STATE_UNSPECIFIED) {
        console_say("%s: --state %s: no state has that name\nTry '%s --help'.", list_program, word,
                    list_program);
        return CONSOLE_EXIT_USAGE;
    }
    return batch_asking_end(&asking, list_program, list(&asking, state), 0);
}
