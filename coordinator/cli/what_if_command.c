/* Owns what a what-if is asked. Promises that nothing of this machine goes into its answer. */
#include "coordinator/cli/what_if_command.h"

#include <stdio.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "coordinator/cli/console.h"
#include "coordinator/cli/text_file.h"
#include "coordinator/cli/what_if.h"
#include "coordinator/cli/what_if_report.h"
#include "proto/model/checkpoint.h"
#include "proto/model/model.h"

/* From a shape's file, or the model itself: its weights as its file has them. */
static enum status read_model(struct what_if_model *model, const struct what_if_options *options)
{
    struct model *opened = NULL;
    const char *path = config_text(options->config, "model.path");
    if (options->shape)
        return what_if_model_read(model, options->shape);
    TRY(text_file_check_readable(path, "model"));
    TRY(model_open(&opened, path));
    model->shape =
        spec_shape(model_spec(opened), (int64_t)checkpoint_tensor_bytes(model_checkpoint(opened)));
    snprintf(model->name, sizeof model->name, "%s", path);
    model_close(opened);
    return STATUS_OK;
}

static enum status read_cluster(struct what_if_cluster *cluster,
                                const struct what_if_options *options)
{
    const struct config *config = options->config;
    TRY(what_if_cluster_read(cluster, options->cluster));
    if (config_origin(config, "engine.workers", NULL) == CONFIG_FLAG)
        cluster->workers =
            (struct fact_integers){.list = {config_integer(config, "engine.workers")}, .count = 1};
    if (options->prompt_tokens > 0)
        cluster->tokens = (struct fact_integers){.list = {options->prompt_tokens}, .count = 1};
    cluster->worker_tokens = options->worker_tokens;
    if (config_origin(config, "engine.method", NULL) == CONFIG_FLAG &&
        snprintf(cluster->methods, sizeof cluster->methods, "%s",
                 config_text(config, "engine.method")) >= (int)sizeof cluster->methods)
        return fail(STATUS_INVALID_ARGUMENT, "--method: too long a spelling");
    return STATUS_OK;
}

static void show_progress(int row, int rows)
{
    console_progress("simulated %d of %d plans", row, rows);
}

/* 0: standard output is no terminal. */
static int terminal_columns(void)
{
    struct winsize size;
    return isatty(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}

static enum status report(const struct what_if *what_if, const struct what_if_options *options)
{
    if (options->folder)
        TRY(what_if_report_draw(what_if, options->folder));
    if (!options->json)
        return what_if_report_print(what_if, terminal_columns());
    struct manifest manifest = {.argc = options->argc,
                                .argv = options->argv,
                                .program = "longhaul plan",
                                .config = options->config,
                                .taker = CONFIG_RUN};
    what_if_report_json(what_if, &manifest);
    return STATUS_OK;
}

enum status what_if_command(const struct what_if_options *options)
{
    struct what_if what_if = {.count = 0};
    TRY(read_cluster(&what_if.cluster, options));
    TRY(read_model(&what_if.model, options));
    enum status status = what_if_make(&what_if, show_progress);
    console_clear();
    TRY(status);
    status = report(&what_if, options);
    what_if_deinit(&what_if);
    return status;
}
