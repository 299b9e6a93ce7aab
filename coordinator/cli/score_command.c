/* longhaul score: log-probabilities of a text's own tokens, hence its perplexity. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/plan_report.h"
#include "coordinator/cli/position_file.h"
#include "coordinator/cli/prompt_input.h"
#include "coordinator/cli/text_file.h"
#include "coordinator/cli/text_scores.h"
#include "proto/flags.h"

static const char program[] = "longhaul score";

struct score_options {
    const char *file, *positions_file;
    struct server_option server;
    bool json, verbose;
};

static void print_json(const struct text_scores *scores)
{
    struct json_writer writer = {.file = stdout};
    const Longhaul__V1__ScoreFinished *finished = scores->finished;
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "schema_version", 1);
    json_writer_begin_array(&writer, "token_ids");
    for (size_t i = 0; i < scores->ids.count; i++)
        json_writer_integer(&writer, NULL, scores->ids.ids[i]);
    json_writer_end_array(&writer);
    json_writer_begin_array(&writer, "logprobs");
    for (size_t i = 0; i < scores->logprobs_count; i++)
        json_writer_float(&writer, NULL, scores->logprobs[i]);
    json_writer_end_array(&writer);
    json_writer_real(&writer, "perplexity", finished->perplexity);
    plan_report_usage_json(&writer, finished->usage);
    plan_report_seconds_json(&writer, finished->seconds);
    plan_report_json(&writer, scores->plan);
    plan_report_ranks_json(&writer, finished->ranks, finished->n_ranks);
    json_writer_end_object(&writer);
    putchar('\n');
}

static void print_plain(const struct text_scores *scores)
{
    double sum = 0;
    for (size_t i = 0; i < scores->logprobs_count; i++)
        sum += (double)scores->logprobs[i];
    printf("tokens        %zu\n", scores->ids.count);
    if (scores->logprobs_count > 0)
        printf("mean logprob  %.6f\nperplexity    %.4f\n", sum / (double)scores->logprobs_count,
               scores->finished->perplexity);
}

/* What the text needs of the model file, before anything is started. */
static enum status examine(int64_t *tokens, const char *text, size_t bytes,
                           const struct config *config)
{
    struct model *model = NULL;
    const char *path = config_text(config, "model.path");
    TRY(text_file_check_readable(path, "model"));
    TRY(model_open(&model, path));
    enum status status = method_option_check(config, model_spec(model)->trained_tokens);
    if (status == STATUS_OK)
        status = prompt_input_count_text(text, bytes, tokens, model);
    model_close(model);
    return status;
}

static enum status score(const struct score_options *options, const struct config *config)
{
    char *text = NULL;
    size_t bytes = 0;
    struct method_option method;
    struct connection connection = {0};
    struct private_coordinator_args args = {.config = config};
    struct text_scores scores = {.progress = {.verbose = options->verbose,
                                              .rates = options->verbose || isatty(STDERR_FILENO)}};
    int64_t *positions = NULL;
    TRY(text_file_read(&text, &bytes, options->file));
    method_option_set(&method, config);
    enum status status = STATUS_OK;
    if (options->positions_file)
        status = position_file_read(&positions, &scores.positions_count, options->positions_file);
    scores.positions = positions;
    if (status == STATUS_OK && !options->server.address)
        status = examine(&args.context_tokens, text, bytes, config);
    if (status == STATUS_OK)
        status = connection_open(&connection, &options->server, &args);
    if (status == STATUS_OK)
        status = text_scores_ask(&scores, connection.client, text, &method,
                                 server_option_timeout_ms(&options->server, 0));
    status = connection_end(&connection, status);
    if (status == STATUS_OK && options->json)
        print_json(&scores);
    else if (status == STATUS_OK)
        print_plain(&scores);
    text_scores_deinit(&scores);
    free(positions);
    free(text);
    return status;
}

static enum status check(const struct score_options *options, const struct config *config)
{
    if (!options->file)
        return fail(STATUS_INVALID_ARGUMENT, "--file FILE is missing");
    if (!options->server.address && !config_text(config, "model.path")[0])
        return fail(STATUS_INVALID_ARGUMENT, "give --model FILE, or --server HOST:PORT");
    return server_option_check(&options->server);
}

static int checked_score(const struct score_options *options, const struct config *config)
{
    if (check(options, config) != STATUS_OK)
        return console_usage(program);
    interrupt_install();
    enum status status = score(options, config);
    if (interrupt_count() > 0) {
        console_say("%s: interrupted", program);
        return interrupt_exit_code();
    }
    return status == STATUS_OK ? 0 : console_failure(program, status);
}

int score_command(int argc, char **argv)
{
    struct score_options options = {0};
    const struct flags_row rows[] = {
        {.name = "file",
         .letter = 'f',
         .type = FLAGS_TEXT,
         .target = &options.file,
         .value = "FILE",
         .help = "the text, UTF-8; - for standard input"},
        {.name = "positions",
         .type = FLAGS_TEXT,
         .target = &options.positions_file,
         .value = "FILE",
         .help = "where rope sees each token: rising whole numbers"},
        {.name = "json",
         .type = FLAGS_SWITCH,
         .target = &options.json,
         .help = "one JSON object with token_ids and logprobs"},
        {.name = "verbose",
         .letter = 'v',
         .type = FLAGS_SWITCH,
         .target = &options.verbose,
         .help = "tell the plan and the rates on standard error"},
        SERVER_OPTION_ADDRESS(&options.server),
        server_option_timeout_row(&options.server),
    };
    struct config *config = NULL;
    enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure(program, status);
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul score --model SmolLM2-135M-Instruct.Q4_1.gguf --file report.txt\n",
        .summary =
            "Reads a text with the model and tells how likely each token was after those before\n"
            "it: the mean log-probability and the perplexity, or with --json every value.\n"
            "Control tokens in the text are recognised. With --server a running coordinator is\n"
            "asked, otherwise one is started for the model.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .takers = CONFIG_RUN,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code == FLAGS_GO_ON)
        exit_code = checked_score(&options, config);
    config_destroy(config);
    return exit_code;
}
