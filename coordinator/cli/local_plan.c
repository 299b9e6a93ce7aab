/* Owns the guess at what a worker of this host would say. Promises that everything else is the
 * coordinator's own planner. */
#include "coordinator/cli/local_plan.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "coordinator/cli/event_stream.h"
#include "coordinator/cli/subprocess.h"
#include "coordinator/measured_costs.h"
#include "coordinator/plan_message.h"
#include "coordinator/planner.h"
#include "coordinator/workers.h"
#include "proto/model/checkpoint.h"

enum { LOGIT_ROWS = 96, SCRATCH_BYTES = 2 << 20, OUTPUT_BYTES = 16384, PATH_BYTES = 4096 };

static const double DESCRIBE_SECONDS = 20;

static int usable_cores(void)
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return cores > 0 ? cores : 1;
}

/* What the weights take once they are re-laid: `packed` has the bytes of `side` squared weights of
 * each type. Types that it does not have are counted as the file has them. */
static int64_t relaid_bytes(const struct model *model, const json_t *packed, double side)
{
    const struct checkpoint *checkpoint = model_checkpoint(model);
    double bytes = 0;
    for (int i = 0; i < checkpoint_tensor_count(checkpoint); i++) {
        const struct checkpoint_tensor *tensor = checkpoint_tensor(checkpoint, i);
        const json_t *square = json_object_get(packed, tensor->type);
        bool is_matrix = tensor->dims_count == 2;
        bytes += square && side > 0 && is_matrix
                     ? json_number_value(square) / (side * side) * (double)tensor->dims[0] *
                           (double)tensor->dims[1]
                     : (double)tensor->bytes;
    }
    return (int64_t)bytes;
}

/* What a worker of this host says of itself; stays open where none is installed. */
static void ask_worker(struct workers_facts *facts, const struct model *model, const char *kernels)
{
    char path[PATH_BYTES], output[OUTPUT_BYTES];
    const char *const argv[] = {path, "--describe", NULL};
    bool is_auto = strcmp(kernels, "auto") == 0;
    snprintf(facts->kernels, sizeof facts->kernels, "%s", kernels);
    if (subprocess_beside(path, sizeof path, "longhaul-worker") != STATUS_OK ||
        subprocess_capture(output, sizeof output, argv, DESCRIBE_SECONDS) != STATUS_OK)
        return;
    json_t *said = json_loads(output, 0, NULL);
    const char *best = json_string_value(json_object_get(said, "best_kernels"));
    if (is_auto && best)
        snprintf(facts->kernels, sizeof facts->kernels, "%s", best);
    facts->memory_bytes = (int64_t)json_integer_value(json_object_get(said, "memory_available_mib"))
                          << 20;
    facts->weights_bytes =
        relaid_bytes(model, json_object_get(json_object_get(said, "packed_bytes"), facts->kernels),
                     json_number_value(json_object_get(said, "packed_side")));
    json_decref(said);
}

static void guess_facts(struct workers_facts *facts, const struct model *model,
                        const struct config *config)
{
    int threads = (int)config_integer(config, "engine.threads");
    *facts = (struct workers_facts){
        .size = (int)config_integer(config, "engine.workers"),
        .shared_memory_bus = true,
        .weights_bytes = (int64_t)checkpoint_tensor_bytes(model_checkpoint(model)),
        .scratch_bytes = SCRATCH_BYTES,
        .logit_rows = LOGIT_ROWS,
    };
    int share = usable_cores() / facts->size;
    facts->threads = threads ? threads : share > 1 ? share : 1;
    ask_worker(facts, model, config_text(config, "engine.kernels"));
    bool is_reference = strcmp(facts->kernels, "reference") == 0;
    facts->cache = is_reference ? CHOICE_CACHE_F32 : CHOICE_CACHE_BF16;
    if (strcmp(config_text(config, "engine.cache"), "int8") == 0)
        facts->cache = CHOICE_CACHE_INT8;
}

static enum status forecast(Longhaul__V1__PlanResponse **plan, const struct planner *planner,
                            const struct workers_facts *facts, const struct local_plan_args *args)
{
    const struct planner_request request = {
        .options = NULL,
        .prompt_tokens = args->prompt_tokens,
        .max_tokens = args->max_tokens >= 0
                          ? args->max_tokens
                          : planner_answer_tokens(planner, facts, args->prompt_tokens),
    };
    struct status_details details = {0};
    struct planner_weighed weighed;
    struct planner_forecast made;
    struct plan_response response;
    TRY(planner_weigh(planner, &weighed, &details, facts, &request));
    TRY(planner_forecast(planner, &made, &weighed.choice, facts, args->prompt_tokens, NULL));
    enum status status =
        plan_response_init(&response, planner, &weighed, &made, args->prompt_tokens);
    planner_forecast_deinit(&made);
    TRY(status);
    ProtobufCMessage *kept = NULL;
    status = event_stream_keep(&kept, &response.message.base);
    plan_response_deinit(&response);
    if (status == STATUS_OK)
        *plan = (Longhaul__V1__PlanResponse *)kept;
    return status;
}

enum status local_plan_make(Longhaul__V1__PlanResponse **plan, int64_t *host_bytes,
                            const struct local_plan_args *args)
{
    const struct config *config = args->config;
    int64_t context = config_integer(config, "engine.context");
    int64_t answer = args->max_tokens >= 0 ? args->max_tokens : PLANNER_ANSWER_TOKENS;
    struct planner_defaults defaults = {
        .method = config_text(config, "engine.method"),
        .context_tokens = context ? context : args->prompt_tokens + answer,
        .stage_tokens = config_integer(config, "engine.stage_tokens"),
        .decode = config_text(config, "engine.decode"),
        .weights = config_text(config, "engine.weights"),
    };
    struct measured_costs costs;
    struct planner planner;
    struct workers_facts facts;
    TRY(measured_costs_find(&costs, config_text(config, "plan.costs")));
    if (costs.known)
        defaults.costs = &costs.file;
    TRY(planner_init(&planner, model_spec(args->model), &defaults));
    guess_facts(&facts, args->model, config);
    TRY(forecast(plan, &planner, &facts, args));
    *host_bytes = facts.memory_bytes;
    return STATUS_OK;
}
