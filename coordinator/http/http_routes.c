/* Owns the table of routes. */
#include "coordinator/http/http_routes.h"

#include <string.h>

#include "coordinator/http/http_batches.h"
#include "coordinator/http/http_files.h"
#include "coordinator/http/http_health.h"
#include "coordinator/http/http_inference.h"
#include "coordinator/http/http_page.h"
#include "coordinator/openai/openai_request.h"

enum { BATCH_BYTES_MAX = 64 << 10 };

static const struct http_route routes[] = {
    {"GET", "/healthz", http_health_alive, .routine = true},
    {"GET", "/readyz", http_health_ready, .routine = true},
    {"GET", "/", http_page_html, .routine = true},
    {"GET", "/page.css", http_page_css, .routine = true},
    {"GET", "/page.js", http_page_js, .routine = true},
    {"GET", "/longhaul/v1/state", http_page_state, .scopes = ACCESS_METRICS, .routine = true},
    {"GET", "/metrics", http_health_metrics, .scopes = ACCESS_METRICS, .routine = true},
    {"GET", "/v1/models", http_inference_models, .scopes = ACCESS_INFERENCE},
    {"GET", "/v1/models/{}", http_inference_model, .scopes = ACCESS_INFERENCE},
    {"POST", "/v1/completions", http_inference_answer, .scopes = ACCESS_INFERENCE,
     .body_bytes = OPENAI_BODY_BYTES_MAX},
    {"POST", "/v1/chat/completions", http_inference_answer, .scopes = ACCESS_INFERENCE,
     .body_bytes = OPENAI_BODY_BYTES_MAX},
    {"POST", "/longhaul/v1/generate", http_inference_answer, .scopes = ACCESS_INFERENCE,
     .body_bytes = OPENAI_BODY_BYTES_MAX},
    {"POST", "/v1/files", http_files_create, .scopes = ACCESS_DOCUMENTS,
     .body_bytes = HTTP_FILE_BYTES_MAX, .begin = http_files_begin, .take = http_files_take},
    {"GET", "/v1/files", http_files_list, .scopes = ACCESS_DOCUMENTS},
    {"GET", "/v1/files/{}", http_files_get, .scopes = ACCESS_DOCUMENTS},
    {"DELETE", "/v1/files/{}", http_files_delete, .scopes = ACCESS_DOCUMENTS},
    {"GET", "/v1/files/{}/content", http_files_content, .scopes = ACCESS_DOCUMENTS},
    {"POST", "/v1/batches", http_batches_create, .scopes = ACCESS_BATCHES,
     .body_bytes = BATCH_BYTES_MAX},
    {"GET", "/v1/batches", http_batches_list, .scopes = ACCESS_BATCHES},
    {"GET", "/v1/batches/{}", http_batches_get, .scopes = ACCESS_BATCHES},
    {"POST", "/v1/batches/{}/cancel", http_batches_cancel, .scopes = ACCESS_BATCHES,
     .body_bytes = BATCH_BYTES_MAX},
};

/* Whether `path` is one of `pattern`; what stands for {} goes to `name`. */
static bool matches(char name[HTTP_NAME_BYTES], const char *pattern, const char *path)
{
    const char *hole = strstr(pattern, "{}");
    if (!hole)
        return strcmp(pattern, path) == 0;
    const size_t before = (size_t)(hole - pattern), after = strlen(hole + 2);
    const size_t bytes = strlen(path);
    if (bytes <= before + after || strncmp(pattern, path, before) != 0 ||
        strcmp(path + bytes - after, hole + 2) != 0)
        return false;
    const size_t inside = bytes - before - after;
    if (inside >= HTTP_NAME_BYTES || memchr(path + before, '/', inside))
        return false;
    memcpy(name, path + before, inside);
    name[inside] = 0;
    return true;
}

/* Adds a method to the list that a client may use. */
static void allow(struct http_exchange *exchange, const char *method)
{
    const size_t used = strlen(exchange->allow);
    snprintf(exchange->allow + used, sizeof exchange->allow - used, "%s%s", used ? ", " : "",
             method);
}

enum status http_routes_find(struct http_exchange *exchange, const char *method, const char *path)
{
    /* The library leaves the body of such an answer out. */
    const char *wanted = strcmp(method, MHD_HTTP_METHOD_HEAD) == 0 ? MHD_HTTP_METHOD_GET : method;
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        if (!matches(exchange->name, routes[i].path, path))
            continue;
        if (strcmp(routes[i].method, wanted) == 0) {
            exchange->route = &routes[i];
            return STATUS_OK;
        }
        allow(exchange, routes[i].method);
    }
    exchange->code = exchange->allow[0] ? MHD_HTTP_METHOD_NOT_ALLOWED : MHD_HTTP_NOT_FOUND;
    if (exchange->allow[0])
        return fail(STATUS_UNIMPLEMENTED, "%s takes %s, not %s", path, exchange->allow, method);
    return fail(STATUS_NOT_FOUND, "nothing is at %s", path);
}
