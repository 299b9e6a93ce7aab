/* longhaul chat: a conversation. On a terminal a person types; otherwise each line of standard
 * input is a turn. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/conversation.h"
#include "coordinator/cli/generate_options.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/line_input.h"
#include "coordinator/cli/text_file.h"
#include "proto/printable.h"
#include "proto/standard_streams.h"
#include "proto/utf8_check.h"

static const char program[] = "longhaul chat";

enum { CHAT_ROWS = SERVER_OPTION_ADDRESS_ROWS + 2, ASK_MS = 10000 };

struct chat_options {
    struct generate_options generate;
    const char *system;
    const char *document_file;
};

struct chat_session {
    const struct chat_options *options;
    struct connection connection;
    const struct config *config;
    struct line_input input;
    struct conversation conversation;
    char *document; /* precedes the first turn; NULL: there is none, or it has been told */
    bool interactive;
};

/* ---- what a person types ---- */

static enum status read_line(struct chat_session *session, char **line)
{
    if (session->interactive) {
        fprintf(stderr, "%s>%s ", console_paint(CONSOLE_GREEN), console_paint(CONSOLE_PLAIN));
        fflush(stderr);
    }
    return line_input_read(&session->input, line);
}

/* Appends a line to a turn. `*goes_on`: it ends in a backslash, which becomes a newline. */
static enum status append_line(char **turn, const char *line, bool *goes_on)
{
    size_t used = *turn ? strlen(*turn) : 0, bytes = strlen(line);
    char *longer = realloc(*turn, used + bytes + 1);
    if (!longer)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a turn");
    memcpy(longer + used, line, bytes + 1);
    *turn = longer;
    *goes_on = bytes > 0 && line[bytes - 1] == '\\';
    if (*goes_on)
        longer[used + bytes - 1] = '\n';
    return STATUS_OK;
}

/* `*turn` is NULL at the end of the input; the caller frees it. */
static enum status read_turn(struct chat_session *session, char **turn)
{
    char *text = NULL;
    enum status status = STATUS_OK;
    for (bool goes_on = true; goes_on;) {
        char *line = NULL;
        status = read_line(session, &line);
        if (status == STATUS_OK && line)
            status = append_line(&text, line, &goes_on);
        if (status != STATUS_OK || !line)
            goes_on = false;
        free(line);
    }
    *turn = NULL;
    if (status == STATUS_OK)
        *turn = text;
    else
        free(text);
    return status;
}

/* ---- a turn ---- */

/* The document, an empty line, the first turn. */
static enum status add_user_turn(struct chat_session *session, const char *text)
{
    char *joined = NULL;
    if (!session->document)
        return conversation_add(&session->conversation, LONGHAUL__V1__ROLE__ROLE_USER, text);
    if (asprintf(&joined, "%s\n\n%s", session->document, text) < 0)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the document");
    enum status status =
        conversation_add(&session->conversation, LONGHAUL__V1__ROLE__ROLE_USER, joined);
    free(joined);
    return status;
}

static void tell_cut(const struct chat_session *session, const struct answer *answer)
{
    if (session->interactive &&
        answer->finished->finish_reason == LONGHAUL__V1__FINISH_REASON__FINISH_REASON_LENGTH)
        console_say("%s(cut after %lld tokens; --max-tokens N allows more)%s",
                    console_paint(CONSOLE_DIM), (long long)answer->ids.count,
                    console_paint(CONSOLE_PLAIN));
}

/* A turn without any answer is taken back, so that the conversation can go on. */
static enum status take_turn(struct chat_session *session, const char *text)
{
    const struct generate_options *options = &session->options->generate;
    struct generate_request request;
    struct answer answer = {
        .progress = {.verbose = options->verbose,
                     .rates = options->verbose,
                     .text_on_screen = !options->json && isatty(STDOUT_FILENO)},
        .stream = !options->json,
        .timeout_ms = server_option_timeout_ms(&options->server, 0),
    };
    TRY(add_user_turn(session, text));
    TRY(generate_request_set(&request, options, conversation_prompt(&session->conversation)));
    method_option_set(&request.method, session->config);
    request.message.draft = method_option_draft(session->config);
    enum status status = answer_ask(&answer, session->connection.client, &request.message);
    if (status == STATUS_OK && options->json) {
        answer_print_json(&answer);
        status = standard_output_text(""); /* whoever reads it may ask the next turn then */
    }
    if (status == STATUS_OK)
        tell_cut(session, &answer);
    bool answered = status == STATUS_OK || (status == STATUS_CANCELLED && answer.text_bytes > 0);
    if (answered) {
        enum status kept =
            conversation_add(&session->conversation, LONGHAUL__V1__ROLE__ROLE_ASSISTANT,
                             answer.text ? answer.text : "");
        status = status == STATUS_OK ? kept : status;
        free(session->document);
        session->document = NULL;
    } else {
        conversation_drop(&session->conversation);
    }
    answer_deinit(&answer);
    return status;
}

/* ---- the conversation ---- */

/* Whether a person can go on after it: lost output or a signal that ends the command cannot be
 * helped. */
static bool goes_on_after(enum status status)
{
    if (interrupt_count() > 0)
        return interrupt_forget();
    return status != STATUS_IO;
}

static enum status converse(struct chat_session *session)
{
    for (;;) {
        char *text = NULL;
        enum status status = read_turn(session, &text);
        bool ended = status == STATUS_OK && !text;
        if (status == STATUS_OK && text && text[strspn(text, " \t\r\n")])
            status = take_turn(session, text);
        free(text);
        if (ended && session->interactive)
            fputc('\n', stderr);
        if (ended)
            return STATUS_OK;
        if (status == STATUS_OK)
            continue;
        bool interrupted = interrupt_count() > 0;
        if (!session->interactive || !goes_on_after(status))
            return status;
        if (interrupted)
            console_say("%s(Ctrl-D ends the chat)%s", console_paint(CONSOLE_DIM),
                        console_paint(CONSOLE_PLAIN));
        else
            console_failure(program, status);
    }
}

/* Who answers; also finds out whether anybody does, before something is typed. */
static enum status greet(struct chat_session *session)
{
    const Longhaul__V1__GetClusterRequest request = LONGHAUL__V1__GET_CLUSTER_REQUEST__INIT;
    const struct rpc_stream_args call = {
        .path = "/longhaul.v1.Inference/GetCluster",
        .response = &longhaul__v1__get_cluster_response__descriptor,
        .timeout_ms = ASK_MS,
    };
    ProtobufCMessage *reply = NULL;
    TRY(connection_ask(&session->connection, &reply, &call, &request.base));
    const Longhaul__V1__GetClusterResponse *cluster = (const void *)reply;
    printable_mask_line(cluster->model, strlen(cluster->model));
    console_say("%s%s%s%lld tokens of context.\nCtrl-C ends an answer, Ctrl-D the chat.%s",
                console_paint(CONSOLE_DIM), cluster->model, cluster->model[0] ? ", " : "",
                (long long)cluster->context_tokens, console_paint(CONSOLE_PLAIN));
    protobuf_c_message_free_unpacked(reply, NULL);
    return STATUS_OK;
}

/* A coordinator of our own has room for as much as the model was trained on. */
static enum status examine(int64_t *context_tokens, const struct config *config)
{
    struct model *model = NULL;
    const char *path = config_text(config, "model.path");
    TRY(text_file_check_readable(path, "model"));
    TRY(model_open(&model, path));
    *context_tokens = model_spec(model)->trained_tokens;
    model_close(model);
    return method_option_check(config, *context_tokens);
}

static enum status prepare(struct chat_session *session)
{
    const struct chat_options *options = session->options;
    struct private_coordinator_args own = {.config = session->config};
    size_t bytes = 0;
    if (options->system) {
        TRY(utf8_check(options->system, strlen(options->system), "--system"));
        TRY(conversation_add(&session->conversation, LONGHAUL__V1__ROLE__ROLE_SYSTEM,
                             options->system));
    }
    if (options->document_file)
        TRY(text_file_read(&session->document, &bytes, options->document_file));
    if (!options->generate.server.address)
        TRY(examine(&own.context_tokens, session->config));
    TRY(connection_open(&session->connection, &options->generate.server, &own));
    return session->interactive ? greet(session) : STATUS_OK;
}

static enum status chat(const struct chat_options *options, const struct config *config)
{
    struct chat_session session = {
        .options = options,
        .config = config,
        .interactive = isatty(STDIN_FILENO) && isatty(STDERR_FILENO) && !options->generate.json,
    };
    enum status status = prepare(&session);
    if (status == STATUS_OK)
        status = converse(&session);
    status = connection_end(&session.connection, status);
    conversation_deinit(&session.conversation);
    line_input_deinit(&session.input);
    free(session.document);
    return status;
}

static enum status check(const struct chat_options *options, const struct config *config)
{
    TRY(generate_options_check(&options->generate));
    if (!options->generate.server.address && !config_text(config, "model.path")[0])
        return fail(STATUS_INVALID_ARGUMENT, "give --server HOST:PORT, or --model FILE");
    if (options->document_file && strcmp(options->document_file, "-") == 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "--prompt-file -: standard input is the conversation; name a file");
    return STATUS_OK;
}

static int checked_chat(const struct chat_options *options, const struct config *config)
{
    if (check(options, config) != STATUS_OK)
        return console_usage(program);
    interrupt_install();
    enum status status = chat(options, config);
    if (interrupt_count() > 0) {
        console_say("%s: interrupted", program);
        return interrupt_exit_code();
    }
    return status == STATUS_OK ? 0 : console_failure(program, status);
}

int chat_command(int argc, char **argv)
{
    struct chat_options options = {0};
    struct flags_row rows[CHAT_ROWS + GENERATE_OPTIONS_ANSWER_ROWS];
    struct config *config = NULL;
    generate_options_init_answer(&options.generate, rows + CHAT_ROWS);
    for (int i = 0; i < SERVER_OPTION_ADDRESS_ROWS; i++)
        rows[i] = server_option_address_row(&options.generate.server, i);
    rows[CHAT_ROWS - 2] =
        (struct flags_row){.name = "system",
                           .type = FLAGS_TEXT,
                           .target = &options.system,
                           .value = "TEXT",
                           .help = "what the model is told before the conversation"};
    rows[CHAT_ROWS - 1] =
        (struct flags_row){.name = "prompt-file",
                           .letter = 'f',
                           .type = FLAGS_TEXT,
                           .target = &options.document_file,
                           .value = "FILE",
                           .help = "a document that the first turn is about, UTF-8 text"};
    enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure(program, status);
    const struct flags_command command = {
        .program = program,
        .example =
            "  longhaul chat --server 127.0.0.1:7711 --system \"Answer in one sentence.\"\n"
            "  longhaul chat --model SmolLM2-135M-Instruct.Q4_1.gguf --prompt-file report.txt\n",
        .summary =
            "Talks with the model: each answer knows all turns before it. Asks a running\n"
            "coordinator, or starts one for the model. On a terminal Ctrl-C ends an answer and\n"
            "Ctrl-D the chat. Otherwise each line of standard input is a turn, and the first\n"
            "failure ends the chat. A line that ends in a backslash goes on in the next one.\n",
        .rows = rows,
        .rows_count = CHAT_ROWS + GENERATE_OPTIONS_ANSWER_ROWS,
        .takers = CONFIG_RUN | CONFIG_REQUEST,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code == FLAGS_GO_ON)
        exit_code = checked_chat(&options, config);
    config_destroy(config);
    return exit_code;
}
