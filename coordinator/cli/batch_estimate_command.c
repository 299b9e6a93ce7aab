/* longhaul batch estimate: what lines would take, or a batch has taken. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "coordinator/cli/batch_command.h"
#include "coordinator/cli/batch_view.h"
#include "coordinator/cli/line_file.h"
#include "proto/json_writer.h"
#include "proto/printable.h"

static const char program[] = "longhaul batch estimate";

static void print(const Longhaul__V1__BatchEstimate *estimate)
{
    const Longhaul__V1__BatchUsage *used = estimate->used;
    printable_write_text(stdout, estimate->text, strlen(estimate->text));
    putchar('\n');
    if (!used)
        return;
    printf("it took: %" PRId64 " prompt tokens, %" PRId64 " of them read, answers of %" PRId64
           ", %.1f s\n",
           used->prompt_tokens, used->prefilled_tokens, used->completion_tokens,
           estimate->used_seconds);
}

static void print_json(const Longhaul__V1__BatchEstimate *estimate)
{
    const struct {
        const char *key;
        int64_t value;
    } rows[] = {
        {"lines", estimate->lines},
        {"invalid_lines", estimate->invalid_lines},
        {"prompt_tokens", estimate->prompt_tokens},
        {"unique_tokens", estimate->unique_tokens},
        {"completion_tokens_max", estimate->completion_tokens_max},
        {"memory_bytes", estimate->memory_bytes},
        {"sent_bytes", estimate->sent_bytes},
    };
    struct json_writer writer = {.file = stdout};
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        json_writer_integer(&writer, rows[i].key, rows[i].value);
    json_writer_real(&writer, "seconds", estimate->seconds);
    if (estimate->used) {
        batch_view_write_usage(&writer, estimate->used);
        json_writer_real(&writer, "used_seconds", estimate->used_seconds);
    }
    json_writer_end_object(&writer);
    putchar('\n');
}

static enum status estimate(struct batch_asking *asking, const char *word)
{
    struct line_file file = {.descriptor = -1};
    const struct batch_client_lines lines = {line_file_read, NULL, &file};
    Longhaul__V1__BatchEstimate *answer = NULL;
    const bool named = strncmp(word, "batches/", 8) == 0;
    if (!named)
        TRY(line_file_open(&file, word));
    enum status status = batch_asking_begin(asking);
    if (status == STATUS_OK)
        status = batch_client_estimate(&asking->client, &answer, named ? word : "",
                                       named ? NULL : &lines);
    line_file_close(&file);
    TRY(status);
    if (asking->json)
        print_json(answer);
    else
        print(answer);
    longhaul__v1__batch_estimate__free_unpacked(answer, NULL);
    return STATUS_OK;
}

int batch_command_estimate(int argc, char **argv)
{
    struct batch_asking asking = {.json = false};
    struct flags_row rows[BATCH_ASKING_ROWS];
    batch_asking_rows(&asking, rows);
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul batch estimate --server 127.0.0.1:7711 questions.jsonl\n",
        .summary =
            "Says what a file of lines would take, without submitting it: tokens exactly,\n"
            "memory, seconds and bytes by the plan of the coordinator's workers. Of a batch\n"
            "(batches/NAME) also what it has taken.\n",
        .arguments = "FILE|batches/NAME",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = BATCH_ASKING_ROWS,
    };
    int first = 0;
    const int exit_code = batch_asking_parse(&asking, &command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    return batch_asking_end(&asking, program, estimate(&asking, argv[first]), 0);
}
