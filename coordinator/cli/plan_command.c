/* longhaul plan: what a run would do and cost, without doing it. */
#include <stdio.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/local_plan.h"
#include "coordinator/cli/method_option.h"
#include "coordinator/cli/plan_table.h"
#include "coordinator/cli/prompt_input.h"
#include "coordinator/cli/text_file.h"
#include "coordinator/cli/what_if_command.h"
#include "proto/flags.h"

static const char program[] = "longhaul plan";

struct options {
    struct server_option server;
    const char *prompt_file;
    const char *prompt;
    bool raw;
    int64_t prompt_tokens, max_tokens;
    bool prompt_tokens_given, max_tokens_given;
    bool json;
    struct what_if_options what_if;
};

enum { ASK_MS = 60000 };

static void show(const Longhaul__V1__PlanResponse *plan, bool json)
{
    if (json)
        plan_table_print_json(plan);
    else
        plan_table_print(plan);
}

/* All workers of a local plan share this host's memory. */
static enum status check_fits(const Longhaul__V1__PlanResponse *plan,
                              const struct local_plan_memory *memory)
{
    const int64_t host_bytes = memory->free_bytes;
    int64_t wanted = -memory->shared_bytes;
    for (size_t i = 0; i < plan->n_ranks; i++)
        wanted += plan->ranks[i]->memory_bytes;
    if (host_bytes == 0 || wanted <= host_bytes)
        return STATUS_OK;
    return fail(STATUS_OUT_OF_RANGE,
                "the plan needs %.1f MB on this host, where %.1f MB are free: shorten the prompt, "
                "lower --context, use lm_infinite, or share it out over more hosts",
                (double)wanted / 1e6, (double)host_bytes / 1e6);
}

static enum status plan_here(const struct options *options, const struct config *config)
{
    struct model *model = NULL;
    struct prompt_input prompt = {0};
    Longhaul__V1__PlanResponse *plan = NULL;
    const char *path = config_text(config, "model.path");
    struct local_plan_args args = {.config = config,
                                   .prompt_tokens = options->prompt_tokens,
                                   .max_tokens =
                                       options->max_tokens_given ? options->max_tokens : -1};
    if (!options->prompt_tokens_given)
        TRY(prompt_input_read(&prompt, options->prompt_file, options->prompt, options->raw));
    enum status status = text_file_check_readable(path, "model");
    if (status == STATUS_OK)
        status = model_open(&model, path);
    if (status == STATUS_OK && !options->prompt_tokens_given)
        status = prompt_input_count(&prompt, &args.prompt_tokens, model,
                                    config_text(config, "model.chat_template"));
    args.model = model;
    struct local_plan_memory memory = {0};
    if (status == STATUS_OK)
        status = local_plan_make(&plan, &memory, &args);
    if (status == STATUS_OK) {
        show(plan, options->json);
        status = check_fits(plan, &memory);
        longhaul__v1__plan_response__free_unpacked(plan, NULL);
    }
    model_close(model);
    prompt_input_deinit(&prompt);
    return status;
}

static enum status ask(struct connection *connection, const struct options *options,
                       const struct config *config, struct prompt_input *prompt)
{
    Longhaul__V1__PlanRequest request = LONGHAUL__V1__PLAN_REQUEST__INIT;
    struct method_option method;
    ProtobufCMessage *reply = NULL;
    const struct rpc_stream_args call = {
        .path = "/longhaul.v1.Inference/Plan",
        .response = &longhaul__v1__plan_response__descriptor,
        .timeout_ms = server_option_timeout_ms(&options->server, ASK_MS),
    };
    method_option_set(&method, config);
    request.max_tokens = options->max_tokens;
    request.options = &method.options;
    if (config_origin(config, "engine.workers", NULL) != CONFIG_DEFAULT)
        request.workers = (int32_t)config_integer(config, "engine.workers");
    if (options->prompt_tokens_given) {
        request.length_case = LONGHAUL__V1__PLAN_REQUEST__LENGTH_PROMPT_TOKENS;
        request.prompt_tokens = options->prompt_tokens;
    } else {
        request.length_case = LONGHAUL__V1__PLAN_REQUEST__LENGTH_PROMPT;
        request.prompt = &prompt->message;
    }
    TRY(connection_ask(connection, &reply, &call, &request.base));
    show((const Longhaul__V1__PlanResponse *)reply, options->json);
    protobuf_c_message_free_unpacked(reply, NULL);
    return STATUS_OK;
}

static enum status plan_there(const struct options *options, const struct config *config)
{
    struct prompt_input prompt = {0};
    struct connection connection;
    if (!options->prompt_tokens_given)
        TRY(prompt_input_read(&prompt, options->prompt_file, options->prompt, options->raw));
    enum status status = connection_open(&connection, &options->server, NULL);
    if (status == STATUS_OK)
        status = ask(&connection, options, config, &prompt);
    status = connection_end(&connection, status);
    prompt_input_deinit(&prompt);
    return status;
}

static enum status check_usage(const struct options *options, const struct config *config)
{
    bool has_prompt = options->prompt_file || options->prompt;
    if (has_prompt == options->prompt_tokens_given)
        return fail(STATUS_INVALID_ARGUMENT,
                    "give either --prompt-tokens N, or --prompt TEXT and --prompt-file FILE");
    if (!options->server.address && !config_text(config, "model.path")[0])
        return fail(STATUS_INVALID_ARGUMENT, "give --model FILE, or --server HOST:PORT");
    return server_option_check(&options->server);
}

static enum status check_what_if(const struct options *options, const struct config *config)
{
    const bool has_model = config_text(config, "model.path")[0];
    if (options->prompt || options->prompt_file || options->server.address)
        return fail(STATUS_INVALID_ARGUMENT,
                    "--what-if takes lengths alone: --prompt-tokens N, or those of its file");
    if (options->prompt_tokens_given && options->what_if.worker_tokens > 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "give --prompt-tokens or --tokens-per-worker, not both");
    if (has_model == (options->what_if.shape != NULL))
        return fail(STATUS_INVALID_ARGUMENT, "give --model FILE, or --shape FILE");
    return STATUS_OK;
}

static int plan_elsewhere(struct options *options, const struct config *config)
{
    enum status status = check_what_if(options, config);
    if (status != STATUS_OK)
        return console_usage(program);
    options->what_if.config = config;
    options->what_if.prompt_tokens = options->prompt_tokens;
    options->what_if.json = options->json;
    status = what_if_command(&options->what_if);
    return status == STATUS_OK ? 0 : console_failure(program, status);
}

static int plan(const struct options *options, const struct config *config)
{
    enum status status = check_usage(options, config);
    if (status != STATUS_OK)
        return console_usage(program);
    status = options->server.address ? plan_there(options, config) : plan_here(options, config);
    return status == STATUS_OK ? 0 : console_failure(program, status);
}

int plan_command(int argc, char **argv)
{
    struct options options = {.what_if = {.argc = argc, .argv = argv}};
    const struct flags_row rows[] = {
        {.name = "prompt-tokens",
         .letter = 't',
         .type = FLAGS_INTEGER,
         .target = &options.prompt_tokens,
         .value = "N",
         .help = "the prompt's length",
         .least = 1,
         .most = 1 << 30,
         .given = &options.prompt_tokens_given},
        {.name = "prompt-file",
         .letter = 'f',
         .type = FLAGS_TEXT,
         .target = &options.prompt_file,
         .value = "FILE",
         .help = "or the document itself, UTF-8 text; - for standard input"},
        {.name = "prompt",
         .letter = 'p',
         .type = FLAGS_TEXT,
         .target = &options.prompt,
         .value = "TEXT",
         .help = "the question; with a file, it follows the document"},
        {.name = "raw",
         .type = FLAGS_SWITCH,
         .target = &options.raw,
         .help = "without the model's chat form"},
        {.name = "max-tokens",
         .letter = 'n',
         .type = FLAGS_INTEGER,
         .target = &options.max_tokens,
         .value = "N",
         .help = "longest answer [256, or what the context leaves]",
         .least = 0,
         .most = 1 << 24,
         .given = &options.max_tokens_given},
        SERVER_OPTION_ADDRESS(&options.server),
        server_option_timeout_row(&options.server),
        {.name = "json", .type = FLAGS_SWITCH, .target = &options.json, .help = "one JSON object"},
        WHAT_IF_ROWS(&options.what_if),
    };
    struct config *config = NULL;
    enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure(program, status);
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul plan --model SmolLM2-135M-Instruct.Q4_1.gguf --workers 4 \\\n"
                   "      --method lm_infinite:window=2048,sinks=4 --prompt-tokens 131072\n",
        .summary =
            "Tells what a run would do and cost without doing it: method, shards, stages and\n"
            "schedule, bytes sent, arithmetic, time, and the memory of each worker.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .takers = CONFIG_RUN,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code == FLAGS_GO_ON)
        exit_code =
            options.what_if.cluster ? plan_elsewhere(&options, config) : plan(&options, config);
    config_destroy(config);
    return exit_code;
}
