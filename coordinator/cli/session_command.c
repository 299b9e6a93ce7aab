/* longhaul session: documents that the workers of a running coordinator keep read. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "coordinator/cli/command_list.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/generate_options.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/method_option.h"
#include "coordinator/cli/session_asking.h"
#include "coordinator/cli/text_file.h"
#include "longhaul/v1/sessions.pb-c.h"

enum { ASK_MS = 10000, PAGE_TOKEN_BYTES = 256 };

/* One call of Sessions; `patience_ms` 0: as long as it takes. The caller frees the reply. */
static enum status call(const struct server_option *server, ProtobufCMessage **reply,
                        const char *path, const ProtobufCMessageDescriptor *response,
                        const ProtobufCMessage *request, int64_t patience_ms)
{
    const struct rpc_stream_args args = {
        .path = path,
        .response = response,
        .timeout_ms = server_option_timeout_ms(server, patience_ms),
    };
    struct connection connection;
    interrupt_install();
    enum status status = connection_open(&connection, server, NULL);
    if (status == STATUS_OK)
        status = connection_ask(&connection, reply, &args, request);
    return connection_end(&connection, status);
}

static int finish(const char *program, enum status status)
{
    if (interrupt_count() > 0) {
        console_say("%s: interrupted", program);
        return interrupt_exit_code();
    }
    return status == STATUS_OK ? 0 : console_failure(program, status);
}

/* The session that a call answered; frees the reply, which may be NULL. */
static void tell_read(ProtobufCMessage *reply)
{
    const Longhaul__V1__Session *session = (const void *)reply;
    if (session)
        printf("%s\n", session->name);
    if (session)
        console_say("%" PRId64 " tokens read, %.1f MB of a worker's memory", session->tokens,
                    (double)session->held_bytes / 1e6);
    protobuf_c_message_free_unpacked(reply, NULL);
}

/* ---- create ---- */

static const char create_program[] = "longhaul session create";

struct creating {
    struct server_option server;
    const char *id;
    int64_t expires_seconds;
    bool raw;
};

static enum status create(const struct creating *creating, const struct config *config,
                          const char *path)
{
    Longhaul__V1__CreateSessionRequest request = LONGHAUL__V1__CREATE_SESSION_REQUEST__INIT;
    Longhaul__V1__Session session = LONGHAUL__V1__SESSION__INIT;
    struct method_option method;
    ProtobufCMessage *reply = NULL;
    size_t bytes = 0;
    method_option_set(&method, config);
    session.raw = creating->raw;
    session.method = method.options.method;
    session.expires_after_seconds = creating->expires_seconds;
    request.session = &session;
    if (creating->id)
        request.session_id = (char *)creating->id;
    TRY(text_file_read(&request.document, &bytes, path));
    const enum status status =
        call(&creating->server, &reply, "/longhaul.v1.Sessions/CreateSession",
             &longhaul__v1__session__descriptor, &request.base, 0);
    free(request.document);
    tell_read(reply);
    return status;
}

static int create_command(int argc, char **argv)
{
    enum { OWN = 3, ROWS = SERVER_OPTION_ADDRESS_ROWS + OWN };
    struct creating creating = {0};
    struct flags_row rows[ROWS] = {
        [SERVER_OPTION_ADDRESS_ROWS] =
            {.name = "id",
             .type = FLAGS_TEXT,
             .target = &creating.id,
             .value = "ID",
             .help = "its id: small letters, digits and hyphens; not given: the coordinator's"},
        {.name = "expires",
         .type = FLAGS_INTEGER,
         .target = &creating.expires_seconds,
         .value = "SECONDS",
         .help = "that it is kept after its last use; not given: an hour",
         .least = 10,
         .most = 604800},
        {.name = "raw",
         .type = FLAGS_SWITCH,
         .target = &creating.raw,
         .help = "without the model's chat form; a score needs it"},
    };
    struct config *config = NULL;
    for (int i = 0; i < SERVER_OPTION_ADDRESS_ROWS; i++)
        rows[i] = server_option_address_row(&creating.server, i);
    enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure(create_program, status);
    const struct flags_command command = {
        .program = create_program,
        .example = "  longhaul session create --server 127.0.0.1:7711 --id report report.txt\n",
        .summary = "Has a document (- is standard input) read and kept by the workers, and prints\n"
                   "the session's name once it is.\n",
        .arguments = "FILE",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = ROWS,
        .takers = CONFIG_REQUEST,
        .config = config,
    };
    int first = 0;
    int exit_code = flags_parse(&command, argc, argv, &first);
    if (exit_code == FLAGS_GO_ON && server_option_require(&creating.server) != STATUS_OK)
        exit_code = console_usage(create_program);
    if (exit_code == FLAGS_GO_ON)
        exit_code = finish(create_program, create(&creating, config, argv[first]));
    config_destroy(config);
    return exit_code;
}

/* ---- append, delete ---- */

static enum status append(const struct server_option *server, char **words)
{
    Longhaul__V1__AppendToSessionRequest request = LONGHAUL__V1__APPEND_TO_SESSION_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    char name[SESSION_ASKING_NAME_BYTES];
    size_t bytes = 0;
    session_asking_name(name, words[0]);
    request.name = name;
    TRY(text_file_read(&request.text, &bytes, words[1]));
    const enum status status = call(server, &reply, "/longhaul.v1.Sessions/AppendToSession",
                                    &longhaul__v1__session__descriptor, &request.base, 0);
    free(request.text);
    tell_read(reply);
    return status;
}

static enum status delete_one(const struct server_option *server, char **words)
{
    Longhaul__V1__DeleteSessionRequest request = LONGHAUL__V1__DELETE_SESSION_REQUEST__INIT;
    ProtobufCMessage *reply = NULL;
    char name[SESSION_ASKING_NAME_BYTES];
    session_asking_name(name, words[0]);
    request.name = name;
    const enum status status =
        call(server, &reply, "/longhaul.v1.Sessions/DeleteSession",
             &longhaul__v1__delete_session_response__descriptor, &request.base, ASK_MS);
    protobuf_c_message_free_unpacked(reply, NULL);
    return status;
}

/* A command that has no options of its own. */
static int run_plain(const struct flags_command *texts, int argc, char **argv,
                     enum status (*ask)(const struct server_option *server, char **words))
{
    struct server_option server = {0};
    const struct flags_row rows[] = {SERVER_OPTION_ADDRESS(&server)};
    struct flags_command command = *texts;
    command.rows = rows;
    command.rows_count = sizeof rows / sizeof rows[0];
    int first = 0;
    const int exit_code = flags_parse(&command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    if (server_option_require(&server) != STATUS_OK)
        return console_usage(command.program);
    return finish(command.program, ask(&server, argv + first));
}

static int append_command(int argc, char **argv)
{
    const struct flags_command texts = {
        .program = "longhaul session append",
        .example = "  longhaul session append --server 127.0.0.1:7711 report more.txt\n",
        .summary = "Has more text read behind the document of a session; of one that is lost with\n"
                   "its workers all of it, with an empty file (/dev/null) too.\n",
        .arguments = "NAME FILE",
        .arguments_least = 2,
        .arguments_most = 2,
    };
    return run_plain(&texts, argc, argv, append);
}

static int delete_command(int argc, char **argv)
{
    const struct flags_command texts = {
        .program = "longhaul session delete",
        .example = "  longhaul session delete --server 127.0.0.1:7711 report\n",
        .summary = "Forgets a session; questions that run end as they would have.\n",
        .arguments = "NAME",
        .arguments_least = 1,
        .arguments_most = 1,
    };
    return run_plain(&texts, argc, argv, delete_one);
}

/* ---- ask ---- */

static const char ask_program[] = "longhaul session ask";

static enum status ask(const struct generate_options *options, Longhaul__V1__Draft draft,
                       char **words, bool *incomplete)
{
    Longhaul__V1__Prompt prompt = LONGHAUL__V1__PROMPT__INIT;
    struct generate_request request;
    struct connection connection;
    char name[SESSION_ASKING_NAME_BYTES];
    session_asking_name(name, words[0]);
    prompt.content_case = LONGHAUL__V1__PROMPT__CONTENT_TEXT;
    prompt.text = words[1];
    TRY(generate_request_set(&request, options, &prompt));
    request.message.session = name;
    request.message.options = NULL; /* the session's */
    request.message.draft = draft;
    interrupt_install();
    enum status status = connection_open(&connection, &options->server, NULL);
    if (status == STATUS_OK)
        status = generate_options_ask(options, connection.client, &request, incomplete);
    return connection_end(&connection, status);
}

/* NULL: the coordinator's. */
static enum status read_draft(Longhaul__V1__Draft *draft, const char *name)
{
    *draft = LONGHAUL__V1__DRAFT__DRAFT_UNSPECIFIED;
    if (name && strcmp(name, "none") == 0)
        *draft = LONGHAUL__V1__DRAFT__DRAFT_NONE;
    else if (name && strcmp(name, "lookup") == 0)
        *draft = LONGHAUL__V1__DRAFT__DRAFT_LOOKUP;
    else if (name)
        return fail(STATUS_INVALID_ARGUMENT, "--draft %s: must be none or lookup", name);
    return STATUS_OK;
}

static int ask_command(int argc, char **argv)
{
    enum { ROWS = SERVER_OPTION_ADDRESS_ROWS + GENERATE_OPTIONS_ANSWER_ROWS };
    struct generate_options options = {0};
    const char *draft_name = NULL;
    Longhaul__V1__Draft draft;
    struct flags_row rows[ROWS + 1];
    rows[ROWS] = (struct flags_row){
        .name = "draft",
        .value = "NAME",
        .type = FLAGS_TEXT,
        .target = &draft_name,
        .help = "none or lookup: whether tokens are guessed; changes none [the coordinator's]"};
    generate_options_init_answer(&options, rows + SERVER_OPTION_ADDRESS_ROWS);
    for (int i = 0; i < SERVER_OPTION_ADDRESS_ROWS; i++)
        rows[i] = server_option_address_row(&options.server, i);
    const struct flags_command command = {
        .program = ask_program,
        .example =
            "  longhaul session ask --server 127.0.0.1:7711 report \"What does it recommend?\"\n",
        .summary = "Asks about a session's document and prints the answer as it comes; the\n"
                   "document is not read again.\n",
        .arguments = "NAME QUESTION",
        .arguments_least = 2,
        .arguments_most = 2,
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    bool incomplete = false;
    int first = 0;
    const int exit_code = flags_parse(&command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    if (server_option_require(&options.server) != STATUS_OK ||
        generate_options_check(&options) != STATUS_OK ||
        read_draft(&draft, draft_name) != STATUS_OK)
        return console_usage(ask_program);
    const int asked = finish(ask_program, ask(&options, draft, argv + first, &incomplete));
    return asked == 0 && incomplete ? status_exit_code(STATUS_CANCELLED) : asked;
}

/* ---- list ---- */

static const char *state_name(Longhaul__V1__SessionState state)
{
    switch (state) {
    case LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READING:
        return "reading";
    case LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READY:
        return "ready";
    case LONGHAUL__V1__SESSION_STATE__SESSION_STATE_SPILLED:
        return "spilled";
    case LONGHAUL__V1__SESSION_STATE__SESSION_STATE_LOST:
        return "lost";
    default:
        return "unknown";
    }
}

static void print_row(const Longhaul__V1__Session *session)
{
    char until[16] = "";
    const time_t seconds = (time_t)(session->expires_us / 1000000);
    struct tm when;
    if (gmtime_r(&seconds, &when))
        (void)strftime(until, sizeof until, "%H:%M:%S", &when);
    printf("%-36s  %-7s  %9" PRId64 "  %9.1f  %9" PRId64 "  %-9s  %s\n", session->name,
           state_name(session->state), session->tokens, (double)session->held_bytes / 1e6,
           session->questions, until, session->method ? session->method->spelling : "");
}

static enum status list(const struct server_option *server, char **words)
{
    char token[PAGE_TOKEN_BYTES] = "";
    (void)words;
    printf("%-36s  %-7s  %9s  %9s  %9s  %-9s  %s\n", "name", "state", "tokens", "MB", "questions",
           "until UTC", "method");
    do {
        Longhaul__V1__ListSessionsRequest request = LONGHAUL__V1__LIST_SESSIONS_REQUEST__INIT;
        ProtobufCMessage *reply = NULL;
        request.page_token = token;
        TRY(call(server, &reply, "/longhaul.v1.Sessions/ListSessions",
                 &longhaul__v1__list_sessions_response__descriptor, &request.base, ASK_MS));
        const Longhaul__V1__ListSessionsResponse *page = (const void *)reply;
        for (size_t i = 0; i < page->n_sessions; i++)
            print_row(page->sessions[i]);
        snprintf(token, sizeof token, "%s", page->next_page_token);
        protobuf_c_message_free_unpacked(reply, NULL);
    } while (token[0]);
    return STATUS_OK;
}

static int list_command(int argc, char **argv)
{
    const struct flags_command texts = {
        .program = "longhaul session list",
        .example = "  longhaul session list --server 127.0.0.1:7711\n",
        .summary = "Lists the sessions of a coordinator, the newest first.\n",
    };
    return run_plain(&texts, argc, argv, list);
}

static const struct command_row commands[] = {
    {"create", create_command, "have a document read and kept; prints its name"},
    {"append", append_command, "have more text read behind it"},
    {"ask", ask_command, "a question about it"},
    {"list", list_command, "the sessions that there are"},
    {"delete", delete_command, "forget one"},
    {"save", session_command_save, "one becomes a file"},
    {"restore", session_command_restore, "a file becomes one, on any number of workers"},
    {"inspect", session_command_inspect, "what is in such a file"},
};

int session_command(int argc, char **argv)
{
    const struct command_list command_list = {
        .program = "longhaul session",
        .example =
            "  longhaul session create --server 127.0.0.1:7711 --id report report.txt\n"
            "  longhaul session ask --server 127.0.0.1:7711 report \"What does it recommend?\"\n",
        .summary = "Documents that the workers of a running coordinator keep read, so that a\n"
                   "question takes the time of the question.\n",
        .rows = commands,
        .count = sizeof commands / sizeof commands[0],
    };
    return command_list_run(&command_list, argc, argv);
}
