/* Owns the guess at what a worker of this host would say. Promises that everything else is the
 * coordinator's own planner. */
#include "coordinator/cli/local_plan.h"

#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "coordinator/cli/event_stream.h"
#include "coordinator/cli/subprocess.h"
#include "coordinator/measured_costs.h"
#include "coordinator/plan_message.h"
#include "coordinator/planner.h"
#include "coordinator/workers.h"
#include "proto/model/model.h"
#include "proto/plan/mesh.h"
#include "proto/plan/tensor_fit.h"

enum { LOGIT_ROWS = 96, SCRATCH_BYTES = 2 << 20, OUTPUT_BYTES = 16384, PATH_BYTES = 4096 };

static const double DESCRIBE_SECONDS = 20;

static int usable_cores(void)
{
    cpu_set_t set;
    int cores = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return cores > 0 ? cores : 1;
}

/* What a worker's kernels make of weights: `packed` has the bytes of `side` squared ones of each
 * type. Types that it does not have are counted as the file has them. */
struct relaying {
    const struct model *model;
    const json_t *packed;
    double side;
};

static double relaid_tensor(const struct relaying *relaying, const struct model_tensor *tensor,
                            int64_t rows, int64_t columns)
{
    const json_t *square = json_object_get(relaying->packed, dtype_name(tensor->dtype));
    const double share = (double)rows * (double)columns;
    if (tensor->rows == 1) /* a vector becomes float32 */
        return share * sizeof(float);
    if (square && relaying->side > 0)
        return json_number_value(square) / (relaying->side * relaying->side) * share;
    return (double)dtype_row_bytes(tensor->dtype, tensor->columns) / (double)tensor->columns *
           share;
}

static int64_t length(struct span span)
{
    return span.end - span.first;
}

/* What a slice's weights take once they are re-laid. */
static int64_t relaid_bytes(void *context, const struct tensor_slice *slice)
{
    const struct relaying *relaying = context;
    const struct model_spec *spec = model_spec(relaying->model);
    double bytes = 0;
    for (int layer = 0; layer < spec->layers; layer++)
        for (int r = 0; r < MODEL_ROLE_COUNT; r++) {
            const enum model_role role = (enum model_role)r;
            const bool of_model = role < MODEL_ATTN_NORM;
            if ((of_model && (layer > 0 || (role == MODEL_OUTPUT && spec->tied_output))) ||
                !model_role_is_there(spec, role))
                continue;
            const struct model_tensor tensor = model_tensor(relaying->model, role, layer);
            const struct model_role_part part = model_role_part(spec, slice, role);
            bytes += relaid_tensor(relaying, &tensor, length(part.rows), length(part.columns));
        }
    return (int64_t)bytes;
}

/* ---- the mesh ---- */

/* Whether all of this host's memory is alike near to every core: then one copy of weights does. */
static bool has_one_memory_node(void)
{
    return access("/sys/devices/system/node/node1", F_OK) != 0;
}

/* Each place of a tensor axis has its own weights, once for all workers. */
static int64_t shared_bytes(const struct workers_facts *facts)
{
    int64_t bytes = 0;
    for (int place = 0; place < facts->tensor; place++)
        bytes += (facts->weight_sharers - 1) * facts->slices[place].weights_bytes;
    return bytes;
}

/* Of one worker, where all are on this host. */
static int64_t share_of_memory(const struct workers_facts *facts, const struct config *config)
{
    const int64_t share = facts->memory_bytes / facts->size;
    const int64_t most = config_integer(config, "engine.memory_mib") << 20;
    return most > 0 && (share == 0 || most < share) ? most : share;
}

/* As the options say; of a mesh that they leave open tensor stays 0. */
static enum status lay_out(struct mesh *mesh, struct workers_facts *facts,
                           const struct config *config)
{
    TRY(mesh_parse(mesh, config_text(config, "engine.mesh")));
    if (config_origin(config, "engine.workers", NULL) == CONFIG_DEFAULT && mesh_asked(mesh) > 0)
        facts->size = mesh_asked(mesh);
    return mesh_lay_out(mesh, facts->size);
}

/* As rank_mesh.c lays ranks out that the options leave open: by memory. */
static enum status find_mesh(struct workers_facts *facts, struct relaying *relaying,
                             const struct mesh *mesh, const struct config *config,
                             int64_t context_tokens)
{
    const struct model_shape shape = spec_shape(model_spec(relaying->model), 0);
    facts->tensor = mesh->tensor;
    if (mesh->tensor > 1)
        TRY(tensor_fit_check(&shape, mesh->tensor, facts->size));
    if (mesh->tensor == 0 && model_spec(relaying->model)->qk_norm_joined) {
        facts->tensor = 1;
    } else if (mesh->tensor == 0) {
        const struct tensor_fit_request request = {
            .shape = &shape,
            .ranks = facts->size,
            .sequences = 1,
            .context_tokens = context_tokens,
            .kernels = facts->kernels,
            .cache = facts->cache,
            .needs = {.threads = facts->threads,
                      .scratch_bytes = SCRATCH_BYTES,
                      .logit_rows = LOGIT_ROWS},
            .limit_bytes = share_of_memory(facts, config),
            .sharers = has_one_memory_node() ? facts->size : 1,
            .weights_bytes = relaid_bytes,
            .context = relaying,
        };
        struct tensor_fit fit;
        TRY(tensor_fit_find(&fit, &request));
        facts->tensor = fit.tensor;
        facts->whole_bytes = fit.whole_bytes;
        facts->memory_bytes = request.limit_bytes;
    }
    facts->weight_sharers = has_one_memory_node() ? facts->size / facts->tensor : 1;
    for (int place = 0; place < facts->tensor; place++) {
        struct tensor_slice slice;
        TRY(tensor_slice_make(&slice, &shape, facts->tensor, place));
        facts->slices[place].weights_bytes = relaid_bytes(relaying, &slice);
        facts->slices[place].scratch_bytes = SCRATCH_BYTES;
        if (facts->slices[place].weights_bytes > facts->weights_bytes)
            facts->weights_bytes = facts->slices[place].weights_bytes;
    }
    return STATUS_OK;
}

/* What a worker of this host says of itself, which the caller lets go of; stays open where none is
 * installed. */
static void ask_worker(struct workers_facts *facts, json_t **reply, const char *kernels)
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
    *reply = said;
}

static enum status guess_facts(struct workers_facts *facts, struct local_plan_memory *memory,
                               const struct model *model, const struct config *config,
                               int64_t context_tokens)
{
    int threads = (int)config_integer(config, "engine.threads");
    json_t *said = NULL;
    struct mesh mesh = {0};
    *facts = (struct workers_facts){
        .size = (int)config_integer(config, "engine.workers"),
        .shared_memory_bus = true,
        .scratch_bytes = SCRATCH_BYTES,
        .logit_rows = LOGIT_ROWS,
    };
    ask_worker(facts, &said, config_text(config, "engine.kernels"));
    memory->free_bytes = facts->memory_bytes;
    bool is_reference = strcmp(facts->kernels, "reference") == 0;
    facts->cache = is_reference ? CHOICE_CACHE_F32 : CHOICE_CACHE_BF16;
    if (strcmp(config_text(config, "engine.cache"), "int8") == 0)
        facts->cache = CHOICE_CACHE_INT8;
    struct relaying relaying = {
        .model = model,
        .packed = json_object_get(json_object_get(said, "packed_bytes"), facts->kernels),
        .side = json_number_value(json_object_get(said, "packed_side")),
    };
    enum status status = lay_out(&mesh, facts, config);
    const int share = usable_cores() / facts->size;
    facts->threads = threads ? threads : share > 1 ? share : 1;
    if (status == STATUS_OK)
        status = find_mesh(facts, &relaying, &mesh, config, context_tokens);
    json_decref(said);
    memory->shared_bytes = shared_bytes(facts);
    return status;
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

enum status local_plan_make(Longhaul__V1__PlanResponse **plan, struct local_plan_memory *memory,
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
    TRY(guess_facts(&facts, memory, args->model, config, defaults.context_tokens));
    return forecast(plan, &planner, &facts, args);
}
