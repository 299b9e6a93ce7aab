/* longhaul scale: one prompt over several numbers of workers. */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/report_option.h"
#include "coordinator/cli/result_folder.h"
#include "coordinator/cli/scale_campaign.h"
#include "coordinator/cli/scale_charts.h"
#include "coordinator/cli/scale_manifest.h"
#include "coordinator/cli/scale_report.h"
#include "coordinator/cli/scale_settings.h"
#include "coordinator/cli/text_file.h"
#include "coordinator/measured_costs.h"
#include "proto/flags.h"
#include "proto/model/model.h"

static const char program[] = "longhaul scale";
static const char runs_file[] = "runs.jsonl";

enum { WARMUP_TOKENS = 512, REPETITIONS = 3, REPETITIONS_MOST = 1000 };

struct options {
    struct scale_settings settings;
    const char *manifest_file, *out;
    bool tokens_given, repetitions_given, warmup_given, json, chart;
};

/* What is measured and what it was made of; one measurement. */
struct scale {
    struct options *options;
    struct config *config;
    struct scale_manifest before; /* that it repeats; else empty */
    struct manifest manifest;
    struct scale_settings_texts texts;
    struct measured_costs costs;
};

/* ---- before anything is started ---- */

/* What is asked by options is read here, so that what is wrong with it is wrong usage. */
static enum status check_usage(struct options *options, const struct config *config)
{
    struct scale_settings *settings = &options->settings;
    const bool own = settings->workers_text || settings->nodes_text || settings->mode_text ||
                     settings->methods_text || options->tokens_given ||
                     options->repetitions_given || options->warmup_given;
    if (!options->out)
        return fail(STATUS_INVALID_ARGUMENT, "--out DIR is missing");
    if (options->manifest_file && own)
        return fail(
            STATUS_INVALID_ARGUMENT,
            "--manifest FILE says itself what to measure: beside it only --out, --model and "
            "--json go");
    if (options->manifest_file)
        return STATUS_OK;
    if (!config_text(config, "model.path")[0])
        return fail(STATUS_INVALID_ARGUMENT, "--model FILE is missing");
    return scale_settings_read(settings);
}

static enum status read_trained_tokens(int64_t *tokens, const char *path)
{
    struct model *model = NULL;
    TRY(text_file_check_readable(path, "model"));
    TRY(model_open(&model, path));
    *tokens = model_spec(model)->trained_tokens;
    model_close(model);
    return STATUS_OK;
}

/* Plans follow measured rates where there are some: a repetition says if these are others. */
static enum status find_rates(struct scale *scale)
{
    struct scale_settings *settings = &scale->options->settings;
    const char *then = settings->rates_text;
    TRY(measured_costs_find(&scale->costs, config_text(scale->config, "plan.costs")));
    settings->rates_text = scale->costs.known ? scale->costs.file.measured : "";
    if (then && strcmp(then, settings->rates_text) != 0)
        console_say("%s: plans follow other measured rates (%s) than the manifest's (%s): they and "
                    "what they predict may differ",
                    program, settings->rates_text[0] ? settings->rates_text : "none",
                    then[0] ? then : "none");
    return STATUS_OK;
}

/* The settings, from the options or an earlier manifest, and a manifest of its own. */
static enum status read_settings(struct scale *scale)
{
    struct options *options = scale->options;
    struct scale_settings *settings = &options->settings;
    int64_t trained_tokens = 0;
    if (options->manifest_file) {
        TRY(scale_manifest_read(&scale->before, options->manifest_file, settings, scale->config));
        TRY(scale_settings_read(settings));
    }
    const char *model = config_text(scale->config, "model.path");
    TRY(read_trained_tokens(&trained_tokens, model));
    TRY(scale_settings_read_methods(settings, trained_tokens));
    if (settings->warmup_tokens > settings->prompt_tokens)
        settings->warmup_tokens = settings->prompt_tokens;
    TRY(find_rates(scale));
    scale_settings_tell(settings, &scale->texts, &scale->manifest);
    TRY(manifest_read_model(&scale->manifest, model));
    return scale_manifest_check(&scale->before, &scale->manifest);
}

/* ---- measuring ---- */

static enum status show(const struct scale *scale, struct scale_campaign *campaign)
{
    const struct options *options = scale->options;
    const bool charts = !options->json && (options->chart || isatty(STDOUT_FILENO));
    TRY(scale_report_write(campaign, &scale->manifest, options->out));
    if (options->json)
        scale_report_lines(stdout, campaign, &scale->manifest);
    else
        scale_report_table(campaign);
    return scale_charts_draw(campaign, options->out, charts);
}

/* A file without a run is not kept: the next attempt may have the folder. */
static enum status measure(struct scale *scale, struct scale_campaign *campaign)
{
    const char *out = scale->options->out;
    FILE *runs = NULL;
    TRY(result_folder_prepare(out, runs_file));
    TRY(result_folder_create(&runs, out, runs_file));
    scale_report_manifest(runs, &scale->manifest);
    const enum status measured = scale_campaign_run(campaign, runs);
    if (campaign->run_count == 0) {
        fclose(runs);
        result_folder_remove(out, runs_file);
        return measured;
    }
    const enum status status = result_folder_finish(runs, out, runs_file);
    return measured != STATUS_OK ? measured : status;
}

static enum status run(struct scale *scale)
{
    struct scale_campaign campaign;
    TRY(read_settings(scale));
    TRY(scale_campaign_init(&campaign, &scale->options->settings, scale->config));
    enum status status = measure(scale, &campaign);
    snprintf(scale->manifest.kernels, sizeof scale->manifest.kernels, "%s", campaign.kernels);
    if (status == STATUS_OK)
        status = show(scale, &campaign);
    scale_campaign_deinit(&campaign);
    return status;
}

static int scale_all(struct options *options, struct config *config, int argc, char **argv)
{
    struct scale scale = {
        .options = options,
        .config = config,
        .manifest =
            {.argc = argc, .argv = argv, .program = program, .config = config, .taker = CONFIG_RUN},
    };
    if (check_usage(options, config) != STATUS_OK)
        return console_usage(program);
    interrupt_install();
    const enum status status = run(&scale);
    scale_manifest_deinit(&scale.before);
    if (interrupt_count() > 0) {
        console_say("%s: interrupted; runs that ended are in %s/%s", program, options->out,
                    runs_file);
        return interrupt_exit_code();
    }
    return status == STATUS_OK ? 0 : console_failure(program, status);
}

enum { ASKED_ROWS = 7, ROWS = 11 };

/* What to measure. */
static void set_asked_rows(struct flags_row *rows, struct options *options)
{
    struct scale_settings *settings = &options->settings;
    const struct flags_row all[ASKED_ROWS] = {
        {.name = "workers",
         .type = FLAGS_TEXT,
         .target = &settings->workers_text,
         .value = "LIST",
         .help = "numbers of workers, 1,2,4: the first is what the others are compared with"},
        {.name = "nodes",
         .type = FLAGS_TEXT,
         .target = &settings->nodes_text,
         .value = "LIST",
         .help = "numbers of hosts over which each number of workers is shared out evenly"},
        {.name = "mode",
         .type = FLAGS_TEXT,
         .target = &settings->mode_text,
         .value = "WORD",
         .help = "strong: the same prompt for all; weak: --prompt-tokens for each worker"},
        {.name = "prompt-tokens",
         .letter = 't',
         .type = FLAGS_INTEGER,
         .target = &settings->prompt_tokens,
         .value = "N",
         .help = "the prompt's length",
         .least = 1,
         .most = 1 << 30,
         .given = &options->tokens_given},
        {.name = "method",
         .type = FLAGS_TEXT,
         .target = &settings->methods_text,
         .value = "LIST",
         .help = "methods, each as --method elsewhere: rope,lm_infinite:window=2048,sinks=4"},
        {.name = "repetitions",
         .letter = 'r',
         .type = FLAGS_INTEGER,
         .target = &settings->repetitions,
         .value = "N",
         .help = "of the whole list, one after the other [3]",
         .least = 1,
         .most = REPETITIONS_MOST,
         .given = &options->repetitions_given},
        {.name = "warmup",
         .type = FLAGS_INTEGER,
         .target = &settings->warmup_tokens,
         .value = "N",
         .help = "tokens of a first prompt, which is not counted [512, or the prompt's]",
         .least = 0,
         .most = 1 << 30,
         .given = &options->warmup_given},
    };
    memcpy(rows, all, sizeof all);
}

/* And what becomes of it. */
static void set_result_rows(struct flags_row *rows, struct options *options)
{
    const struct flags_row all[ROWS - ASKED_ROWS] = {
        report_option_out_row(&options->out,
                              "folder for scale.jsonl, runs.jsonl, manifest.json and the charts"),
        {.name = "manifest",
         .type = FLAGS_TEXT,
         .target = &options->manifest_file,
         .value = "FILE",
         .help = "measure again what this manifest, or file that begins with one, is of"},
        report_option_chart_row(&options->chart),
        report_option_json_row(&options->json, "JSON lines: a manifest, then each row"),
    };
    memcpy(rows, all, sizeof all);
}

int scale_command(int argc, char **argv)
{
    struct options options = {
        .settings = {.repetitions = REPETITIONS, .warmup_tokens = WARMUP_TOKENS},
    };
    struct flags_row rows[ROWS];
    struct config *config = NULL;
    set_asked_rows(rows, &options);
    set_result_rows(rows + ASKED_ROWS, &options);
    enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure(program, status);
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul scale --model SmolLM2-135M-Instruct.Q4_1.gguf --workers 1,2 \\\n"
                   "      --mode strong --prompt-tokens 8192 --method rope,string --out scaling\n"
                   "  longhaul scale --manifest scaling/manifest.json --out again\n",
        .summary =
            "Measures how the time to read a prompt scales over workers, on this host or, with\n"
            "--nodes, on several: for each number of workers a coordinator of its own, one at a\n"
            "time, and each repetition over all. Efficiency is planned operations per second and\n"
            "core, over those of the first row. Rows tell when cores were shared or others used\n"
            "the machine.\n",
        .rows = rows,
        .rows_count = ROWS,
        .takers = CONFIG_RUN,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code == FLAGS_GO_ON)
        exit_code = scale_all(&options, config, argc, argv);
    config_destroy(config);
    return exit_code;
}
