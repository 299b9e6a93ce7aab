/* longhaul batch watch and results: until a batch has ended. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/batch_command.h"
#include "coordinator/cli/batch_view.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/result_file.h"
#include "proto/clock.h"

enum { LOOK_SECONDS = 1 };

/* How far a batch was at the last look, and where its results go. */
struct following {
    struct batch_asking asking;
    struct batch_progress progress;
    char name[BATCH_ASKING_NAME_BYTES];
    const char *output;
    bool overwrite;
    struct result_file file;
    double looked_seconds;
    int exit_code;
};

/* ---- watch ---- */

static enum status take_batch(void *context, const ProtobufCMessage *message)
{
    struct following *following = context;
    const Longhaul__V1__Batch *batch = (const void *)message;
    if (!batch)
        return STATUS_OK;
    following->exit_code = batch_view_exit_code(batch);
    if (following->asking.json)
        batch_view_print_json(batch);
    else
        batch_progress_show(&following->progress, batch, 0);
    if (!batch_view_has_ended(batch) || following->asking.json)
        return STATUS_OK;
    console_clear();
    batch_view_print(batch);
    return STATUS_OK;
}

static enum status watch(struct following *following)
{
    TRY(batch_asking_begin(&following->asking));
    return batch_client_watch(&following->asking.client, following->name, take_batch, following);
}

int batch_command_watch(int argc, char **argv)
{
    static const char program[] = "longhaul batch watch";
    struct following following = {.exit_code = 0};
    struct flags_row rows[BATCH_ASKING_ROWS];
    batch_asking_rows(&following.asking, rows);
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul batch watch --server 127.0.0.1:7711 NAME\n",
        .summary =
            "Shows how far a batch is until it has ended: lines, tokens per second, time left.\n"
            "The exit code is 0 where every line was answered, else 1. Ctrl-C ends the watch,\n"
            "not the batch.\n",
        .arguments = "NAME",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = BATCH_ASKING_ROWS,
    };
    int first = 0;
    const int exit_code = batch_asking_parse(&following.asking, &command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    batch_asking_name(following.name, argv[first]);
    const enum status status = watch(&following);
    return batch_asking_end(&following.asking, program, status, following.exit_code);
}

/* ---- results ---- */

/* Once a second: the batch is asked for beside its results. */
static enum status look(struct following *following)
{
    Longhaul__V1__Batch *batch = NULL;
    if (clock_now_seconds() < following->looked_seconds + LOOK_SECONDS)
        return STATUS_OK;
    following->looked_seconds = clock_now_seconds();
    TRY(batch_client_get(&following->asking.client, &batch, following->name));
    batch_progress_show(&following->progress, batch, 0);
    longhaul__v1__batch__free_unpacked(batch, NULL);
    return STATUS_OK;
}

static enum status take_results(void *context, const ProtobufCMessage *message)
{
    struct following *following = context;
    const Longhaul__V1__StreamResultsResponse *part = (const void *)message;
    if (part)
        console_clear();
    for (size_t i = 0; part && i < part->n_results; i++)
        TRY(result_file_take(&following->file, part->results[i]->json));
    TRY(result_file_flush(&following->file));
    return following->output ? look(following) : STATUS_OK;
}

static enum status tell_end(struct following *following)
{
    Longhaul__V1__Batch *batch = NULL;
    console_clear();
    TRY(batch_client_get(&following->asking.client, &batch, following->name));
    following->exit_code = batch_view_exit_code(batch);
    if (following->output && following->asking.json)
        batch_view_print_json(batch);
    else if (following->output && batch->counts)
        console_say("%" PRId64 " lines: %" PRId64 " completed, %" PRId64 " failed%s",
                    batch->counts->total, batch->counts->completed, batch->counts->failed,
                    batch->error[0] ? "; the batch was refused" : "");
    longhaul__v1__batch__free_unpacked(batch, NULL);
    return STATUS_OK;
}

static enum status results(struct following *following)
{
    TRY(batch_asking_begin(&following->asking));
    TRY(result_file_open(&following->file, following->output, following->overwrite));
    TRY(result_file_close(
        &following->file,
        batch_client_results(&following->asking.client, following->name, take_results, following)));
    return tell_end(following);
}

int batch_command_results(int argc, char **argv)
{
    static const char program[] = "longhaul batch results";
    struct following following = {.exit_code = 0};
    struct flags_row rows[BATCH_ASKING_ROWS + 2] = {
        [BATCH_ASKING_ROWS] = {.name = "output",
                               .letter = 'o',
                               .type = FLAGS_TEXT,
                               .target = &following.output,
                               .value = "FILE",
                               .help = "where they go; not given: standard output"},
        {.name = "overwrite",
         .type = FLAGS_SWITCH,
         .target = &following.overwrite,
         .help = "whatever the file holds"},
    };
    batch_asking_rows(&following.asking, rows);
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul batch results --server 127.0.0.1:7711 NAME -o answers.jsonl\n",
        .summary =
            "Writes a batch's results, one JSON object a line as OpenAI's Batch has them, as\n"
            "they come, until it has ended. Run again after an interruption it goes on behind\n"
            "the last whole line of the file. The exit code is 0 where every line was answered,\n"
            "else 1.\n",
        .arguments = "NAME",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int first = 0;
    const int exit_code = batch_asking_parse(&following.asking, &command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    batch_asking_name(following.name, argv[first]);
    const enum status status = results(&following);
    return batch_asking_end(&following.asking, program, status, following.exit_code);
}
