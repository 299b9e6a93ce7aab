/* longhaul tune: the parameters of a method that suit a text and a length. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/method_option.h"
#include "coordinator/cli/report_option.h"
#include "coordinator/cli/result_folder.h"
#include "coordinator/cli/text_file.h"
#include "coordinator/cli/text_scores.h"
#include "coordinator/cli/tune_report.h"
#include "coordinator/cli/tune_samples.h"
#include "proto/clock.h"
#include "proto/flags.h"
#include "proto/model/model.h"

static const char program[] = "longhaul tune";

enum { SECONDS = 600, SECONDS_MOST = 604800, LENGTH_LEAST = 512, LENGTH_MOST = 1 << 24 };

struct options {
    const char *method, *text, *out;
    int64_t length, seconds;
    struct server_option server;
    bool json, chart;
};

struct tuning {
    const struct options *options;
    const struct config *config;
    struct tune_samples samples;
    struct tune_candidates candidates;
    struct connection connection;
    double begun, until; /* seconds, by the clock */
    double longest;      /* that one call has taken */
    size_t calls;
};

static enum status check(const struct options *options, enum tune_method *method,
                         const struct config *config)
{
    if (!config_text(config, "model.path")[0])
        return fail(STATUS_INVALID_ARGUMENT, "--model FILE is missing");
    if (!options->text || !options->out || options->length == 0)
        return fail(STATUS_INVALID_ARGUMENT, "--%s is missing",
                    !options->text  ? "text FILE"
                    : !options->out ? "out DIR"
                                    : "length N");
    if (options->server.address)
        TRY(server_option_check(&options->server));
    *method = TUNE_LM_INFINITE;
    if (options->method && strcmp(options->method, "string") == 0)
        *method = TUNE_STRING;
    else if (!options->method || strcmp(options->method, "lm_infinite") != 0)
        return fail(STATUS_INVALID_ARGUMENT, "--method %s: give string or lm_infinite",
                    options->method ? options->method : "is missing");
    return STATUS_OK;
}

/* ---- one measurement ---- */

/* With a margin, as calls differ; before the first of all there is nothing to go by. */
static bool is_over(const struct tuning *tuning)
{
    return tuning->calls > 0 && clock_now_seconds() + 1.2 * tuning->longest > tuning->until;
}

static enum status ask(struct tuning *tuning, struct text_scores *scores, const char *spelling,
                       size_t round)
{
    struct method_option method;
    method_option_set(&method, tuning->config);
    method.method.spelling = (char *)(size_t)spelling; /* only read */
    method.options.method = &method.method;
    const double left = tuning->until - clock_now_seconds();
    console_progress("sample %zu, %s: %.0f s left", round + 1, spelling, left);
    return text_scores_ask(scores, tuning->connection.client, tuning->samples.texts[round], &method,
                           left > 1 ? (int64_t)(1000 * left) : 1000);
}

static enum status measure(void *context, struct tune_loss *loss, bool *over, const char *spelling,
                           size_t round)
{
    struct tuning *tuning = context;
    struct text_scores scores = {.begun = false};
    TRY(tune_samples_make(&tuning->samples, round));
    *over = is_over(tuning);
    if (*over)
        return STATUS_OK;
    const double begun = clock_now_seconds();
    enum status status = ask(tuning, &scores, spelling, round);
    if (status == STATUS_OK)
        status = tune_samples_judge(&tuning->samples, loss, round, scores.logprobs,
                                    scores.logprobs_count);
    text_scores_deinit(&scores);
    if (status == STATUS_DEADLINE_EXCEEDED) {
        *over = true;
        return STATUS_OK;
    }
    const double taken = clock_now_seconds() - begun;
    tuning->longest = taken > tuning->longest ? taken : tuning->longest;
    tuning->calls++;
    return status;
}

/* ---- all of it ---- */

static enum status search(struct tuning *tuning)
{
    const struct private_coordinator_args args = {.config = tuning->config,
                                                  .context_tokens = tuning->options->length + 64};
    enum status status = connection_open(&tuning->connection, &tuning->options->server, &args);
    tuning->begun = clock_now_seconds();
    tuning->until = tuning->begun + (double)tuning->options->seconds;
    if (status == STATUS_OK)
        status = tune_search_run(&tuning->candidates, measure, tuning);
    console_clear();
    return connection_end(&tuning->connection, status);
}

static enum status tell(const struct tuning *tuning, const struct manifest *manifest,
                        enum tune_method method)
{
    const struct options *options = tuning->options;
    const struct tune_report_args args = {
        .candidates = &tuning->candidates,
        .manifest = manifest,
        .folder = options->out,
        .model = manifest->model,
        .first_name = method == TUNE_STRING ? "shift" : "window",
        .second_name = method == TUNE_STRING ? "local" : "sinks",
        .length = options->length,
        .seconds = clock_now_seconds() - tuning->begun,
        .json = options->json,
        .charts = !options->json && (options->chart || isatty(STDOUT_FILENO)),
    };
    return tune_report(&args);
}

static enum status read_trained(int64_t *tokens, const char *path)
{
    struct model *model = NULL;
    TRY(text_file_check_readable(path, "model"));
    TRY(model_open(&model, path));
    *tokens = model_spec(model)->trained_tokens;
    model_close(model);
    return STATUS_OK;
}

static enum status tune(struct tuning *tuning, struct manifest *manifest, enum tune_method method)
{
    const struct options *options = tuning->options;
    const char *model = config_text(tuning->config, "model.path");
    int64_t trained_tokens = 0;
    TRY(read_trained(&trained_tokens, model));
    TRY(result_folder_prepare(options->out, "tune.json"));
    manifest_begin(manifest);
    TRY(manifest_read_model(manifest, model));
    tune_search_candidates(&tuning->candidates, method, options->length, trained_tokens);
    enum status status = tune_samples_open(&tuning->samples, model, options->text, options->length);
    if (status == STATUS_OK)
        status = search(tuning);
    if (status == STATUS_OK)
        status = tell(tuning, manifest, method);
    tune_samples_close(&tuning->samples);
    return status;
}

static int tune_all(const struct options *options, const struct config *config, int argc,
                    char **argv)
{
    static struct tuning tuning;
    enum tune_method method;
    struct manifest manifest = {
        .argc = argc, .argv = argv, .program = program, .config = config, .taker = CONFIG_RUN};
    tuning = (struct tuning){.options = options, .config = config};
    if (check(options, &method, config) != STATUS_OK)
        return console_usage(program);
    interrupt_install();
    const enum status status = tune(&tuning, &manifest, method);
    if (interrupt_count() > 0) {
        console_say("%s: interrupted", program);
        return interrupt_exit_code();
    }
    return status == STATUS_OK ? 0 : console_failure(program, status);
}

/* ---- options ---- */

enum { OWN_ROWS = 7, ROWS = OWN_ROWS + SERVER_OPTION_ADDRESS_ROWS };

static void set_rows(struct flags_row *rows, struct options *options)
{
    const struct flags_row own[OWN_ROWS] = {
        {.name = "method",
         .type = FLAGS_TEXT,
         .target = &options->method,
         .value = "WORD",
         .help = "string (shift and local) or lm_infinite (window and sinks)"},
        {.name = "length",
         .type = FLAGS_INTEGER,
         .target = &options->length,
         .value = "N",
         .help = "tokens that prompts will have",
         .least = LENGTH_LEAST,
         .most = LENGTH_MOST},
        {.name = "text",
         .type = FLAGS_TEXT,
         .target = &options->text,
         .value = "FILE",
         .help = "text of the kind that will be read"},
        {.name = "seconds",
         .type = FLAGS_INTEGER,
         .target = &options->seconds,
         .value = "N",
         .help = "that the search may take once workers are there [600]",
         .least = 1,
         .most = SECONDS_MOST},
        report_option_out_row(&options->out, "folder for method.yaml, tune.json and the curve"),
        report_option_chart_row(&options->chart),
        report_option_json_row(&options->json, "one JSON object"),
    };
    memcpy(rows, own, sizeof own);
    for (int i = 0; i < SERVER_OPTION_ADDRESS_ROWS; i++)
        rows[OWN_ROWS + i] = server_option_address_row(&options->server, i);
}

int tune_command(int argc, char **argv)
{
    struct options options = {.seconds = SECONDS};
    struct flags_row rows[ROWS];
    struct config *config = NULL;
    set_rows(rows, &options);
    const enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure(program, status);
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul tune --model SmolLM2-135M-Instruct.Q4_1.gguf --method string \\\n"
                   "      --length 4096 --text book.txt --seconds 600 --out tuned\n"
                   "  longhaul run --config tuned/method.yaml --model ... --prompt-file ...\n",
        .summary =
            "Finds the parameters of a method that suit a text at a length: the loss of the "
            "text's\n"
            "last quarter and of the right answer to what lies in it, over candidates in the\n"
            "published ranges, the worse half of which goes round by round. Writes the spelling\n"
            "that it found as a configuration that other commands take by --config.\n",
        .rows = rows,
        .rows_count = ROWS,
        .takers = CONFIG_RUN,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code == FLAGS_GO_ON)
        exit_code = tune_all(&options, config, argc, argv);
    config_destroy(config);
    return exit_code;
}
