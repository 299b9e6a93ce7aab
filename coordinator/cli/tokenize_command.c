/* longhaul tokenize: a text's ids, by the model file's own tokenizer; no coordinator is needed. */
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/json_writer.h"
#include "coordinator/cli/text_file.h"
#include "coordinator/text/tokenizer.h"
#include "proto/flags.h"
#include "proto/model/vocab_file.h"

static enum status encode(struct id_list *ids, const char *model_path, const char *text,
                          size_t bytes)
{
    struct vocab_file *file = NULL;
    struct tokenizer *tokenizer = NULL;
    TRY(vocab_file_open(&file, model_path));
    enum status status = tokenizer_create(&tokenizer, vocab_file_vocab(file));
    if (status == STATUS_OK)
        status = tokenizer_encode(tokenizer, ids, text, bytes, TOKENIZER_CONTROL | TOKENIZER_BOS);
    tokenizer_destroy(tokenizer);
    vocab_file_close(file);
    return status;
}

static void print_json(const struct id_list *ids)
{
    struct json_writer writer = {.file = stdout};
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    json_writer_begin_array(&writer, "token_ids");
    for (size_t i = 0; i < ids->count; i++)
        json_writer_integer(&writer, NULL, ids->ids[i]);
    json_writer_end_array(&writer);
    json_writer_integer(&writer, "count", (int64_t)ids->count);
    json_writer_end_object(&writer);
    putchar('\n');
}

static void print_plain(const struct id_list *ids)
{
    for (size_t i = 0; i < ids->count; i++)
        printf("%d\n", ids->ids[i]);
}

static enum status tokenize(const char *model_path, const char *text_path, bool json)
{
    char *text = NULL;
    size_t bytes = 0;
    TRY(text_file_check_readable(model_path, "model"));
    TRY(text_file_read(&text, &bytes, text_path));
    struct id_list ids = {0};
    enum status status = encode(&ids, model_path, text, bytes);
    free(text);
    if (status == STATUS_OK && json)
        print_json(&ids);
    else if (status == STATUS_OK)
        print_plain(&ids);
    id_list_deinit(&ids);
    return status;
}

int tokenize_command(int argc, char **argv)
{
    static const char program[] = "longhaul tokenize";
    bool json = false;
    const char *file = NULL;
    const struct flags_row rows[] = {
        {.name = "file",
         .type = FLAGS_TEXT,
         .target = &file,
         .value = "FILE",
         .help = "the text, UTF-8; - for standard input"},
        {.name = "json",
         .type = FLAGS_SWITCH,
         .target = &json,
         .help = "one JSON object with token_ids and count"},
    };
    struct config *config = NULL;
    enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure(program, status);
    const struct flags_command command = {
        .program = program,
        .example =
            "  longhaul tokenize --model SmolLM2-135M-Instruct.Q4_1.gguf --file report.txt\n",
        .summary =
            "Prints the ids of a text's tokens, one a line. Control tokens in the text, such as\n"
            "<|im_start|>, are recognised.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .takers = CONFIG_MODEL_ONLY,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    const char *model = config_text(config, "model.path");
    if (exit_code == FLAGS_GO_ON && (!file || !model[0])) {
        console_say("%s: --%s is missing\nTry '%s --help'.", program, file ? "model" : "file",
                    program);
        exit_code = CONSOLE_EXIT_USAGE;
    }
    if (exit_code == FLAGS_GO_ON) {
        status = tokenize(model, file, json);
        exit_code = status == STATUS_OK ? 0 : console_failure(program, status);
    }
    config_destroy(config);
    return exit_code;
}
