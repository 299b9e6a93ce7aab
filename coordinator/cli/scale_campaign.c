/* Owns the groups, their prompts and the rows. Promises that there is one coordinator at a time,
 * and none at the end. */
#include "coordinator/cli/scale_campaign.h"

#include <inttypes.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/bench/scaling_write.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/measured_request.h"
#include "coordinator/cli/private_coordinator.h"
#include "coordinator/cli/scale_hosts.h"
#include "coordinator/cli/sized_prompt.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/json_writer.h"
#include "proto/rpc/rpc_client.h"

enum { ASK_MS = 30000, PROMPT_SEED = 1 };

/* ---- what is measured ---- */

/* One more group, unless its workers cannot be shared out evenly. */
static enum status add_group(struct scale_campaign *campaign, const struct host_list *hosts,
                             int nodes, int workers)
{
    if (nodes > 0 && workers % nodes != 0)
        return STATUS_OK;
    struct scale_group *group = &campaign->groups[campaign->group_count++];
    *group = (struct scale_group){.nodes = nodes, .workers = workers};
    return nodes > 0 ? scale_hosts_words(&group->hosts, hosts, nodes, workers) : STATUS_OK;
}

static enum status make_groups(struct scale_campaign *campaign)
{
    const struct scale_settings *settings = campaign->settings;
    const size_t nodes_count = settings->nodes.count ? settings->nodes.count : 1;
    struct host_list hosts = {.count = 0};
    enum status status = STATUS_OK;
    if (settings->nodes.count)
        TRY(scale_hosts_read(&hosts, campaign->config));
    for (size_t n = 0; n < nodes_count; n++)
        for (size_t w = 0; w < settings->workers.count && status == STATUS_OK; w++)
            status = add_group(campaign, &hosts,
                               settings->nodes.count ? (int)settings->nodes.values[n] : 0,
                               (int)settings->workers.values[w]);
    host_list_free(&hosts);
    return status;
}

static void make_rows(struct scale_campaign *campaign)
{
    const struct scale_settings *settings = campaign->settings;
    for (size_t m = 0; m < settings->methods.count; m++)
        for (size_t g = 0; g < campaign->group_count; g++) {
            const struct scale_group *group = &campaign->groups[g];
            campaign->rows[campaign->row_count++] = (struct scaling_row){
                .method = settings->methods.spellings[m],
                .nodes = group->nodes,
                .workers = group->workers,
                .prompt_tokens = scale_settings_tokens(settings, group->workers),
                .weak = settings->weak,
            };
        }
}

static enum status copy_config(struct config **copy, const struct config *config)
{
    TRY(config_create(copy));
    for (size_t i = 0; i < config_rows_count(); i++) {
        const char *key = config_row_at(i)->key;
        if (config_origin(config, key, NULL) != CONFIG_DEFAULT)
            TRY(config_set_flag(*copy, i, config_text(config, key)));
    }
    return STATUS_OK;
}

enum status scale_campaign_init(struct scale_campaign *campaign,
                                const struct scale_settings *settings, const struct config *config)
{
    const size_t most = settings->workers.count * (settings->nodes.count + 1);
    *campaign = (struct scale_campaign){.settings = settings};
    enum status status = copy_config(&campaign->config, config);
    if (status != STATUS_OK) {
        scale_campaign_deinit(campaign);
        return status;
    }
    campaign->groups = calloc(most, sizeof *campaign->groups);
    campaign->rows = calloc(most * settings->methods.count, sizeof *campaign->rows);
    if (!campaign->groups || !campaign->rows) {
        scale_campaign_deinit(campaign);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the rows of a measurement");
    }
    status = make_groups(campaign);
    if (status == STATUS_OK)
        make_rows(campaign);
    else
        scale_campaign_deinit(campaign);
    return status;
}

void scale_campaign_deinit(struct scale_campaign *campaign)
{
    for (size_t g = 0; g < campaign->group_count; g++) {
        free(campaign->groups[g].hosts);
        free(campaign->groups[g].text);
    }
    for (size_t r = 0; r < campaign->row_count; r++)
        scaling_row_deinit(&campaign->rows[r]);
    free(campaign->groups);
    free(campaign->rows);
    config_destroy(campaign->config);
    *campaign = (struct scale_campaign){.groups = NULL};
}

/* ---- one prompt ---- */

/* A coordinator whose workers are ready. */
struct measuring {
    struct scale_campaign *campaign;
    struct scale_group *group;
    struct rpc_client *client;
    struct scaling_rank *ranks; /* [workers]: where they are; the rest is filled in for each run */
};

static enum status take_group(struct measuring *measuring,
                              const Longhaul__V1__GetClusterResponse *cluster)
{
    const size_t workers = (size_t)measuring->group->workers;
    const Longhaul__V1__WorkerGroup *group = cluster->n_groups > 0 ? cluster->groups[0] : NULL;
    if (!group || group->n_ranks != workers)
        return fail(STATUS_UNAVAILABLE, "%zu workers were started, and %zu are there", workers,
                    group ? group->n_ranks : 0);
    for (size_t r = 0; r < workers; r++) {
        struct scaling_rank *rank = &measuring->ranks[r];
        snprintf(rank->host, sizeof rank->host, "%s", group->ranks[r]->host);
        rank->threads = group->ranks[r]->threads;
    }
    return STATUS_OK;
}

static enum status ask_where_ranks_are(struct measuring *measuring)
{
    const struct rpc_stream_args call = {
        .path = "/longhaul.v1.Inference/GetCluster",
        .response = &longhaul__v1__get_cluster_response__descriptor,
        .timeout_ms = ASK_MS,
    };
    const Longhaul__V1__GetClusterRequest request = LONGHAUL__V1__GET_CLUSTER_REQUEST__INIT;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    TRY(rpc_client_call(measuring->client, &stream, &reply, &call, &request.base));
    enum status status = take_group(measuring, (const Longhaul__V1__GetClusterResponse *)reply);
    rpc_stream_close(stream);
    return status;
}

static enum status take_reports(struct measuring *measuring, const Longhaul__V1__Finished *finished)
{
    if (finished->n_ranks != (size_t)measuring->group->workers)
        return fail(STATUS_INTERNAL, "%zu of %d workers reported", finished->n_ranks,
                    measuring->group->workers);
    for (size_t r = 0; r < finished->n_ranks; r++) {
        const Longhaul__V1__RankReport *report = finished->ranks[r];
        struct scaling_rank *rank = &measuring->ranks[r];
        rank->host_cores = (int)report->host_cores;
        rank->sent_bytes = report->sent_bytes;
        rank->predicted_sent_bytes = report->predicted_sent_bytes;
        rank->cpu_seconds = report->cpu_seconds;
        rank->wait_seconds = report->wait_seconds;
        rank->voluntary_switches = report->voluntary_switches;
        rank->involuntary_switches = report->involuntary_switches;
        rank->host_cpu_seconds = report->host_cpu_seconds;
    }
    return STATUS_OK;
}

/* A run as a line, in the file at once: a campaign that is broken off leaves what it has. */
static enum status write_run(struct scale_campaign *campaign, const struct scaling_row *row,
                             const struct scaling_run *run, int64_t repetition)
{
    struct json_writer writer = {.file = campaign->runs};
    json_writer_begin_object(&writer, NULL);
    scaling_write_run(&writer, row, run, repetition);
    json_writer_end_object(&writer);
    fputc('\n', campaign->runs);
    campaign->run_count++;
    if (fflush(campaign->runs) != 0)
        return fail(STATUS_IO, "write the runs: the disk takes no more");
    return STATUS_OK;
}

static enum status take_run(struct measuring *measuring, struct scaling_row *row,
                            const struct measured_request *request, int64_t repetition)
{
    struct scale_campaign *campaign = measuring->campaign;
    TRY(take_reports(measuring, request->finished));
    const struct scaling_run run = {
        .seconds = request->finished->seconds->prefill,
        .predicted_seconds = request->plan->seconds,
        .flops = request->plan->flops,
        .ranks = measuring->ranks,
    };
    snprintf(campaign->kernels, sizeof campaign->kernels, "%s", request->plan->kernels);
    TRY(scaling_row_add(row, &run));
    return write_run(campaign, row, &run, repetition);
}

/* One prompt, of which one token is answered: the prefill ends with it. `row` NULL: not counted. */
static enum status measure(struct measuring *measuring, struct scaling_row *row, const char *text,
                           const struct measured_request_args *args, int64_t repetition)
{
    struct measured_request request;
    struct measured_request_args all = *args;
    all.client = measuring->client;
    all.text = text;
    all.max_tokens = 1;
    all.no_prefix_reuse = true;
    all.stage_tokens = config_integer(measuring->campaign->config, "engine.stage_tokens");
    enum status status = measured_request_run(&request, &all);
    if (status == STATUS_OK && row)
        status = take_run(measuring, row, &request, repetition);
    measured_request_deinit(&request);
    return status;
}

/* ---- one group ---- */

static enum status make_text(char **text, struct rpc_client *client, int64_t tokens)
{
    struct sized_prompt_words words;
    const struct sized_prompt_args args = {.tokens = tokens, .seed = PROMPT_SEED};
    TRY(sized_prompt_learn(&words, client));
    return sized_prompt_make(text, &words, &args);
}

/* The first prompt that a worker reads touches memory for the first time. */
static enum status warm_up(struct measuring *measuring)
{
    const struct scale_settings *settings = measuring->campaign->settings;
    char *text = NULL;
    const struct measured_request_args args = {
        .prompt_tokens = settings->warmup_tokens,
        .method = settings->methods.spellings[0],
    };
    if (settings->warmup_tokens == 0)
        return STATUS_OK;
    TRY(make_text(&text, measuring->client, settings->warmup_tokens));
    enum status status = measure(measuring, NULL, text, &args, 0);
    free(text);
    return status;
}

static enum status measure_methods(struct measuring *measuring, int64_t repetition)
{
    struct scale_campaign *campaign = measuring->campaign;
    struct scale_group *group = measuring->group;
    const size_t methods = campaign->settings->methods.count;
    const size_t which = (size_t)(group - campaign->groups);
    for (size_t i = 0; i < methods; i++) {
        const size_t m = repetition % 2 ? methods - 1 - i : i;
        struct scaling_row *row = &campaign->rows[m * campaign->group_count + which];
        const struct measured_request_args args = {
            .prompt_tokens = row->prompt_tokens,
            .method = row->method,
        };
        if (!group->text)
            TRY(make_text(&group->text, measuring->client, row->prompt_tokens));
        console_progress("repetition %" PRId64 " of %" PRId64 ": %s, %d workers", repetition + 1,
                         campaign->settings->repetitions, row->method, group->workers);
        TRY(measure(measuring, row, group->text, &args, repetition));
    }
    return STATUS_OK;
}

static enum status set_row(struct config *config, const char *key, const char *text)
{
    size_t i = 0;
    while (strcmp(config_row_at(i)->key, key) != 0)
        i++;
    return config_set_flag(config, i, text);
}

static enum status set_group(struct config *config, const struct scale_group *group)
{
    char workers[16];
    snprintf(workers, sizeof workers, "%d", group->workers);
    TRY(set_row(config, "engine.workers", workers));
    if (!group->hosts)
        return STATUS_OK;
    TRY(set_row(config, "coordinator.hostfile", ""));
    return set_row(config, "coordinator.hosts", group->hosts);
}

static enum status measure_group(struct scale_campaign *campaign, struct scale_group *group,
                                 int64_t repetition)
{
    struct private_coordinator *coordinator = NULL;
    const struct private_coordinator_args args = {
        .config = campaign->config,
        .context_tokens = scale_settings_most_tokens(campaign->settings) + 1,
    };
    struct measuring measuring = {.campaign = campaign, .group = group};
    measuring.ranks = calloc((size_t)group->workers, sizeof *measuring.ranks);
    if (!measuring.ranks)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d ranks", group->workers);
    enum status status = set_group(campaign->config, group);
    if (status == STATUS_OK)
        status = private_coordinator_start(&coordinator, &args);
    if (status == STATUS_OK) {
        measuring.client = private_coordinator_client(coordinator);
        status = ask_where_ranks_are(&measuring);
    }
    if (status == STATUS_OK)
        status = warm_up(&measuring);
    if (status == STATUS_OK)
        status = measure_methods(&measuring, repetition);
    console_clear();
    private_coordinator_stop(coordinator,
                             status == STATUS_UNAVAILABLE || status == STATUS_INTERNAL);
    free(measuring.ranks);
    return status;
}

enum status scale_campaign_run(struct scale_campaign *campaign, FILE *runs)
{
    campaign->runs = runs;
    for (int64_t repetition = 0; repetition < campaign->settings->repetitions; repetition++)
        for (size_t i = 0; i < campaign->group_count; i++) {
            const size_t g = repetition % 2 ? campaign->group_count - 1 - i : i;
            TRY(measure_group(campaign, &campaign->groups[g], repetition));
        }
    return scaling_compare(campaign->rows, campaign->row_count);
}
