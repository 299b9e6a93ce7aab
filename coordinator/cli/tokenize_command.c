/* longhaul tokenize: a text's ids, by the model file's own tokenizer, which needs no weights, or by
 * a coordinator's. */
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/text_file.h"
#include "coordinator/text/tokenizer.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/flags.h"
#include "proto/json_writer.h"
#include "proto/model/vocab_file.h"

enum { ASK_MS = 60000 };

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

/* The same by a running coordinator. */
static enum status ask(struct id_list *ids, const struct server_option *server, char *text)
{
    Longhaul__V1__TokenizeRequest request = LONGHAUL__V1__TOKENIZE_REQUEST__INIT;
    request.text = text;
    const struct rpc_stream_args call = {
        .path = "/longhaul.v1.Inference/Tokenize",
        .response = &longhaul__v1__tokenize_response__descriptor,
        .timeout_ms = server_option_timeout_ms(server, ASK_MS),
    };
    struct connection connection;
    ProtobufCMessage *reply = NULL;
    enum status status = connection_open(&connection, server, NULL);
    if (status == STATUS_OK)
        status = connection_ask(&connection, &reply, &call, &request.base);
    const Longhaul__V1__TokenizeResponse *response = (const void *)reply;
    for (size_t i = 0; status == STATUS_OK && i < response->n_token_ids; i++)
        status = id_list_add(ids, response->token_ids[i]);
    protobuf_c_message_free_unpacked(reply, NULL);
    return connection_end(&connection, status);
}

static enum status tokenize(const struct server_option *server, const char *model_path,
                            const char *text_path, bool json)
{
    char *text = NULL;
    size_t bytes = 0;
    if (!server->address)
        TRY(text_file_check_readable(model_path, "model"));
    TRY(text_file_read(&text, &bytes, text_path));
    struct id_list ids = {0};
    enum status status =
        server->address ? ask(&ids, server, text) : encode(&ids, model_path, text, bytes);
    free(text);
    if (status == STATUS_OK && json)
        print_json(&ids);
    else if (status == STATUS_OK)
        print_plain(&ids);
    id_list_deinit(&ids);
    return status;
}

static enum status check(const struct server_option *server, const char *model, const char *file)
{
    if (!file)
        return fail(STATUS_INVALID_ARGUMENT, "--file FILE is missing");
    if (!server->address && !model[0])
        return fail(STATUS_INVALID_ARGUMENT, "give --model FILE, or --server HOST:PORT");
    return server_option_check(server);
}

int tokenize_command(int argc, char **argv)
{
    static const char program[] = "longhaul tokenize";
    bool json = false;
    const char *file = NULL;
    struct server_option server = {0};
    const struct flags_row rows[] = {
        {.name = "file",
         .letter = 'f',
         .type = FLAGS_TEXT,
         .target = &file,
         .value = "FILE",
         .help = "the text, UTF-8; - for standard input"},
        {.name = "json",
         .type = FLAGS_SWITCH,
         .target = &json,
         .help = "one JSON object with token_ids and count"},
        SERVER_OPTION_ADDRESS(&server),
        server_option_timeout_row(&server),
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
            "<|im_start|>, are recognised. The tokenizer is the model file's, or that of a "
            "running\n"
            "coordinator.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .takers = CONFIG_MODEL_ONLY,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    const char *model = config_text(config, "model.path");
    if (exit_code == FLAGS_GO_ON && check(&server, model, file) != STATUS_OK)
        exit_code = console_usage(program);
    if (exit_code == FLAGS_GO_ON) {
        status = tokenize(&server, model, file, json);
        exit_code = status == STATUS_OK ? 0 : console_failure(program, status);
    }
    config_destroy(config);
    return exit_code;
}
