/* Owns nothing. Promises that the page runs nothing but its own script, whatever it shows. */
#include "coordinator/http/http_page.h"

#include <stdlib.h>

#include "coordinator/batch/store_batch.h"
#include "coordinator/http/http_batch_view.h"
#include "coordinator/http/http_store.h"
#include "coordinator/queue.h"
#include "coordinator/requests.h"
#include "coordinator/workers.h"
#include "proto/clock.h"
#include "proto/json_writer.h"

enum { BATCHES_SHOWN = 20 };

extern const uint8_t page_html[], page_css[], page_js[];
extern const size_t page_html_bytes, page_css_bytes, page_js_bytes;

static const char security[] =
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

enum status http_page_html(struct http_exchange *exchange)
{
    return http_reply_static(exchange, "text/html; charset=utf-8", page_html, page_html_bytes,
                             security);
}

enum status http_page_css(struct http_exchange *exchange)
{
    return http_reply_static(exchange, "text/css; charset=utf-8", page_css, page_css_bytes, NULL);
}

enum status http_page_js(struct http_exchange *exchange)
{
    return http_reply_static(exchange, "text/javascript; charset=utf-8", page_js, page_js_bytes,
                             NULL);
}

/* ---- the state ---- */

static void write_ranks(struct json_writer *writer, const struct workers_group_view *group)
{
    json_writer_begin_array(writer, "ranks");
    for (int i = 0; i < group->rank_count; i++) {
        const struct workers_rank_view *rank = &group->ranks[i];
        json_writer_begin_object(writer, NULL);
        json_writer_integer(writer, "rank", rank->rank);
        json_writer_text(writer, "host", rank->host);
        json_writer_text(writer, "kernels", rank->kernels);
        json_writer_integer(writer, "threads", rank->threads);
        json_writer_text(writer, "cpus", rank->placement.cpus);
        json_writer_boolean(writer, "cores_shared", rank->placement.cores_shared);
        json_writer_real(writer, "heartbeat_age_seconds", rank->heartbeat_age_seconds);
        json_writer_real(writer, "work_age_seconds", rank->work_age_seconds);
        json_writer_end_object(writer);
    }
    json_writer_end_array(writer);
}

static const char *state_word(Longhaul__V1__GroupState state)
{
    switch (state) {
    case LONGHAUL__V1__GROUP_STATE__GROUP_STATE_JOINING:
        return "joining";
    case LONGHAUL__V1__GROUP_STATE__GROUP_STATE_LOADING:
        return "loading";
    case LONGHAUL__V1__GROUP_STATE__GROUP_STATE_READY:
        return "ready";
    default:
        return "running";
    }
}

static enum status write_groups(struct json_writer *writer, struct workers *workers)
{
    struct workers_group_view *groups = NULL;
    int count = 0;
    TRY(workers_view(workers, &groups, &count));
    json_writer_begin_array(writer, "groups");
    for (int i = 0; i < count; i++) {
        json_writer_begin_object(writer, NULL);
        json_writer_text(writer, "name", groups[i].group_id);
        json_writer_text(writer, "state", state_word(groups[i].state));
        json_writer_text(writer, "transport", groups[i].transport);
        json_writer_integer(writer, "size", groups[i].size);
        json_writer_integer(writer, "places", groups[i].places);
        json_writer_integer(writer, "running", groups[i].running);
        write_ranks(writer, &groups[i]);
        json_writer_end_object(writer);
    }
    json_writer_end_array(writer);
    workers_view_free(groups, count);
    return STATUS_OK;
}

static void write_request(struct json_writer *writer, const struct requests_view *request)
{
    json_writer_begin_object(writer, NULL);
    json_writer_text(writer, "name", request->name);
    json_writer_text(writer, "kind", request->is_score ? "score" : "generate");
    json_writer_text(writer, "group", request->group_id);
    json_writer_real(writer, "age_seconds", request->age_seconds);
    json_writer_integer(writer, "prompt_tokens", request->tokens.prompt);
    json_writer_integer(writer, "prompt_tokens_done", request->tokens.prompt_done);
    json_writer_integer(writer, "completion_tokens", request->tokens.completion);
    json_writer_text(writer, "plan", request->plan.text);
    json_writer_real(writer, "predicted_seconds", request->plan.seconds);
    json_writer_integer(writer, "max_tokens", request->plan.max_tokens);
    json_writer_end_object(writer);
}

static bool sees_all(const struct http_exchange *exchange)
{
    return !access_has_tenants(exchange->tools->access) || exchange->caller.scopes & ACCESS_ADMIN;
}

/* How many there are of all tenants, and those that the caller may see. */
static enum status write_requests(struct json_writer *writer, struct http_exchange *exchange)
{
    struct errand_tools *errand = exchange->tools->errand;
    struct requests_view *views = NULL;
    size_t count = 0;
    const int64_t waiting = queue_waiting(errand->queue);
    TRY(requests_list(errand->active, &views, &count, NULL));
    json_writer_integer(writer, "waiting_requests", waiting);
    json_writer_integer(writer, "running_requests",
                        (int64_t)count > waiting ? (int64_t)count - waiting : 0);
    if (!sees_all(exchange)) {
        free(views);
        TRY(requests_list(errand->active, &views, &count, exchange->caller.tenant.name));
    }
    json_writer_begin_array(writer, "requests");
    for (size_t i = 0; i < count; i++)
        write_request(writer, &views[i]);
    json_writer_end_array(writer);
    free(views);
    return STATUS_OK;
}

/* The caller's own; who sees all requests sees all sessions. */
static void write_sessions(struct json_writer *writer, struct http_exchange *exchange)
{
    static const struct {
        Longhaul__V1__SessionState state;
        const char *word;
    } rows[] = {
        {LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READING, "reading"},
        {LONGHAUL__V1__SESSION_STATE__SESSION_STATE_READY, "ready"},
        {LONGHAUL__V1__SESSION_STATE__SESSION_STATE_SPILLED, "spilled"},
        {LONGHAUL__V1__SESSION_STATE__SESSION_STATE_LOST, "lost"},
    };
    struct sessions_totals totals;
    sessions_total(exchange->tools->errand->sessions, &totals,
                   sees_all(exchange) ? NULL : exchange->caller.tenant.name);
    json_writer_begin_object(writer, "sessions");
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++)
        json_writer_integer(writer, rows[r].word, totals.of_state[rows[r].state]);
    json_writer_integer(writer, "tokens", totals.tokens);
    json_writer_integer(writer, "held_bytes", totals.held_bytes);
    json_writer_end_object(writer);
}

static enum status add_batch(void *context, const struct store_batch *batch)
{
    struct json_writer *writer = context;
    const struct store_counts *counts = &batch->counts;
    json_writer_begin_object(writer, NULL);
    json_writer_text(writer, "name", batch->id);
    json_writer_text(writer, "state", http_batch_view_status(batch));
    json_writer_text(writer, "endpoint", batch->endpoint);
    json_writer_integer(writer, "total", counts->total);
    json_writer_integer(writer, "completed", counts->completed);
    json_writer_integer(writer, "failed", counts->failed + counts->cancelled + counts->expired);
    json_writer_integer(writer, "running", counts->running);
    json_writer_integer(writer, "prompt_tokens", batch->usage.prompt_tokens);
    json_writer_integer(writer, "cached_tokens", batch->usage.cached_tokens);
    json_writer_integer(writer, "completion_tokens", batch->usage.completion_tokens);
    json_writer_end_object(writer);
    return STATUS_OK;
}

static enum status write_batches(struct json_writer *writer, struct http_exchange *exchange)
{
    struct store *store = exchange->tools->batches->store;
    if (!store) {
        json_writer_null(writer, "batches");
        return STATUS_OK;
    }
    json_writer_begin_array(writer, "batches");
    TRY(store_batch_list(store, exchange->caller.tenant.name, 0, 0, BATCHES_SHOWN, add_batch,
                         writer));
    json_writer_end_array(writer);
    return STATUS_OK;
}

static enum status write_state(struct json_writer *writer, struct http_exchange *exchange)
{
    struct errand_tools *errand = exchange->tools->errand;
    struct requests_tokens totals;
    requests_totals(errand->active, &totals);
    json_writer_begin_object(writer, NULL);
    json_writer_text(writer, "version", LONGHAUL_VERSION);
    json_writer_text(writer, "model", exchange->tools->model);
    json_writer_real(writer, "now_seconds", clock_now_seconds());
    json_writer_boolean(writer, "draining", atomic_load(&errand->draining));
    json_writer_boolean(writer, "serving", workers_serving(errand->workers));
    json_writer_integer(writer, "prompt_tokens", totals.prompt_done);
    json_writer_integer(writer, "completion_tokens", totals.completion);
    TRY(write_requests(writer, exchange));
    write_sessions(writer, exchange);
    TRY(write_groups(writer, errand->workers));
    TRY(write_batches(writer, exchange));
    json_writer_end_object(writer);
    return STATUS_OK;
}

enum status http_page_state(struct http_exchange *exchange)
{
    struct http_text text;
    TRY(http_text_open(&text));
    struct json_writer writer = {.file = text.file};
    const enum status status = write_state(&writer, exchange);
    if (status != STATUS_OK) {
        http_text_drop(&text);
        return http_store_end(exchange, status);
    }
    return http_reply_json(exchange, &text);
}
