/* longhaul run: one prompt through a coordinator and workers of its own. */
#include <stdio.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/generate_options.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/text_file.h"
#include "coordinator/planner.h"

static const char program[] = "longhaul run";

/* What the request needs of the model file, before anything is started: a wrong file is told at
 * once. */
static enum status examine(struct generate_request *request, int64_t *context_tokens,
                           const struct prompt_input *prompt, const struct config *config)
{
    struct model *model = NULL;
    int64_t prompt_tokens = 0;
    const char *path = config_text(config, "model.path");
    TRY(text_file_check_readable(path, "model"));
    TRY(model_open(&model, path));
    method_option_set(&request->method, config);
    enum status status = method_option_check(config, model_spec(model)->trained_tokens);
    if (status == STATUS_OK)
        status = prompt_input_count(prompt, &prompt_tokens, model,
                                    config_text(config, "model.chat_template"));
    model_close(model);
    TRY(status);
    int64_t answer_tokens = request->message.max_tokens;
    *context_tokens = prompt_tokens + (answer_tokens ? answer_tokens : PLANNER_ANSWER_TOKENS);
    return STATUS_OK;
}

static enum status answer(const struct generate_options *options, const struct config *config,
                          bool *incomplete)
{
    struct prompt_input prompt;
    struct generate_request request;
    struct connection connection = {0};
    struct private_coordinator_args args = {.config = config};
    TRY(prompt_input_read(&prompt, options->prompt_file, options->prompt, options->raw));
    generate_request_set(&request, options, &prompt.message);
    enum status status = examine(&request, &args.context_tokens, &prompt, config);
    if (status == STATUS_OK)
        status = connection_open(&connection, &options->server, &args);
    if (status == STATUS_OK)
        status = generate_options_ask(options, connection.client, &request, incomplete);
    status = connection_end(&connection, status);
    prompt_input_deinit(&prompt);
    return status;
}

static int run(const struct generate_options *options, const struct config *config)
{
    enum status status = generate_options_check_prompt(options);
    if (status == STATUS_OK)
        status = generate_options_check(options);
    if (status == STATUS_OK && !config_text(config, "model.path")[0])
        status = fail(STATUS_INVALID_ARGUMENT, "--model FILE is missing");
    if (status != STATUS_OK)
        return console_usage(program);
    interrupt_install();
    bool incomplete = false;
    status = answer(options, config, &incomplete);
    if (interrupt_count() > 0) {
        console_say("%s: interrupted", program);
        return interrupt_exit_code();
    }
    if (status != STATUS_OK)
        return console_failure(program, status);
    return incomplete ? status_exit_code(STATUS_CANCELLED) : 0;
}

int run_command(int argc, char **argv)
{
    struct generate_options options;
    struct flags_row rows[GENERATE_OPTIONS_ROWS];
    struct config *config = NULL;
    generate_options_init(&options, rows);
    enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure(program, status);
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul run --model SmolLM2-135M-Instruct.Q4_1.gguf --workers 2 \\\n"
                   "      --prompt-file report.txt --prompt \"What does the report recommend?\"\n",
        .summary =
            "Starts a coordinator and its workers on this host, asks one question, prints the\n"
            "answer as it comes, and stops what it started. File and text together are the\n"
            "document, an empty line, the question. Ctrl-C stops in order, twice at once.\n",
        .rows = rows,
        .rows_count = GENERATE_OPTIONS_ROWS,
        .takers = CONFIG_RUN,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code == FLAGS_GO_ON)
        exit_code = run(&options, config);
    config_destroy(config);
    return exit_code;
}
