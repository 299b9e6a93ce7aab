/* Owns nothing. Promises the same answer as gRPC's health service. */
#include "coordinator/http/http_health.h"

#include "coordinator/batch/batch_tools.h"
#include "coordinator/errand.h"
#include "coordinator/workers.h"
#include "proto/metrics.h"

enum { REASON_BYTES = 512 };

static enum status say(struct http_exchange *exchange, int code, const char *word)
{
    struct http_text text;
    TRY(http_text_open(&text));
    fprintf(text.file, "%s\n", word);
    return http_reply(exchange, code, "text/plain; charset=utf-8", &text);
}

enum status http_health_alive(struct http_exchange *exchange)
{
    return say(exchange, MHD_HTTP_OK, "alive");
}

enum status http_health_ready(struct http_exchange *exchange)
{
    struct errand_tools *errand = exchange->tools->errand;
    if (atomic_load(&errand->draining))
        return say(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, "draining");
    if (!workers_serving(errand->workers))
        return say(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, "no worker group serves");
    struct store *store = exchange->tools->batches->store;
    char reason[REASON_BYTES], sentence[REASON_BYTES + 64];
    if (!store || store_is_serving(store, reason, sizeof reason))
        return say(exchange, MHD_HTTP_OK, "ready");
    snprintf(sentence, sizeof sentence, "the store takes no changes: %s", reason);
    return say(exchange, MHD_HTTP_SERVICE_UNAVAILABLE, sentence);
}

enum status http_health_metrics(struct http_exchange *exchange)
{
    const enum metrics_format format =
        metrics_format_of(http_header(exchange, MHD_HTTP_HEADER_ACCEPT));
    struct http_text text;
    TRY(http_text_open(&text));
    const enum status status = metrics_write(text.file, format);
    if (status != STATUS_OK) {
        http_text_drop(&text);
        return status;
    }
    return http_reply(exchange, MHD_HTTP_OK, metrics_media_type(format), &text);
}
