/* longhaul run: one prompt, or a file of lines, through a coordinator and workers of its own. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/generate_options.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/run_lines.h"
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
    request->message.draft = method_option_draft(config);
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
    enum status status = generate_request_set(&request, options, &prompt.message);
    if (status == STATUS_OK)
        status = examine(&request, &args.context_tokens, &prompt, config);
    if (status == STATUS_OK)
        status = connection_open(&connection, &options->server, &args);
    if (status == STATUS_OK)
        status = generate_options_ask(options, connection.client, &request, incomplete);
    status = connection_end(&connection, status);
    free(request.positions);
    prompt_input_deinit(&prompt);
    return status;
}

static int run_prompt(const struct generate_options *options, const struct config *config)
{
    interrupt_install();
    bool incomplete = false;
    enum status status = answer(options, config, &incomplete);
    if (interrupt_count() > 0) {
        console_say("%s: interrupted", program);
        return interrupt_exit_code();
    }
    if (status != STATUS_OK)
        return console_failure(program, status);
    return incomplete ? status_exit_code(STATUS_CANCELLED) : 0;
}

static enum status check_prompt(const struct run_lines_options *lines,
                                const struct generate_options *options)
{
    TRY(generate_options_check_prompt(options));
    if (lines->order || lines->overwrite || lines->quiet)
        return fail(STATUS_INVALID_ARGUMENT,
                    "--order, --overwrite and --quiet go with -i FILE -o FILE");
    return generate_options_check(options);
}

/* A line of a file says itself what others say by options. */
static enum status check_lines(const struct run_lines_options *lines,
                               const struct generate_options *options)
{
    const bool sampled = options->temperature_given || options->top_p_given ||
                         options->penalty_given || options->seed_given || options->top_k > 0 ||
                         options->min_p > 0;
    const bool answered = options->max_tokens > 0 || options->stop.count > 0 ||
                          options->logprobs_given || options->no_prefix_reuse;
    if (options->prompt_file || options->prompt || options->raw || options->positions_file ||
        sampled || answered)
        return fail(STATUS_INVALID_ARGUMENT,
                    "-i FILE and the options of a single prompt do not go together: each line "
                    "has its own");
    return run_lines_check(lines);
}

static int run(struct run_lines_options *lines, const struct generate_options *options,
               const struct config *config)
{
    const bool many = lines->input || lines->output;
    enum status status = many ? check_lines(lines, options) : check_prompt(lines, options);
    if (status == STATUS_OK && !config_text(config, "model.path")[0])
        status = fail(STATUS_INVALID_ARGUMENT, "--model FILE is missing");
    if (status != STATUS_OK)
        return console_usage(program);
    lines->json = options->json;
    return many ? run_lines(program, lines, config) : run_prompt(options, config);
}

enum { LINES_ROWS = 5 };

static void set_lines_rows(struct flags_row *rows, struct run_lines_options *lines)
{
    const struct flags_row all[LINES_ROWS] = {
        {.name = "input",
         .letter = 'i',
         .type = FLAGS_TEXT,
         .target = &lines->input,
         .value = "FILE",
         .help = "answer every line of this file of OpenAI's Batch lines"},
        {.name = "output",
         .letter = 'o',
         .type = FLAGS_TEXT,
         .target = &lines->output,
         .value = "FILE",
         .help = "where their results go; FILE.run tells of which run they are"},
        {.name = "order",
         .type = FLAGS_TEXT,
         .target = &lines->order,
         .value = "WORD",
         .help = "of results: completion (not given) or input"},
        {.name = "overwrite",
         .type = FLAGS_SWITCH,
         .target = &lines->overwrite,
         .help = "begin anew, whatever the output holds"},
        {.name = "quiet",
         .letter = 'q',
         .type = FLAGS_SWITCH,
         .target = &lines->quiet,
         .help = "no progress and no last line"},
    };
    memcpy(rows, all, sizeof all);
}

int run_command(int argc, char **argv)
{
    struct generate_options options;
    struct run_lines_options lines = {.input = NULL};
    struct flags_row rows[GENERATE_OPTIONS_ROWS + LINES_ROWS];
    struct config *config = NULL;
    generate_options_init(&options, rows);
    set_lines_rows(rows + GENERATE_OPTIONS_ROWS, &lines);
    enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure(program, status);
    const struct flags_command command = {
        .program = program,
        .example =
            "  longhaul run --model SmolLM2-135M-Instruct.Q4_1.gguf --workers 2 \\\n"
            "      --prompt-file report.txt --prompt \"What does the report recommend?\"\n"
            "  longhaul run --model SmolLM2-135M-Instruct.Q4_1.gguf -i in.jsonl -o out.jsonl\n",
        .summary =
            "Starts a coordinator and its workers on this host, asks one question, prints the\n"
            "answer as it comes, and stops what it started. File and text together are the\n"
            "document, an empty line, the question. Ctrl-C stops in order, twice at once.\n"
            "With -i and -o it answers a file of lines. Broken off at any moment, the same\n"
            "command goes on: finished lines are kept, lines that failed by no fault of their\n"
            "own run again. Exit codes: 0 all lines were answered, 1 some failed, 75 incomplete.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .takers = CONFIG_RUN,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code == FLAGS_GO_ON)
        exit_code = run(&lines, &options, config);
    config_destroy(config);
    return exit_code;
}
