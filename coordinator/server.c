/* Owns the parts of a coordinator and its method table. Promises that health says SERVING only
 * while a worker group is complete, loaded and at work. */
#include "coordinator/server.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/access/access.h"
#include "coordinator/batch/batch_service.h"
#include "coordinator/cluster.h"
#include "coordinator/cluster_metrics.h"
#include "coordinator/http/http_server.h"
#include "coordinator/listen_address.h"
#include "coordinator/plan_message.h"
#include "coordinator/rpc_errand_client.h"
#include "coordinator/errand.h"
#include "coordinator/errand_course.h"
#include "coordinator/session_calls.h"
#include "coordinator/spans.h"
#include "coordinator/text/detokenizer.h"
#include "proto/clock.h"
#include "proto/log.h"
#include "proto/model/digest.h"
#include "proto/model/model.h"
#include "proto/plan/tensor_fit.h"
#include "proto/process_metrics.h"
#include "proto/rpc/descriptors.h"
#include "proto/rpc/health.h"
#include "proto/rpc/reflection.h"

static const char service[] = "longhaul.v1.Inference";

enum {
    CONTROL_METHODS = 3,
    INFERENCE_METHODS = 5 + CONTROL_METHODS,
    METHODS = INFERENCE_METHODS + BATCH_SERVICE_METHODS + SESSION_CALLS_METHODS + HEALTH_METHODS +
              REFLECTION_METHODS,
    PLAN_WORKERS_MAX = 1024, /* as of engine.workers */
    PLANS_MAX = 16,
    PROBES_MAX = 64,
    REFLECTIONS_MAX = 64,
    JOINS_MAX = 4096,
    RETRY_MS = 2000,         /* after which a client may ask again */
    FINISH_MS = 3000,        /* for running requests to say that they were cut short */
    WORKERS_LEAVE_MS = 5000, /* for ranks to hear that they should end */
    SENTENCE_BYTES = 256,
};

struct server {
    struct errand_tools tools;
    struct access *access;
    struct planner planner;
    struct cluster_metrics metrics;
    bool counted; /* metrics are told of it */
    struct model *model;
    struct tokenizer *tokenizer;
    struct chat *chat;
    char chat_missing[SENTENCE_BYTES];
    char digest[DIGEST_HEX_BYTES];
    struct health *health;
    struct reflection *reflection;
    struct batch_service *batches;
    /* So many calls of these may be open beside the clients' own: a flood of one kind leaves room
     * for the others. */
    struct rpc_share watches, plans, probes, reflections, joins;
    struct spill_folder *spill; /* NULL: none */
    struct rpc_server *rpc;
    atomic_bool drain_asked;
    struct http_server *http;
    int port, worker_port, http_port;
    struct rpc_method methods[METHODS];
    struct rpc_method worker_method;
};

/* ---- who may ask ---- */

_Static_assert((int)RPC_TENANT_BYTES == (int)ACCESS_TENANT_BYTES, "a caller's name is whole");

static enum status check_caller(void *access, struct rpc_caller *caller,
                                struct status_details *details, const struct rpc_method *method,
                                const char *authorization, size_t bytes)
{
    struct access_caller known;
    TRY(access_check(access, &known, details, authorization, bytes, method->scopes));
    memcpy(caller->tenant, known.tenant.name, sizeof caller->tenant);
    caller->scopes = known.scopes;
    return STATUS_OK;
}

/* Whether the caller sees every tenant's requests. */
static bool sees_all(const struct rpc_call *call)
{
    return rpc_call_caller(call)->scopes & ACCESS_ADMIN;
}

/* ---- methods ---- */

static enum status generate(struct rpc_call *call, const ProtobufCMessage *request, void *context)
{
    struct server *server = context;
    struct errand_client client;
    rpc_errand_client_init(&client, call);
    return errand_generate(&client, &server->tools, (const void *)request);
}

static enum status score(struct rpc_call *call, const ProtobufCMessage *request, void *context)
{
    struct server *server = context;
    struct errand_client client;
    rpc_errand_client_init(&client, call);
    return errand_score(&client, &server->tools, (const void *)request);
}

static enum status tokenize(struct rpc_call *call, const ProtobufCMessage *message, void *context)
{
    struct server *server = context;
    const Longhaul__V1__TokenizeRequest *request = (const void *)message;
    struct id_list ids = {0};
    TRY(tokenizer_encode(server->tokenizer, &ids, request->text, strlen(request->text),
                         TOKENIZER_CONTROL | TOKENIZER_BOS));
    rpc_call_note(call, log_integer("prompt_tokens", (int64_t)ids.count));
    Longhaul__V1__TokenizeResponse response = LONGHAUL__V1__TOKENIZE_RESPONSE__INIT;
    response.n_token_ids = ids.count;
    response.token_ids = ids.ids;
    enum status status = rpc_call_write(call, &response.base);
    id_list_deinit(&ids);
    return status;
}

static enum status detokenize(struct rpc_call *call, const ProtobufCMessage *message, void *context)
{
    struct server *server = context;
    const Longhaul__V1__DetokenizeRequest *request = (const void *)message;
    Longhaul__V1__DetokenizeResponse response = LONGHAUL__V1__DETOKENIZE_RESPONSE__INIT;
    enum status status = detokenizer_text(&response.text, server->tokenizer, request->token_ids,
                                          request->n_token_ids, RPC_MESSAGE_BYTES_MAX);
    if (status != STATUS_OK) {
        if (status == STATUS_INVALID_ARGUMENT)
            rpc_call_details(call)->field = "token_ids";
        return status;
    }
    status = rpc_call_write(call, &response.base);
    free(response.text);
    return status;
}

static enum status check_plan(struct status_details *details,
                              const Longhaul__V1__PlanRequest *request)
{
    const bool is_counted =
        request->length_case == LONGHAUL__V1__PLAN_REQUEST__LENGTH_PROMPT_TOKENS;
    const struct {
        const char *field;
        int64_t value, least, most;
    } rows[] = {
        {"prompt_tokens", is_counted ? request->prompt_tokens : 1, 1, INT64_MAX},
        {"max_tokens", request->max_tokens, 0, INT64_MAX},
        {"workers", request->workers, 0, PLAN_WORKERS_MAX},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        details->field = rows[i].field;
        if (rows[i].value < rows[i].least)
            return fail(STATUS_INVALID_ARGUMENT, "%s is %" PRId64 "; must be at least %" PRId64,
                        rows[i].field, rows[i].value, rows[i].least);
        if (rows[i].value > rows[i].most)
            return fail(STATUS_INVALID_ARGUMENT, "%s is %" PRId64 "; must be at most %" PRId64,
                        rows[i].field, rows[i].value, rows[i].most);
    }
    details->field = NULL;
    return STATUS_OK;
}

static enum status count_prompt(struct server *server, struct status_details *details,
                                const Longhaul__V1__PlanRequest *request, int64_t *tokens)
{
    if (request->length_case == LONGHAUL__V1__PLAN_REQUEST__LENGTH_PROMPT_TOKENS) {
        *tokens = request->prompt_tokens;
        return STATUS_OK;
    }
    struct id_list ids = {0};
    enum status status = prompt_encode(&server->tools.forms, &ids, request->prompt);
    if (status != STATUS_OK)
        details->field = "prompt";
    *tokens = (int64_t)ids.count;
    id_list_deinit(&ids);
    return status;
}

/* A plan ends with its client and its deadline. */
static enum status check_wanted(void *context)
{
    struct rpc_call *call = context;
    if (clock_now_ns() >= rpc_call_deadline_ns(call)) /* gRPC cancels the call then, too */
        return fail(STATUS_DEADLINE_EXCEEDED, "the deadline passed while the plan was made");
    return rpc_call_cancelled(call)
               ? fail(STATUS_CANCELLED, "the client left while its plan was made")
               : STATUS_OK;
}

static enum status plan(struct rpc_call *call, const ProtobufCMessage *message, void *context)
{
    struct server *server = context;
    const Longhaul__V1__PlanRequest *request = (const void *)message;
    int64_t tokens = 0;
    TRY(check_plan(rpc_call_details(call), request));
    TRY(count_prompt(server, rpc_call_details(call), request, &tokens));
    rpc_call_note(call, log_integer("prompt_tokens", tokens));
    struct workers_facts facts;
    enum status ready = workers_facts(server->tools.workers, &facts);
    if (ready != STATUS_OK) {
        rpc_call_details(call)->reason = "NO_WORKERS";
        rpc_call_details(call)->retry_ms = RETRY_MS;
        return ready;
    }
    TRY(planner_set_workers(&facts, rpc_call_details(call), request->workers));
    const struct planner_request wanted = {request->options, tokens, request->max_tokens, false};
    struct planner_weighed weighed;
    TRY(planner_weigh(&server->planner, &weighed, rpc_call_details(call), &facts, &wanted));
    struct planner_forecast forecast;
    const struct planner_watch watch = {check_wanted, call};
    TRY(planner_forecast(&server->planner, &forecast, &weighed.choice, &facts, tokens, &watch));
    struct plan_response response;
    enum status status =
        plan_response_init(&response, &server->planner, &weighed, &forecast, tokens);
    planner_forecast_deinit(&forecast);
    TRY(status);
    status = rpc_call_write(call, &response.message.base);
    plan_response_deinit(&response);
    return status;
}

static enum status get_cluster(struct rpc_call *call, const ProtobufCMessage *request,
                               void *context)
{
    (void)request;
    struct server *server = context;
    const struct model_spec *spec = model_spec(server->model);
    char name[SENTENCE_BYTES];
    snprintf(name, sizeof name, "%.*s", (int)spec->name.bytes, spec->name.text);
    struct requests_view *requests = NULL;
    size_t requests_count = 0;
    TRY(requests_list(server->tools.active, &requests, &requests_count,
                      sees_all(call) ? NULL : rpc_call_caller(call)->tenant));
    int64_t own_waiting = 0;
    for (size_t i = 0; i < requests_count; i++)
        own_waiting += !requests[i].group_id[0];
    struct sessions_totals sessions;
    sessions_total(server->tools.sessions, &sessions,
                   sees_all(call) ? NULL : rpc_call_caller(call)->tenant);
    const struct cluster_facts facts = {
        .sessions = &sessions,
        .model = name,
        .context_tokens = server->planner.defaults.context_tokens,
        .draining = atomic_load(&server->tools.draining),
        .queued_requests = sees_all(call) ? queue_waiting(server->tools.queue) : own_waiting,
        .requests = requests,
        .requests_count = requests_count,
        .all_requests = sees_all(call),
    };
    enum status status = cluster_write(call, &facts, server->tools.workers);
    free(requests);
    return status;
}

static enum status cancel(struct rpc_call *call, const ProtobufCMessage *message, void *context)
{
    struct server *server = context;
    const Longhaul__V1__CancelRequest *request = (const void *)message;
    log_request(request->request_id);
    TRY(requests_cancel(server->tools.active, rpc_call_caller(call)->tenant, request->request_id,
                        sees_all(call)));
    queue_wake(server->tools.queue);
    const Longhaul__V1__CancelResponse response = LONGHAUL__V1__CANCEL_RESPONSE__INIT;
    return rpc_call_write(call, &response.base);
}

static enum status drain(struct rpc_call *call, const ProtobufCMessage *message, void *context)
{
    (void)message;
    struct server *server = context;
    Longhaul__V1__DrainResponse response = LONGHAUL__V1__DRAIN_RESPONSE__INIT;
    response.running_requests = queue_running(server->tools.queue);
    TRY(rpc_call_write(call, &response.base));
    atomic_store(&server->drain_asked, true);
    return STATUS_OK;
}

static void fill_shares(struct server *server, const struct server_settings *settings)
{
    server->watches = (struct rpc_share){"Watch calls", "--max-watches", settings->watches_max, 0};
    server->plans = (struct rpc_share){"Plan calls", NULL, PLANS_MAX, 0};
    server->probes = (struct rpc_share){"probes", NULL, PROBES_MAX, 0};
    server->reflections = (struct rpc_share){"reflection calls", NULL, REFLECTIONS_MAX, 0};
    server->joins = (struct rpc_share){"workers' streams", NULL, JOINS_MAX, 0};
}

/* What is asked of the coordinator itself. */
static void fill_controls(struct server *server, struct rpc_method *methods)
{
    const struct rpc_method row = {
        .service = service,
        .name = "GetCluster",
        .request = &longhaul__v1__get_cluster_request__descriptor,
        .request_bytes_max = RPC_SMALL_MESSAGE_BYTES_MAX,
        .handle = get_cluster,
        .context = server,
        .while_draining = true,
        .routine = true,
        .share = &server->probes,
        .essential = true,
    };
    for (int i = 0; i < CONTROL_METHODS; i++)
        methods[i] = row;
    methods[1].name = "Cancel";
    methods[1].request = &longhaul__v1__cancel_request__descriptor;
    methods[1].handle = cancel;
    methods[1].scopes = ACCESS_INFERENCE;
    methods[1].routine = false;
    methods[2].name = "Drain";
    methods[2].request = &longhaul__v1__drain_request__descriptor;
    methods[2].handle = drain;
    methods[2].scopes = ACCESS_ADMIN;
    methods[2].routine = false;
}

/* Behind those of Inference. */
static void fill_other_methods(struct server *server)
{
    struct rpc_method *batches = server->methods + INFERENCE_METHODS;
    struct rpc_method *sessions = batches + BATCH_SERVICE_METHODS;
    struct rpc_method *health = sessions + SESSION_CALLS_METHODS;
    struct rpc_method *reflection = health + HEALTH_METHODS;
    batch_service_methods(server->batches, batches);
    session_calls_methods(&server->tools, sessions);
    health_methods(server->health, health);
    health[HEALTH_CHECK].share = &server->probes;
    health[HEALTH_CHECK].essential = true;
    health[HEALTH_WATCH].share = &server->watches;
    reflection_methods(server->reflection, reflection);
    for (int i = 0; i < REFLECTION_METHODS; i++)
        reflection[i].share = &server->reflections;
    workers_method(server->tools.workers, &server->worker_method);
    server->worker_method.share = &server->joins;
    server->worker_method.essential = true;
}

static void fill_methods(struct server *server)
{
    const struct {
        const char *name;
        const ProtobufCMessageDescriptor *request;
        rpc_handler *handle;
        struct rpc_share *share;
    } rows[] = {
        {"Generate", &longhaul__v1__generate_request__descriptor, generate, NULL},
        {"Score", &longhaul__v1__score_request__descriptor, score, NULL},
        {"Plan", &longhaul__v1__plan_request__descriptor, plan, &server->plans},
        {"Tokenize", &longhaul__v1__tokenize_request__descriptor, tokenize, NULL},
        {"Detokenize", &longhaul__v1__detokenize_request__descriptor, detokenize, NULL},
    };
    /* A request that is refused has used none. */
    static const struct log_field no_tokens[] = {
        {.key = "prompt_tokens", .type = LOG_INTEGER},
        {.key = "completion_tokens", .type = LOG_INTEGER},
    };
    enum { ROWS = sizeof rows / sizeof rows[0] };
    _Static_assert(ROWS == INFERENCE_METHODS - CONTROL_METHODS, "and those of fill_controls");
    for (int i = 0; i < ROWS; i++)
        server->methods[i] = (struct rpc_method){
            .service = service,
            .name = rows[i].name,
            .request = rows[i].request,
            .request_bytes_max = RPC_MESSAGE_BYTES_MAX,
            .handle = rows[i].handle,
            .context = server,
            .scopes = ACCESS_INFERENCE,
            .notes = no_tokens,
            .note_count = sizeof no_tokens / sizeof no_tokens[0],
            .share = rows[i].share,
        };
    fill_controls(server, server->methods + ROWS);
    fill_other_methods(server);
}

/* ---- life ---- */

static void workers_changed(void *context)
{
    struct server *server = context;
    health_set(server->health,
               !atomic_load(&server->tools.draining) && workers_serving(server->tools.workers));
    queue_set_places(server->tools.queue, workers_places(server->tools.workers));
    queue_wake(server->tools.queue);
}

static enum status open_model(struct server *server, const struct server_settings *settings)
{
    TRY(model_open(&server->model, settings->model_path));
    const struct vocab *vocab = model_vocab(server->model);
    if (!vocab)
        return fail(STATUS_UNIMPLEMENTED,
                    "%s holds no tokenizer (a directory needs tokenizer.json)",
                    settings->model_path);
    digest_model(server->digest, server->model);
    server->tools.model = server->digest;
    TRY(tokenizer_create(&server->tokenizer, vocab));
    /* A model without a template that works still serves raw prompts; one that was asked for must
     * work. */
    const enum status status =
        chat_create(&server->chat, server->tokenizer, vocab, settings->chat_template);
    if (status != STATUS_OK && strcmp(settings->chat_template, "auto") != 0)
        return status;
    if (status != STATUS_OK)
        snprintf(server->chat_missing, sizeof server->chat_missing, "%s", status_message());
    server->tools.forms =
        (struct prompt_forms){server->tokenizer, server->chat, server->chat_missing, 0};
    TRY(planner_init(&server->planner, model_spec(server->model), &settings->plan));
    server->tools.forms.context_tokens = server->planner.defaults.context_tokens;
    if (settings->mesh.tensor > 1)
        TRY(tensor_fit_check(&server->planner.shape, settings->mesh.tensor,
                             mesh_size(&settings->mesh)));
    return STATUS_OK;
}

/* The model as HTTP clients name it: as its file does, or as the file is called. */
static void name_model(char name[SENTENCE_BYTES], const struct server *server, const char *path)
{
    const struct model_spec *spec = model_spec(server->model);
    const char *slash = strrchr(path, '/');
    if (spec->name.bytes > 0)
        snprintf(name, SENTENCE_BYTES, "%.*s", (int)spec->name.bytes, spec->name.text);
    else
        snprintf(name, SENTENCE_BYTES, "%s", slash ? slash + 1 : path);
}

static enum status open_http(struct server *server, const struct server_settings *settings)
{
    char model[SENTENCE_BYTES];
    if (!settings->http_listen[0])
        return STATUS_OK;
    name_model(model, server, settings->model_path);
    const struct http_settings http = {
        .listen = settings->http_listen,
        .connections_max = settings->http_connections_max,
        .access = server->access,
        .errand = &server->tools,
        .batches = batch_service_tools(server->batches),
        .model = model,
        .tls = settings->tls,
        .local_only =
            listen_address_is_local(settings->http_listen) && !access_has_tenants(server->access),
    };
    return http_server_create(&server->http, &server->http_port, &http);
}

/* What metrics tell of it, from now on. */
static void offer_metrics(struct server *server, const struct server_settings *settings)
{
    process_metrics_offer();
    errand_course_offer();
    server->metrics = (struct cluster_metrics){
        .workers = server->tools.workers,
        .queue = server->tools.queue,
        .requests = server->tools.active,
        .sessions = server->tools.sessions,
        .store = batch_service_store(server->batches),
        .context_tokens = server->planner.defaults.context_tokens,
        .group_requests = settings->group_requests,
    };
    cluster_metrics_begin(&server->metrics);
    server->counted = true;
}

/* Of batches and documents. */
static bool store_serves(void *context)
{
    struct server *server = context;
    return !atomic_load(&server->tools.draining) && batch_service_is_serving(server->batches);
}

static enum status open_parts(struct server *server, const struct server_settings *settings)
{
    TRY(access_open(&server->access, settings->access_file));
    TRY(open_model(server, settings));
    TRY(queue_create(&server->tools.queue, settings->queue_length));
    TRY(requests_create(&server->tools.active));
    if (settings->otlp_file[0])
        TRY(spans_open(&server->tools.spans, settings->otlp_file));
    TRY(health_create(&server->health, service));
    TRY(reflection_create(&server->reflection, descriptors_set, descriptors_set_bytes));
    const struct workers_settings workers = {
        .join_secret = settings->join_secret,
        .model_digest = server->digest,
        .kernels = settings->kernels,
        .requests_wanted = settings->group_requests,
        .context_tokens = server->planner.defaults.context_tokens,
        .heartbeat_ms = settings->heartbeat_ms,
        .dead_ms = settings->dead_ms,
        .work_ms = settings->work_ms,
        .changed = workers_changed,
        .context = server,
    };
    TRY(workers_create(&server->tools.workers, &workers));
    if (settings->spill_folder[0])
        TRY(spill_folder_open(&server->spill, settings->spill_folder, settings->spill_bytes,
                              server->digest));
    TRY(sessions_create(&server->tools.sessions, server->tools.workers, server->access,
                        server->spill));
    server->tools.planner = &server->planner;
    server->tools.access = server->access;
    server->tools.deadline_ms = settings->request_deadline_ms;
    server->tools.workers_expected = settings->workers_expected;
    server->tools.stall_ms = settings->stall_ms;
    server->tools.drafts = settings->drafts;
    const struct batch_service_settings batches = {
        .folder = settings->store_folder,
        .accept_lost_log = settings->accept_lost_log,
        .cache_bytes = settings->store_cache_bytes,
        .errand = &server->tools,
        .access = server->access,
        .batch_retention_seconds = settings->batch_retention_seconds,
        .document_retention_seconds = settings->document_retention_seconds,
    };
    TRY(batch_service_create(&server->batches, &batches));
    health_add(server->health, "longhaul.v1.Batches", store_serves, server);
    health_add(server->health, "longhaul.v1.Documents", store_serves, server);
    offer_metrics(server, settings);
    fill_shares(server, settings);
    fill_methods(server);
    const struct rpc_limits limits = {settings->connections_max, settings->calls_max};
    TRY(rpc_server_create(&server->rpc, &limits));
    const struct rpc_port clients = {
        .address = settings->listen,
        .methods = server->methods,
        .method_count = METHODS,
        .guard = check_caller,
        .guard_context = server->access,
        .tls = settings->tls,
    };
    const struct rpc_port ranks = {
        .address = settings->worker_listen,
        .methods = &server->worker_method,
        .method_count = 1,
    };
    TRY(rpc_server_listen(server->rpc, &server->port, &clients));
    TRY(rpc_server_listen(server->rpc, &server->worker_port, &ranks));
    return open_http(server, settings);
}

enum status server_create(struct server **server, const struct server_settings *settings)
{
    struct server *s = calloc(1, sizeof *s);
    if (!s)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the coordinator");
    enum status status = open_parts(s, settings);
    if (status != STATUS_OK) {
        server_destroy(s, NULL);
        return status;
    }
    *server = s;
    return STATUS_OK;
}

int server_port(const struct server *server)
{
    return server->port;
}

int server_worker_port(const struct server *server)
{
    return server->worker_port;
}

int server_http_port(const struct server *server)
{
    return server->http_port;
}

bool server_is_serving(struct server *server)
{
    return workers_serving(server->tools.workers);
}

bool server_has_workers(struct server *server)
{
    return workers_any(server->tools.workers);
}

void server_trouble(struct server *server, int64_t since_ns, char *text, size_t bytes)
{
    workers_trouble(server->tools.workers, since_ns, text, bytes);
}

bool server_is_asked_to_drain(struct server *server)
{
    return atomic_load(&server->drain_asked);
}

void server_drain(struct server *server)
{
    atomic_store(&server->tools.draining, true);
    rpc_server_drain(server->rpc);
    workers_changed(server);
}

/* A call of several answers may have none in the queue for a moment. */
bool server_is_idle(struct server *server)
{
    return atomic_load(&server->tools.shared) == 0 && queue_is_empty(server->tools.queue) &&
           batch_service_is_idle(server->batches);
}

void server_destroy(struct server *server, bool *left)
{
    if (!server)
        return;
    if (server->counted)
        cluster_metrics_end(&server->metrics);
    if (server->rpc) {
        server_drain(server);
        atomic_store(&server->tools.stopping, true);
        for (int waited_ms = 0; waited_ms < FINISH_MS && !server_is_idle(server); waited_ms += 50)
            queue_wait(server->tools.queue, 50);
        workers_stop(server->tools.workers, "the coordinator is ending", WORKERS_LEAVE_MS);
    }
    http_server_destroy(server->http);
    rpc_server_destroy(server->rpc, 0);
    batch_service_destroy(server->batches, left);
    sessions_destroy(server->tools.sessions);
    spill_folder_close(server->spill);
    workers_destroy(server->tools.workers);
    reflection_destroy(server->reflection);
    health_destroy(server->health);
    requests_destroy(server->tools.active);
    spans_close(server->tools.spans);
    queue_destroy(server->tools.queue);
    chat_destroy(server->chat);
    tokenizer_destroy(server->tokenizer);
    model_close(server->model);
    access_close(server->access);
    free(server);
}
