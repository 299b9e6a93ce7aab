/* longhaul bench: how fast prompts are read and answers decoded, with a coordinator and workers of
 * its own. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/cli/bench_chart.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/report_option.h"
#include "coordinator/cli/result_folder.h"
#include "coordinator/cli/text_file.h"
#include "proto/flags.h"
#include "proto/model/model.h"

static const char program[] = "longhaul bench";
static const char results[] = "bench.jsonl";
static const char runs[] = "runs.jsonl"; /* each repetition as it ended */

enum { TOKENS_MOST = 1 << 28, REPETITIONS_MOST = 1000, FRONTIER_ANSWER = 32 };

struct options {
    const char *prefill, *decode, *depths, *frontier, *method, *out;
    int64_t repetitions;
    bool json, chart;
    struct manifest manifest;
};

/* ---- what is asked for ---- */

static enum status read_list(struct number_list *list, const char *option, const char *text,
                             int64_t least)
{
    return text ? number_list_parse(list, option, text, least, TOKENS_MOST) : STATUS_OK;
}

/* -n is the answer behind each length of the frontier, where nothing is asked for but that. */
static enum status read_plan(struct bench_plan *plan, const struct options *options)
{
    *plan = (struct bench_plan){.frontier_answer = FRONTIER_ANSWER};
    TRY(read_list(&plan->prefill, "prompt", options->prefill, 1));
    TRY(read_list(&plan->decode, "generate", options->decode, 1));
    TRY(read_list(&plan->depths, "depth", options->depths, 0));
    TRY(read_list(&plan->frontier, "frontier", options->frontier, 1));
    if (options->frontier && options->decode) {
        if (plan->decode.count > 1)
            return fail(STATUS_INVALID_ARGUMENT,
                        "--frontier takes one -n, the answer behind each length");
        plan->frontier_answer = plan->decode.values[0];
        plan->decode.count = 0;
    }
    if (options->frontier && (options->prefill || options->depths))
        return fail(STATUS_INVALID_ARGUMENT,
                    "--frontier has its own lengths: -p and -d do not go with it");
    if (options->depths && !options->decode)
        return fail(STATUS_INVALID_ARGUMENT, "-d says how far in answers begin: add -n");
    if (!options->prefill && !options->decode && !options->frontier) {
        TRY(read_list(&plan->prefill, "prompt", "512", 1));
        TRY(read_list(&plan->decode, "generate", "128", 1));
    }
    return STATUS_OK;
}

/* Before anything is started: a wrong file and a wrong method are told at once. */
static enum status examine(struct options *options, struct bench_plan *plan,
                           const struct config *config)
{
    struct model *model = NULL;
    const char *path = config_text(config, "model.path");
    TRY(text_file_check_readable(path, "model"));
    TRY(model_open(&model, path));
    const char *method = options->method ? options->method : config_text(config, "engine.method");
    const enum status status =
        method_list_parse(&plan->methods, method, model_spec(model)->trained_tokens);
    model_close(model);
    TRY(status);
    if (options->out) {
        TRY(result_folder_prepare(options->out, results));
        TRY(result_folder_prepare(options->out, runs));
    }
    return manifest_read_model(&options->manifest, path);
}

/* ---- the measurement ---- */

/* Every case once before any of them again, so that what drifts meanwhile drifts for all. The first
 * round warms up. */
static enum status measure(const struct bench_report *report, struct rpc_client *client,
                           int64_t stage_tokens, FILE *told)
{
    const int64_t repetitions = report->repetitions;
    for (int64_t round = 0; round <= repetitions; round++)
        for (size_t i = 0; i < report->cases->count; i++) {
            struct bench_case *one = &report->cases->cases[i];
            if (round == 0)
                console_progress("warm-up: %s, %s", one->name, one->asked_method);
            else
                console_progress("%lld of %lld: %s, %s", (long long)round, (long long)repetitions,
                                 one->name, one->asked_method);
            TRY(bench_case_measure(one, client, stage_tokens, round > 0));
            if (round > 0 && told)
                bench_report_run(told, one, round);
        }
    console_clear();
    return STATUS_OK;
}

static enum status prepare(struct bench_cases *cases, struct rpc_client *client,
                           int64_t stage_tokens)
{
    struct sized_prompt_words words = {.client = NULL};
    TRY(sized_prompt_learn(&words, client));
    for (size_t i = 0; i < cases->count; i++) {
        console_progress("prompt of %s", cases->cases[i].name);
        TRY(bench_case_prepare(&cases->cases[i], &words, stage_tokens));
    }
    return STATUS_OK;
}

/* With --out, what is broken off keeps the repetitions that it had. */
static enum status measure_and_keep(const struct options *options,
                                    const struct bench_report *report, struct rpc_client *client,
                                    int64_t stage_tokens)
{
    FILE *told = NULL;
    if (!options->out)
        return measure(report, client, stage_tokens, NULL);
    TRY(result_folder_create(&told, options->out, runs));
    bench_report_begin(told, report);
    const enum status status = measure(report, client, stage_tokens, told);
    if (status == STATUS_OK)
        return result_folder_finish(told, options->out, runs);
    fclose(told);
    return status;
}

static enum status tell(struct options *options, struct bench_report *report)
{
    snprintf(options->manifest.kernels, sizeof options->manifest.kernels, "%s",
             report->cases->cases[0].kernels);
    if (options->out) {
        FILE *file = NULL;
        TRY(result_folder_create(&file, options->out, results));
        bench_report_lines(file, report);
        TRY(result_folder_finish(file, options->out, results));
    }
    if (options->json)
        bench_report_lines(stdout, report);
    else
        bench_report_table(stdout, report);
    const bool shown = !options->json && (options->chart || isatty(STDOUT_FILENO));
    return bench_chart_draw(report, options->out, shown);
}

static enum status run(struct options *options, struct bench_plan *plan,
                       const struct config *config)
{
    struct bench_cases cases = {.cases = NULL};
    struct connection connection = {0};
    struct measured_cluster cluster = {.workers = 0};
    struct private_coordinator_args args = {.config = config};
    const struct server_option nowhere = {0};
    struct bench_report report = {&options->manifest, &cluster, &cases, options->repetitions};
    const int64_t stage_tokens = config_integer(config, "engine.stage_tokens");
    manifest_begin(&options->manifest);
    TRY(examine(options, plan, config));
    enum status status = bench_cases_make(&cases, plan);
    args.context_tokens = cases.context_tokens;
    if (status == STATUS_OK)
        status = connection_open(&connection, &nowhere, &args);
    if (status == STATUS_OK)
        status = measured_cluster_read(&cluster, connection.client);
    if (status == STATUS_OK)
        status = prepare(&cases, connection.client, stage_tokens);
    if (status == STATUS_OK)
        status = measure_and_keep(options, &report, connection.client, stage_tokens);
    status = connection_end(&connection, status);
    if (status == STATUS_OK)
        status = tell(options, &report);
    bench_cases_deinit(&cases);
    return status;
}

static int bench(struct options *options, const struct config *config)
{
    struct bench_plan plan;
    enum status status = read_plan(&plan, options);
    if (status == STATUS_OK && !config_text(config, "model.path")[0])
        status = fail(STATUS_INVALID_ARGUMENT, "--model FILE is missing");
    if (status != STATUS_OK)
        return console_usage(program);
    interrupt_install();
    status = run(options, &plan, config);
    console_clear();
    if (interrupt_count() > 0) {
        console_say("%s: interrupted", program);
        return interrupt_exit_code();
    }
    return status == STATUS_OK ? 0 : console_failure(program, status);
}

enum { ROWS = 9 };

static void set_rows(struct flags_row rows[ROWS], struct options *options)
{
    const struct flags_row all[ROWS] = {
        {.name = "prompt",
         .letter = 'p',
         .type = FLAGS_TEXT,
         .target = &options->prefill,
         .value = "N,N",
         .help = "read prompts of so many tokens [512]"},
        {.name = "generate",
         .letter = 'n',
         .type = FLAGS_TEXT,
         .target = &options->decode,
         .value = "N,N",
         .help = "decode so many tokens behind the first [128; with --frontier 32]"},
        {.name = "depth",
         .letter = 'd',
         .type = FLAGS_TEXT,
         .target = &options->depths,
         .value = "N,N",
         .help = "decode behind prompts of so many tokens [0]"},
        {.name = "frontier",
         .type = FLAGS_TEXT,
         .target = &options->frontier,
         .value = "N,N",
         .help = "one row for each length: prefill, decode, and what the keys and values take"},
        {.name = "repetitions",
         .letter = 'r',
         .type = FLAGS_INTEGER,
         .target = &options->repetitions,
         .value = "N",
         .help = "of each, after one that is not counted [5]",
         .least = 1,
         .most = REPETITIONS_MOST},
        {.name = "method",
         .type = FLAGS_TEXT,
         .target = &options->method,
         .value = "METHOD,METHOD",
         .help = "by each of these methods [rope]"},
        report_option_out_row(&options->out, "keep bench.jsonl and charts there"),
        report_option_chart_row(&options->chart),
        report_option_json_row(&options->json,
                               "JSON lines: a manifest, then each row with its samples"),
    };
    memcpy(rows, all, sizeof all);
}

int bench_command(int argc, char **argv)
{
    struct flags_row rows[ROWS];
    struct config *config = NULL;
    struct options options = {.repetitions = 5};
    options.manifest =
        (struct manifest){.argc = argc, .argv = argv, .program = program, .taker = CONFIG_RUN};
    set_rows(rows, &options);
    enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure(program, status);
    options.manifest.config = config;
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul bench --model SmolLM2-135M-Instruct.Q4_1.gguf -p 512,4096 -n 128\n"
                   "  longhaul bench --model SmolLM2-135M-Instruct.Q4_1.gguf --workers 2 \\\n"
                   "      --frontier 2048,8192,32768 --method rope,lm_infinite --out frontier\n",
        .summary =
            "Measures how fast prompts are read and answers decoded, as users get it: by a\n"
            "coordinator and workers that it starts. Prompts are words drawn by a seed, of\n"
            "exactly so many tokens, and are read whole each time. Repetitions of all cases\n"
            "alternate. Tells mean, deviation, and whether the machine was busy.\n",
        .rows = rows,
        .rows_count = ROWS,
        .takers = CONFIG_RUN,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code == FLAGS_GO_ON)
        exit_code = bench(&options, config);
    config_destroy(config);
    return exit_code;
}
