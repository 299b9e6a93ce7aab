/* longhaul eval: how well a model answers over long contexts, by each method. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/bench/manifest.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/eval_cases.h"
#include "coordinator/cli/eval_compare_command.h"
#include "coordinator/cli/eval_files.h"
#include "coordinator/cli/eval_loss_report.h"
#include "coordinator/cli/eval_losses.h"
#include "coordinator/cli/eval_report.h"
#include "coordinator/cli/eval_results.h"
#include "coordinator/cli/eval_settings.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/report_option.h"
#include "coordinator/cli/run_lines.h"
#include "coordinator/cli/server_option.h"
#include "proto/flags.h"
#include "proto/json_writer.h"

static const char program[] = "longhaul eval";

enum { SAMPLES = 10, SEED = 1, CONTEXT_SPARE = 64, INCOMPLETE = 75 };

struct options {
    struct eval_settings settings;
    struct server_option server;
    const char *out;
    bool json, chart;
    int argc;
    char **argv;
};

/* ---- before anything is started ---- */

static enum status check_usage(struct options *options, const struct config *config)
{
    if (!options->out)
        return fail(STATUS_INVALID_ARGUMENT, "--out DIR is missing");
    if (!config_text(config, "model.path")[0])
        return fail(STATUS_INVALID_ARGUMENT,
                    "--model FILE is missing: its tokens count the lengths, with --server too");
    if (options->server.address)
        TRY(server_option_check(&options->server));
    if (!options->settings.methods_text) /* of a configuration, as tune writes one */
        options->settings.methods_text = config_text(config, "engine.method");
    return eval_settings_read(&options->settings);
}

/* Whether anything is answered, and not only scored. */
static bool asks(const struct eval_settings *settings)
{
    return settings->task_count > 0 || settings->file;
}

/* Of the first command that worked in the folder: date and host are its. */
static enum status write_manifest(const struct options *options, const struct config *config)
{
    char path[PATH_MAX];
    FILE *file = NULL;
    struct manifest manifest = {.argc = options->argc,
                                .argv = options->argv,
                                .program = program,
                                .config = config,
                                .taker = CONFIG_RUN};
    TRY(eval_files_path(path, options->out, "manifest.json"));
    if (access(path, F_OK) == 0)
        return STATUS_OK;
    manifest_begin(&manifest);
    TRY(manifest_read_model(&manifest, config_text(config, "model.path")));
    TRY(eval_files_begin(&file, path));
    struct json_writer writer = {.file = file};
    manifest_write(&writer, NULL, &manifest);
    fputc('\n', file);
    return eval_files_end(file, path, STATUS_OK);
}

static enum status prepare(struct options *options, const struct config *config)
{
    const char *model = config_text(config, "model.path");
    options->settings.chat_template = config_text(config, "model.chat_template");
    if (!options->server.address) {
        options->settings.cache = config_text(config, "engine.cache");
        options->settings.kernels = config_text(config, "engine.kernels");
    }
    TRY(eval_settings_open(&options->settings, model));
    TRY(eval_settings_keep(&options->settings, options->out));
    TRY(write_manifest(options, config));
    return asks(&options->settings) ? eval_cases_make(&options->settings, options->out, model,
                                                      config_text(config, "model.chat_template"))
                                    : STATUS_OK;
}

/* ---- answers ---- */

/* The exit code of run_lines: 0 and 1 where every line has a result. */
static enum status answer(const struct options *options, const struct config *config,
                          int *exit_code)
{
    char lines[PATH_MAX], answers[PATH_MAX];
    TRY(eval_files_path(lines, options->out, EVAL_LINES_FILE));
    TRY(eval_files_path(answers, options->out, EVAL_ANSWERS_FILE));
    const struct run_lines_options run = {
        .input = lines,
        .output = answers,
        .server = options->server.address ? &options->server : NULL,
        .context_tokens = number_list_most(&options->settings.lengths) + CONTEXT_SPARE,
    };
    *exit_code = run_lines(program, &run, config);
    return STATUS_OK;
}

static enum status finish(const struct options *options)
{
    const struct eval_report_args args = {
        .folder = options->out,
        .model = options->settings.model_name,
        .json = options->json,
        .charts = !options->json && (options->chart || isatty(STDOUT_FILENO)),
    };
    const bool answered = asks(&options->settings);
    if (answered) {
        TRY(eval_results_make(&options->settings, options->out));
        TRY(eval_report(&args));
    }
    if (answered && options->settings.perplexity && !options->json)
        putchar('\n');
    return options->settings.perplexity ? eval_loss_report(&args) : STATUS_OK;
}

static int evaluate(struct options *options, const struct config *config)
{
    int exit_code = 0;
    if (check_usage(options, config) != STATUS_OK)
        return console_usage(program);
    interrupt_install();
    enum status status = prepare(options, config);
    if (status == STATUS_OK && asks(&options->settings))
        status = answer(options, config, &exit_code);
    if (status == STATUS_OK && exit_code <= 1 && options->settings.perplexity)
        status = eval_losses_make(&options->settings, options->out, &options->server, config);
    if (status == STATUS_OK && exit_code <= 1)
        status = finish(options);
    if (status != STATUS_OK && interrupt_count() > 0) {
        console_say("%s: incomplete; the same command goes on", program);
        return INCOMPLETE;
    }
    return status == STATUS_OK ? exit_code : console_failure(program, status);
}

/* ---- options ---- */

enum {
    ASKED_ROWS = 5,
    FILE_ROWS = 5,
    FORM_ROWS = 6,
    ROWS = ASKED_ROWS + FILE_ROWS + FORM_ROWS + SERVER_OPTION_ADDRESS_ROWS,
};

/* What is asked. */
static void set_asked_rows(struct flags_row *rows, struct eval_settings *settings)
{
    const struct flags_row all[ASKED_ROWS] = {
        {.name = "method",
         .type = FLAGS_TEXT,
         .target = &settings->methods_text,
         .value = "LIST",
         .help = "methods, each as --method elsewhere: rope,string:shift=4096,local=128 [rope]"},
        {.name = "lengths",
         .type = FLAGS_TEXT,
         .target = &settings->lengths_text,
         .value = "LIST",
         .help = "tokens of prompt and answer together: 4096,8192"},
        {.name = "depths",
         .type = FLAGS_TEXT,
         .target = &settings->depths_text,
         .value = "LIST",
         .help = "where what is asked for lies, percent of the text [0,25,50,75,100]"},
        {.name = "samples",
         .type = FLAGS_INTEGER,
         .target = &settings->samples,
         .value = "N",
         .help = "for each task, method and length, and each depth where a task has depths [10]",
         .least = 1,
         .most = EVAL_SETTINGS_SAMPLES_MOST},
        {.name = "seed",
         .type = FLAGS_INTEGER,
         .target = &settings->seed,
         .value = "N",
         .help = "of what is drawn: another number, other samples [1]",
         .least = 0,
         .most = 9007199254740991},
    };
    memcpy(rows, all, sizeof all);
}

/* Of which files. */
static void set_file_rows(struct flags_row *rows, struct eval_settings *settings)
{
    const struct flags_row all[FILE_ROWS] = {
        {.name = "text",
         .type = FLAGS_TEXT,
         .target = &settings->text_path,
         .value = "FILE",
         .help = "text that needles lie in, and that perplexity is of; not given: lines of noise"},
        {.name = "words",
         .type = FLAGS_TEXT,
         .target = &settings->words_path,
         .value = "FILE",
         .help = "words that cwe draws from, one a line: /usr/share/dict/words"},
        {.name = "file",
         .type = FLAGS_TEXT,
         .target = &settings->file_path,
         .value = "FILE",
         .help = "of the task file: JSON lines as LongBench or RULER write them"},
        {.name = "metric",
         .type = FLAGS_TEXT,
         .target = &settings->metric_text,
         .value = "WORD",
         .help = "of the task file: match_all, match_part, words_f1, exact, choice, first_integer"},
        {.name = "template",
         .type = FLAGS_TEXT,
         .target = &settings->template_text,
         .value = "TEXT",
         .help = "of the task file: the prompt, with {context} and {input} in it"},
    };
    memcpy(rows, all, sizeof all);
}

/* In which form, and what becomes of it. */
static void set_form_rows(struct flags_row *rows, struct options *options)
{
    struct eval_settings *settings = &options->settings;
    const struct flags_row all[FORM_ROWS] = {
        {.name = "stride",
         .type = FLAGS_INTEGER,
         .target = &settings->stride,
         .value = "N",
         .help =
             "perplexity: tokens from one window's beginning to the next; not given: no overlap",
         .least = 16,
         .most = EVAL_SETTINGS_LENGTH_MOST},
        {.name = "answer-tokens",
         .type = FLAGS_INTEGER,
         .target = &settings->answer_tokens,
         .value = "N",
         .help = "that an answer may have; not given: each task's own",
         .least = 1,
         .most = 4096},
        {.name = "chat",
         .type = FLAGS_SWITCH,
         .target = &settings->chat,
         .help = "prompts in the model's chat form; not given: as plain text that goes on"},
        report_option_out_row(
            &options->out,
            "folder for results, manifest and charts; the same command goes on in it"),
        report_option_chart_row(&options->chart),
        report_option_json_row(&options->json, "JSON lines: one for each task, method and length"),
    };
    memcpy(rows, all, sizeof all);
}

static void set_rows(struct flags_row *rows, struct options *options)
{
    set_asked_rows(rows, &options->settings);
    set_file_rows(rows + ASKED_ROWS, &options->settings);
    set_form_rows(rows + ASKED_ROWS + FILE_ROWS, options);
    for (int i = 0; i < SERVER_OPTION_ADDRESS_ROWS; i++)
        rows[ROWS - SERVER_OPTION_ADDRESS_ROWS + i] =
            server_option_address_row(&options->server, i);
}

static int eval_tasks(int argc, char **argv)
{
    struct options options = {
        .settings = {.samples = SAMPLES, .seed = SEED}, .argc = argc, .argv = argv};
    struct flags_row rows[ROWS];
    struct config *config = NULL;
    int first = 0;
    set_rows(rows, &options);
    const enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure(program, status);
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul eval passkey,niah_4 --model SmolLM2-135M-Instruct.Q4_1.gguf \\\n"
                   "      --method rope,string --lengths 2048,4096 --samples 4 --out eval\n"
                   "  longhaul eval compare eval another\n",
        .summary =
            "Asks what lies in long texts and judges the answers. Tasks: passkey, number, kv, "
            "graph,\n"
            "niah (niah_1, niah_4, niah_8), ruler (niah_single_1, niah_multikey_2, "
            "niah_multikey_3,\n"
            "vt, cwe, fwe: the six of RULER's 13 tasks that need no download), perplexity (of\n"
            "--text), file (of --file). Broken off at any moment, the same command goes on.\n",
        .arguments = "TASK[,TASK]",
        .arguments_least = 1,
        .arguments_most = 1,
        .rows = rows,
        .rows_count = ROWS,
        .takers = CONFIG_RUN,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, &first);
    if (exit_code == FLAGS_GO_ON) {
        options.settings.tasks_text = argv[first];
        exit_code = evaluate(&options, config);
    }
    eval_settings_deinit(&options.settings);
    config_destroy(config);
    return exit_code;
}

int eval_command(int argc, char **argv)
{
    const bool is_table = argc == 2 && strcmp(argv[1], "--help=table") == 0;
    if (argc > 1 && strcmp(argv[1], "compare") == 0)
        return eval_compare_command(argc - 1, argv + 1);
    const int exit_code = eval_tasks(argc, argv);
    if (is_table) /* so that manuals and completions have it */
        puts("command\tcompare\ttwo evaluations, by more than chance");
    return exit_code;
}
