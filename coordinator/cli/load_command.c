/* longhaul load: many requests on a coordinator, and how it serves them. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/load_options.h"
#include "coordinator/cli/load_report.h"
#include "coordinator/cli/method_option.h"
#include "coordinator/cli/result_folder.h"
#include "coordinator/cli/text_file.h"
#include "proto/flags.h"
#include "proto/model/model.h"

static const char program[] = "longhaul load";
static const char results[] = "load.jsonl";

/* One run of the command. */
struct run {
    struct load_options options;
    struct load_settings settings;
    struct load_point points[LOAD_REPORT_POINTS_MOST];
    size_t point_count, ended;
    const struct config *config;
    struct manifest manifest;
    struct measured_cluster cluster;
};

/* Before anything is started: a wrong file and a wrong method are told at once. */
static enum status examine(struct run *run)
{
    const char *path = config_text(run->config, "model.path");
    int64_t trained_tokens = 0;
    if (path[0]) {
        struct model *model = NULL;
        TRY(text_file_check_readable(path, "model"));
        TRY(model_open(&model, path));
        trained_tokens = model_spec(model)->trained_tokens;
        model_close(model);
    }
    TRY(method_option_check(run->config, trained_tokens));
    if (config_origin(run->config, "engine.method", NULL) != CONFIG_DEFAULT)
        run->settings.method = config_text(run->config, "engine.method");
    run->settings.stage_tokens = config_integer(run->config, "engine.stage_tokens");
    run->settings.draft = method_option_draft(run->config);
    if (run->options.out)
        TRY(result_folder_prepare(run->options.out, results));
    return path[0] ? manifest_read_model(&run->manifest, path) : STATUS_OK;
}

static enum status measure_one(struct run *run, struct load_point *point, uint64_t number,
                               const struct sized_prompt_words *words)
{
    TRY(load_point_prepare(point, &run->settings, words, number));
    TRY(load_point_run(point, &run->settings, words->client));
    if (point->metrics.completed > 0)
        return STATUS_OK;
    return fail(STATUS_UNAVAILABLE, "none of %zu requests was answered, first: %s", point->count,
                point->records[0].error);
}

static struct load_report report_of(struct run *run)
{
    return (struct load_report){&run->manifest, &run->cluster, &run->settings, run->points,
                                run->point_count};
}

/* Each load's line is there once it has ended, so that one which fails takes no other with it. */
static enum status measure_all(struct run *run, FILE *file, const struct sized_prompt_words *words)
{
    const struct load_report report = report_of(run);
    if (file)
        load_report_manifest(file, &report);
    for (run->ended = 0; run->ended < run->point_count; run->ended++) {
        TRY(measure_one(run, &run->points[run->ended], run->ended + 1, words));
        if (!file)
            continue;
        load_report_point(file, &report, run->ended);
        if (fflush(file) != 0)
            return fail(STATUS_IO, "write %s/%s: %s", run->options.out, results, strerror(errno));
    }
    return STATUS_OK;
}

static enum status measure(struct run *run, struct rpc_client *client)
{
    struct sized_prompt_words words = {.client = NULL};
    FILE *file = NULL;
    TRY(measured_cluster_read(&run->cluster, client));
    TRY(sized_prompt_learn(&words, client));
    if (run->options.out)
        TRY(result_folder_create(&file, run->options.out, results));
    enum status status = measure_all(run, file, &words);
    if (!file)
        return status;
    if (status == STATUS_OK)
        return result_folder_finish(file, run->options.out, results);
    fclose(file);
    if (run->ended == 0)
        result_folder_remove(run->options.out, results);
    return status;
}

static enum status tell(struct run *run)
{
    const struct load_report report = report_of(run);
    if (run->options.json)
        load_report_lines(stdout, &report);
    else
        load_report_table(stdout, &report);
    const bool shown = !run->options.json && (run->options.chart || isatty(STDOUT_FILENO));
    return load_report_charts(&report, run->options.out, shown);
}

static enum status run_all(struct run *run)
{
    struct connection connection = {0};
    const struct private_coordinator_args args = {
        .config = run->config,
        .context_tokens =
            number_list_most(&run->settings.prompts) + number_list_most(&run->settings.answers),
        .many = true,
    };
    manifest_begin(&run->manifest);
    TRY(examine(run));
    enum status status = connection_open(&connection, &run->options.server, &args);
    if (status == STATUS_OK)
        status = measure(run, connection.client);
    status = connection_end(&connection, status);
    console_clear();
    if (status == STATUS_OK)
        status = tell(run);
    for (size_t i = 0; i < run->point_count; i++)
        load_point_deinit(&run->points[i]);
    return status;
}

static int load(struct run *run)
{
    enum status status =
        load_options_read(&run->options, &run->settings, run->points, &run->point_count);
    if (status == STATUS_OK && !run->options.server.address &&
        !config_text(run->config, "model.path")[0])
        status = fail(STATUS_INVALID_ARGUMENT, "give --model FILE, or --server HOST:PORT");
    if (status != STATUS_OK)
        return console_usage(program);
    interrupt_install();
    status = run_all(run);
    if (interrupt_count() > 0) {
        console_say("%s: interrupted", program);
        return interrupt_exit_code();
    }
    return status == STATUS_OK ? 0 : console_failure(program, status);
}

int load_command(int argc, char **argv)
{
    struct flags_row rows[LOAD_OPTIONS_ROWS];
    struct config *config = NULL;
    struct run run = {.point_count = 0};
    load_options_init(&run.options, rows);
    enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure(program, status);
    run.config = config;
    run.manifest = (struct manifest){.argc = argc,
                                     .argv = argv,
                                     .program = program,
                                     .config = config,
                                     .taker = CONFIG_RUN | CONFIG_REQUEST};
    const struct flags_command command = {
        .program = program,
        .example =
            "  longhaul load --server 127.0.0.1:7711 -p 2048 -n 128 -c 1,2,4,8,16 --out load\n"
            "  longhaul load --server 127.0.0.1:7711 --rate 0.5,1,2 --goodput "
            "ttft:2000,tpot:100\n",
        .summary =
            "Asks a coordinator for many answers at once and tells how it serves them: rates,\n"
            "time to the first token and between tokens, and how many requests keep to goals.\n"
            "Without --server it starts a coordinator and workers of its own. In an open load a\n"
            "request counts from when it was to be sent, whether or not it could be.\n",
        .rows = rows,
        .rows_count = LOAD_OPTIONS_ROWS,
        .takers = CONFIG_RUN | CONFIG_REQUEST,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code == FLAGS_GO_ON)
        exit_code = load(&run);
    config_destroy(config);
    return exit_code;
}
