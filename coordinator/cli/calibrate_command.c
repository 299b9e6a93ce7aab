/* longhaul calibrate: what this machine's workers take for each part of a prompt and of a token,
 * kept in a file by which plans are made. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "coordinator/bench/host_facts.h"
#include "coordinator/bench/manifest.h"
#include "coordinator/cli/calibrate_group.h"
#include "coordinator/cli/commands.h"
#include "coordinator/cli/connection.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/interrupt.h"
#include "coordinator/cli/number_list.h"
#include "coordinator/cli/text_file.h"
#include "coordinator/measured_costs.h"
#include "proto/cost_file.h"
#include "proto/flags.h"
#include "proto/model/model.h"

static const char program[] = "longhaul calibrate";

enum { TOKENS_LEAST = 128, TOKENS_MOST = 1 << 24, WORKERS_MOST = 1024, REPETITIONS_MOST = 100 };

struct options {
    const char *workers, *lengths, *out;
    int64_t repetitions;
};

/* What is found out before anything is started. */
struct subject {
    struct number_list workers;
    struct calibrate_plan plan;
    char path[COST_FILE_PATH_BYTES]; /* of the result */
    struct manifest manifest;
};

static enum status read_model(struct subject *subject, struct cost_file *file, const char *path)
{
    struct model *model = NULL;
    TRY(text_file_check_readable(path, "model"));
    TRY(model_open(&model, path));
    const struct model_spec *spec = model_spec(model);
    subject->plan.shape = spec_shape(spec, 0);
    file->head_dim = spec->head_dim;
    snprintf(file->weights, sizeof file->weights, "%s", spec->file_type);
    model_close(model);
    TRY(manifest_read_model(&subject->manifest, path));
    snprintf(file->model, sizeof file->model, "%s", subject->manifest.model);
    snprintf(file->digest, sizeof file->digest, "%s", subject->manifest.digest);
    return STATUS_OK;
}

static void describe_machine(struct cost_file *file)
{
    struct host_facts facts;
    const time_t now = time(NULL);
    struct tm utc;
    host_facts_read(&facts);
    snprintf(file->cpu, sizeof file->cpu, "%s", facts.cpu);
    file->cores = facts.usable_cores;
    gmtime_r(&now, &utc);
    strftime(file->measured, sizeof file->measured, "%Y-%m-%dT%H:%M:%SZ", &utc);
}

static enum status read_options(struct subject *subject, const struct options *options,
                                const struct config *config)
{
    if (!config_text(config, "model.path")[0])
        return fail(STATUS_INVALID_ARGUMENT, "--model FILE is missing");
    TRY(number_list_parse(&subject->workers, "workers", options->workers, 1, WORKERS_MOST));
    TRY(number_list_parse(&subject->plan.lengths, "prompt-tokens", options->lengths, TOKENS_LEAST,
                          TOKENS_MOST));
    if (subject->plan.lengths.count < 2)
        return fail(STATUS_INVALID_ARGUMENT,
                    "--prompt-tokens takes at least two lengths: what a stage costs beside its "
                    "arithmetic shows in short ones");
    if (!options->out)
        TRY(measured_costs_default(subject->path));
    else if ((size_t)snprintf(subject->path, sizeof subject->path, "%s", options->out) >=
             sizeof subject->path)
        return fail(STATUS_INVALID_ARGUMENT, "-o: the path is too long");
    subject->plan.repetitions = options->repetitions;
    return STATUS_OK;
}

static enum status set_workers(struct config *config, int64_t workers)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, workers);
    for (size_t row = 0; row < config_rows_count(); row++)
        if (strcmp(config_row_at(row)->key, "engine.workers") == 0)
            return config_set_flag(config, row, text);
    return STATUS_OK;
}

/* One number of workers: starts them, measures, ends them. */
static enum status measure(struct calibrate_result *result, const struct subject *subject,
                           struct config *config, int64_t workers)
{
    struct connection connection = {0};
    const struct server_option nowhere = {0};
    const struct private_coordinator_args args = {
        .config = config, .context_tokens = calibrate_group_context(&subject->plan)};
    TRY(set_workers(config, workers));
    enum status status = connection_open(&connection, &nowhere, &args);
    if (status == STATUS_OK)
        status = calibrate_group(result, connection.client, &subject->plan);
    return connection_end(&connection, status);
}

static enum status keep(struct cost_measured *rates, const struct calibrate_result *result)
{
    int row = 0;
    while (row < rates->count && rates->rows[row].threads != result->threads)
        row++;
    if (row == COST_MEASURED_THREADS_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "--workers: more than %d numbers of threads",
                    COST_MEASURED_THREADS_MAX);
    if (row == rates->count)
        rates->count++;
    rates->rows[row] = (struct cost_measured_row){result->threads, result->table};
    snprintf(rates->kernels, sizeof rates->kernels, "%s", result->kernels);
    if (result->table.within.bytes_per_second > 0)
        rates->within = result->table.within;
    if (result->table.between.bytes_per_second > 0)
        rates->between = result->table.between;
    return STATUS_OK;
}

static void tell_link(const char *what, const struct cost_link *link)
{
    if (link->bytes_per_second > 0)
        printf("  %-30s %10.3g MB/s, %.3g us, %.3g us for each further message\n", what,
               link->bytes_per_second / 1e6, link->latency_s * 1e6, link->message_s * 1e6);
}

static void tell(const struct calibrate_result *result)
{
    const struct cost_table *table = &result->table;
    printf("%d worker%s of %d thread%s, %s\n", result->workers, result->workers == 1 ? "" : "s",
           result->threads, result->threads == 1 ? "" : "s", result->kernels);
    printf("  %-30s %10.4g GFLOP/s, and %.3g us a layer\n", "products", table->linear_flops / 1e9,
           table->layer_s * 1e6);
    printf("  %-30s %10.4g GFLOP/s, and %.3g keys an edge\n", "attention",
           table->attention_flops / 1e9, table->edge_keys);
    printf("  %-30s %10.4g GFLOP/s, and %.3g ms a stage\n", "logits", table->logits_flops / 1e9,
           table->stage_s * 1e3);
    printf("  %-30s %10.4g GB/s of weights, %.4g GB/s of keys, and %.3g us a token\n", "decode",
           table->memory_bytes / 1e9, table->keys_bytes / 1e9, table->token_s * 1e6);
    tell_link("between workers of one host", &table->within);
    tell_link("between hosts", &table->between);
    printf("  %-30s %+9.1f %% in the median, %+.1f %% at worst, of these prompts' seconds\n",
           "predicted against measured", 100 * result->median_error, 100 * result->worst_error);
}

static enum status run(struct subject *subject, struct config *config)
{
    struct cost_file file = {.cores = 0};
    TRY(read_model(subject, &file, config_text(config, "model.path")));
    for (size_t w = 0; w < subject->workers.count; w++) {
        struct calibrate_result result;
        TRY(measure(&result, subject, config, subject->workers.values[w]));
        TRY(keep(&file.rates, &result));
        console_clear();
        tell(&result);
    }
    describe_machine(&file);
    TRY(cost_file_write(&file, subject->path));
    printf("kept in %s\n", subject->path);
    return STATUS_OK;
}

static int calibrate(const struct options *options, struct config *config)
{
    struct subject subject = {.path = ""};
    enum status status = read_options(&subject, options, config);
    if (status != STATUS_OK)
        return console_usage(program);
    interrupt_install();
    status = run(&subject, config);
    console_clear();
    if (interrupt_count() > 0) {
        console_say("%s: interrupted", program);
        return interrupt_exit_code();
    }
    return status == STATUS_OK ? 0 : console_failure(program, status);
}

int calibrate_command(int argc, char **argv)
{
    struct options options = {.workers = "1,2", .lengths = "256,1024,4096", .repetitions = 3};
    const struct flags_row rows[] = {
        {.name = "out",
         .letter = 'o',
         .type = FLAGS_TEXT,
         .target = &options.out,
         .value = "FILE",
         .help = "keep the rates here [$XDG_STATE_HOME/longhaul/costs.yaml]"},
        {.name = "workers",
         .type = FLAGS_TEXT,
         .target = &options.workers,
         .value = "N,N",
         .help = "measure so many workers, one number after the other [1,2]"},
        {.name = "prompt-tokens",
         .letter = 't',
         .type = FLAGS_TEXT,
         .target = &options.lengths,
         .value = "N,N",
         .help = "with prompts of so many tokens, several lengths [256,1024,4096]"},
        {.name = "repetitions",
         .letter = 'r',
         .type = FLAGS_INTEGER,
         .target = &options.repetitions,
         .value = "N",
         .help = "of each prompt, whose median counts [3]",
         .least = 1,
         .most = REPETITIONS_MOST},
    };
    struct config *config = NULL;
    enum status status = config_create(&config);
    if (status != STATUS_OK)
        return console_failure(program, status);
    const struct flags_command command = {
        .program = program,
        .example = "  longhaul calibrate --model SmolLM2-135M-Instruct.Q4_1.gguf\n"
                   "  longhaul plan --model SmolLM2-135M-Instruct.Q4_1.gguf -t 32000 --workers 2\n",
        .summary =
            "Measures what this machine's workers take for products, attention, logits, decoded\n"
            "tokens and messages, with a coordinator and workers that it starts, and keeps the\n"
            "rates in a file. `plan`, `run` and the coordinator predict and choose by them.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
        .takers = CONFIG_RUN,
        .config = config,
    };
    int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code == FLAGS_GO_ON)
        exit_code = calibrate(&options, config);
    config_destroy(config);
    return exit_code;
}
