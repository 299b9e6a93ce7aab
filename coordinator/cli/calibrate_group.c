/* Owns the samples of one group. Promises that all cases alternate, and that the median of each
 * counts. */
#include "coordinator/cli/calibrate_group.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/bench/samples.h"
#include "coordinator/cli/calibrate_work.h"
#include "coordinator/cli/console.h"
#include "coordinator/cli/event_stream.h"
#include "coordinator/cli/measured_cluster.h"
#include "coordinator/cli/measured_request.h"
#include "coordinator/cli/sized_prompt.h"
#include "proto/rpc/rpc_client.h"

enum { ANSWER_TOKENS = 32, ASK_MS = 60000, PROMPT_SEED = 7, CASES_MAX = NUMBER_LIST_MAX + 2 };

/* Frames and edges beside plain ones: keys of two frames, and a window with its sinks. */
static const char *const edged_methods[] = {"string:shift=512,local=64",
                                            "lm_infinite:window=512,sinks=16"};

/* What one rank reports of one prompt, each with its repetitions. */
enum part { ROWS, ATTEND, HEAD, BESIDE, WEIGHTS, KEYS, PARTS };

struct rank_samples {
    struct samples parts[PARTS];
};

struct calibrate_case {
    const char *method;
    int64_t tokens;
    char *text;
    Longhaul__V1__PlanSummary *plan; /* owned; the last repetition's */
    struct rank_samples *ranks;      /* [workers] */
    struct samples prefill, token;
};

struct measuring {
    struct calibrate_case cases[CASES_MAX];
    size_t count;
    int workers;
    struct rpc_client *client;
};

int64_t calibrate_group_context(const struct calibrate_plan *plan)
{
    return number_list_most(&plan->lengths) + ANSWER_TOKENS + 1;
}

/* ---- samples ---- */

static double part_of(const Longhaul__V1__RankReport *report, const char *name)
{
    for (size_t p = 0; p < report->n_parts; p++)
        if (strcmp(report->parts[p]->name, name) == 0)
            return report->parts[p]->seconds;
    return 0;
}

static enum status take_rank(struct rank_samples *samples, const Longhaul__V1__RankReport *report,
                             double prefill_seconds)
{
    const double rows = part_of(report, "rows"), attend = part_of(report, "attend");
    const double head = part_of(report, "head");
    const double weights = part_of(report, "step_qkv") + part_of(report, "step_output") +
                           part_of(report, "step_gate") + part_of(report, "step_down") +
                           part_of(report, "step_logits");
    const double beside = prefill_seconds - rows - attend - head - report->exchange_wait_seconds;
    TRY(samples_add(&samples->parts[ROWS], rows));
    TRY(samples_add(&samples->parts[ATTEND], attend));
    TRY(samples_add(&samples->parts[HEAD], head));
    TRY(samples_add(&samples->parts[BESIDE], beside));
    TRY(samples_add(&samples->parts[WEIGHTS], weights / ANSWER_TOKENS));
    return samples_add(&samples->parts[KEYS], part_of(report, "step_attend") / ANSWER_TOKENS);
}

static enum status take_reports(struct calibrate_case *one, const struct measured_request *request,
                                int workers)
{
    const Longhaul__V1__Finished *finished = request->finished;
    if (finished->n_ranks != (size_t)workers)
        return fail(STATUS_INTERNAL, "%zu of %d workers report what they did", finished->n_ranks,
                    workers);
    TRY(samples_add(&one->prefill, finished->seconds->prefill));
    TRY(samples_add(&one->token, finished->seconds->decode / ANSWER_TOKENS));
    for (int r = 0; r < workers; r++)
        TRY(take_rank(&one->ranks[r], finished->ranks[r], finished->seconds->prefill));
    return STATUS_OK;
}

static enum status measure_case(struct measuring *measuring, struct calibrate_case *one, bool count)
{
    struct measured_request request;
    const struct measured_request_args args = {
        .client = measuring->client,
        .text = one->text,
        .prompt_tokens = one->tokens,
        .max_tokens = ANSWER_TOKENS + 1,
        .method = one->method,
        .no_prefix_reuse = true,
        .draft = LONGHAUL__V1__DRAFT__DRAFT_NONE,
    };
    enum status status = measured_request_run(&request, &args);
    if (status == STATUS_OK && count)
        status = take_reports(one, &request, measuring->workers);
    if (status == STATUS_OK) {
        if (one->plan)
            longhaul__v1__plan_summary__free_unpacked(one->plan, NULL);
        one->plan = request.plan;
        request.plan = NULL;
    }
    measured_request_deinit(&request);
    return status;
}

/* The first round warms up, with the shortest prompt alone. */
static enum status measure_all(struct measuring *measuring, int64_t repetitions)
{
    for (int64_t round = 0; round <= repetitions; round++)
        for (size_t c = 0; c < (round > 0 ? measuring->count : 1); c++) {
            struct calibrate_case *one = &measuring->cases[c];
            console_progress("%d worker%s, round %lld of %lld: %lld tokens by %s",
                             measuring->workers, measuring->workers == 1 ? "" : "s",
                             (long long)round, (long long)repetitions, (long long)one->tokens,
                             one->method);
            TRY(measure_case(measuring, one, round > 0));
        }
    return STATUS_OK;
}

/* ---- the cases ---- */

static enum status add_case(struct measuring *measuring, const struct sized_prompt_words *words,
                            const char *method, int64_t tokens)
{
    struct calibrate_case *one = &measuring->cases[measuring->count++];
    const struct sized_prompt_args args = {.tokens = tokens, .seed = PROMPT_SEED};
    *one = (struct calibrate_case){.method = method, .tokens = tokens};
    one->ranks = calloc((size_t)measuring->workers, sizeof *one->ranks);
    if (!one->ranks)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the reports of %d workers",
                    measuring->workers);
    return sized_prompt_make(&one->text, words, &args);
}

static enum status make_cases(struct measuring *measuring, const struct calibrate_plan *plan)
{
    struct sized_prompt_words words = {.client = NULL};
    TRY(sized_prompt_learn(&words, measuring->client));
    for (size_t l = 0; l < plan->lengths.count; l++)
        TRY(add_case(measuring, &words, "rope", plan->lengths.values[l]));
    for (size_t m = 0; m < sizeof edged_methods / sizeof edged_methods[0]; m++)
        TRY(add_case(measuring, &words, edged_methods[m], number_list_most(&plan->lengths)));
    return STATUS_OK;
}

static void free_cases(struct measuring *measuring)
{
    for (size_t c = 0; c < measuring->count; c++) {
        struct calibrate_case *one = &measuring->cases[c];
        for (int r = 0; one->ranks && r < measuring->workers; r++)
            for (int p = 0; p < PARTS; p++)
                samples_deinit(&one->ranks[r].parts[p]);
        samples_deinit(&one->prefill);
        samples_deinit(&one->token);
        free(one->ranks);
        free(one->text);
        if (one->plan)
            longhaul__v1__plan_summary__free_unpacked(one->plan, NULL);
    }
}

/* ---- what the coordinator knows ---- */

static void note_slowest(struct cost_link *slowest, const Longhaul__V1__WorkerLink *link)
{
    if (slowest->bytes_per_second == 0 || link->bytes_per_second < slowest->bytes_per_second)
        slowest->bytes_per_second = link->bytes_per_second;
    slowest->latency_s = fmax(slowest->latency_s, link->latency_seconds);
    slowest->message_s = fmax(slowest->message_s, link->message_seconds);
}

static enum status read_links(struct cost_table *table, struct rpc_client *client)
{
    const struct rpc_stream_args call = {
        .path = "/longhaul.v1.Inference/GetCluster",
        .response = &longhaul__v1__get_cluster_response__descriptor,
        .timeout_ms = ASK_MS,
    };
    const Longhaul__V1__GetClusterRequest request = LONGHAUL__V1__GET_CLUSTER_REQUEST__INIT;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    TRY(rpc_client_call(client, &stream, &reply, &call, &request.base));
    const Longhaul__V1__GetClusterResponse *told = (const Longhaul__V1__GetClusterResponse *)reply;
    table->within = table->between = (struct cost_link){.bytes_per_second = 0};
    for (size_t l = 0; told->n_groups > 0 && l < told->groups[0]->n_links; l++) {
        const Longhaul__V1__WorkerLink *link = told->groups[0]->links[l];
        note_slowest(link->from_rank == link->to_rank ? &table->within : &table->between, link);
    }
    rpc_stream_close(stream);
    return STATUS_OK;
}

/* Of a worker, as re-laid, by the coordinator's own plan; and what it took to load them. */
static enum status read_load(int64_t *weights_bytes, double *seconds, struct rpc_client *client,
                             int64_t tokens)
{
    const struct rpc_stream_args call = {
        .path = "/longhaul.v1.Inference/Plan",
        .response = &longhaul__v1__plan_response__descriptor,
        .timeout_ms = ASK_MS,
    };
    Longhaul__V1__PlanRequest request = LONGHAUL__V1__PLAN_REQUEST__INIT;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    request.length_case = LONGHAUL__V1__PLAN_REQUEST__LENGTH_PROMPT_TOKENS;
    request.prompt_tokens = tokens;
    request.max_tokens = 1;
    TRY(rpc_client_call(client, &stream, &reply, &call, &request.base));
    const Longhaul__V1__PlanResponse *plan = (const Longhaul__V1__PlanResponse *)reply;
    *weights_bytes = 0;
    *seconds = plan->summary ? plan->summary->load_seconds : 0;
    for (size_t m = 0; plan->n_ranks > 0 && m < plan->ranks[0]->n_memory; m++)
        if (strcmp(plan->ranks[0]->memory[m]->name, "weights") == 0)
            *weights_bytes = plan->ranks[0]->memory[m]->bytes;
    rpc_stream_close(stream);
    if (*weights_bytes > 0 && *seconds > 0)
        return STATUS_OK;
    return fail(STATUS_INTERNAL, "the coordinator does not tell how its workers loaded the model");
}

/* ---- fitting ---- */

static double median_of(struct samples *samples)
{
    return samples_summarise(samples).median;
}

/* What the workers did, by case and rank, beside how much it was. */
struct fitting {
    struct calibrate_prefill *prefills; /* [cases * workers] */
    struct calibrate_decode *decodes;   /* [cases] */
    size_t decode_count;
    struct model_shape shape;
    bool one_host;
};

static struct calibrate_work work_of(const struct fitting *fitting,
                                     const struct calibrate_case *one)
{
    return (struct calibrate_work){one->plan, &fitting->shape, fitting->one_host};
}

static enum status add_prefill(struct fitting *fitting, struct calibrate_prefill *prefills,
                               struct calibrate_case *one, int workers)
{
    const struct calibrate_work work = work_of(fitting, one);
    double beside = INFINITY; /* of the rank that waited least for slower ones */
    TRY(calibrate_work_prefill(prefills, &work));
    for (int r = 0; r < workers; r++)
        beside = fmin(beside, median_of(&one->ranks[r].parts[BESIDE]));
    for (int r = 0; r < workers; r++) {
        struct samples *parts = one->ranks[r].parts;
        prefills[r].rows_s = median_of(&parts[ROWS]);
        prefills[r].attend_s = median_of(&parts[ATTEND]);
        prefills[r].logits_s = median_of(&parts[HEAD]);
        prefills[r].beside_s = beside;
    }
    return STATUS_OK;
}

static enum status add_decode(struct fitting *fitting, struct calibrate_case *one,
                              const struct cost_link *link)
{
    const struct calibrate_work work = work_of(fitting, one);
    struct calibrate_decode *decode = &fitting->decodes[fitting->decode_count++];
    double messages_s;
    TRY(calibrate_work_decode(decode, &messages_s, &work, link));
    decode->weights_s = median_of(&one->ranks[0].parts[WEIGHTS]);
    decode->keys_s = median_of(&one->ranks[0].parts[KEYS]);
    decode->token_s = median_of(&one->token) - messages_s;
    return STATUS_OK;
}

static enum status fit(struct calibrate_result *result, struct fitting *fitting,
                       struct measuring *measuring)
{
    const struct cost_table standard = cost_table_default();
    const struct cost_link *link = &result->table.within;
    if (result->table.between.bytes_per_second > 0)
        link = &result->table.between;
    else if (link->bytes_per_second == 0)
        link = &standard.within;
    for (size_t c = 0; c < measuring->count; c++) {
        struct calibrate_case *one = &measuring->cases[c];
        TRY(add_prefill(fitting, fitting->prefills + c * (size_t)measuring->workers, one,
                        measuring->workers));
        if (strcmp(one->method, "rope") == 0)
            TRY(add_decode(fitting, one, link));
    }
    return calibrate_fit(&result->table, fitting->prefills,
                         measuring->count * (size_t)measuring->workers, fitting->decodes,
                         fitting->decode_count);
}

/* The measured prompts, predicted by what was fitted to them. */
static enum status judge(struct calibrate_result *result, const struct fitting *fitting,
                         struct measuring *measuring)
{
    struct samples errors = {.values = NULL};
    struct cost_table table = result->table;
    const struct cost_table standard = cost_table_default();
    enum status status = STATUS_OK;
    if (table.within.bytes_per_second == 0)
        table.within = standard.within;
    if (table.between.bytes_per_second > 0)
        table.within = table.between; /* the slowest link is waited for */
    result->worst_error = 0;
    for (size_t c = 0; c < measuring->count && status == STATUS_OK; c++) {
        struct calibrate_case *one = &measuring->cases[c];
        const struct calibrate_work work = work_of(fitting, one);
        double predicted = 0;
        status = calibrate_work_seconds(&predicted, &work, &table);
        const double error = predicted / median_of(&one->prefill) - 1;
        if (fabs(error) > fabs(result->worst_error))
            result->worst_error = error;
        if (status == STATUS_OK)
            status = samples_add(&errors, error);
    }
    result->median_error = median_of(&errors);
    samples_deinit(&errors);
    return status;
}

static enum status find_rates(struct calibrate_result *result, struct measuring *measuring,
                              const struct calibrate_plan *plan, bool one_host)
{
    struct fitting fitting = {.shape = plan->shape, .one_host = one_host};
    double load_seconds;
    TRY(read_links(&result->table, measuring->client));
    TRY(read_load(&fitting.shape.weights_bytes, &load_seconds, measuring->client,
                  plan->lengths.values[0]));
    result->table.load_bytes = (double)fitting.shape.weights_bytes / load_seconds;
    fitting.prefills =
        calloc(measuring->count * (size_t)measuring->workers, sizeof *fitting.prefills);
    fitting.decodes = calloc(measuring->count, sizeof *fitting.decodes);
    enum status status = STATUS_OK;
    if (!fitting.prefills || !fitting.decodes)
        status =
            fail(STATUS_RESOURCE_EXHAUSTED, "no memory to compare %zu prompts", measuring->count);
    if (status == STATUS_OK)
        status = fit(result, &fitting, measuring);
    if (status == STATUS_OK)
        status = judge(result, &fitting, measuring);
    free(fitting.prefills);
    free(fitting.decodes);
    return status;
}

enum status calibrate_group(struct calibrate_result *result, struct rpc_client *client,
                            const struct calibrate_plan *plan)
{
    struct measured_cluster cluster;
    struct measuring measuring = {.client = client};
    struct calibrate_result made = {.workers = 0};
    TRY(measured_cluster_read(&cluster, client));
    measuring.workers = made.workers = cluster.workers;
    made.threads = cluster.threads / cluster.workers;
    enum status status = make_cases(&measuring, plan);
    if (status == STATUS_OK)
        status = measure_all(&measuring, plan->repetitions);
    if (status == STATUS_OK) {
        snprintf(made.kernels, sizeof made.kernels, "%s", measuring.cases[0].plan->kernels);
        status = find_rates(&made, &measuring, plan, cluster.all_here);
    }
    free_cases(&measuring);
    if (status == STATUS_OK)
        *result = made;
    return status;
}
