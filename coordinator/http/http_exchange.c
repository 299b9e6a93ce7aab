/* Owns the answer until the library has taken it. Promises that every answer has the same headers,
 * and that no client's text is taken for a page by a browser. */
#include "coordinator/http/http_exchange.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/openai/openai_error.h"
#include "proto/clock.h"

static const char json_type[] = "application/json";

const char *http_header(struct http_exchange *exchange, const char *name)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

const char *http_parameter(struct http_exchange *exchange, const char *name)
{
    return MHD_lookup_connection_value(exchange->connection, MHD_GET_ARGUMENT_KIND, name);
}

void http_note(struct http_exchange *exchange, struct log_field field)
{
    size_t at = 0;
    while (at < exchange->note_count && strcmp(exchange->notes[at].key, field.key) != 0)
        at++;
    if (at == HTTP_NOTES_MAX)
        return;
    exchange->notes[at] = field;
    if (at == exchange->note_count)
        exchange->note_count++;
}

/* ---- texts ---- */

enum status http_text_open(struct http_text *text)
{
    *text = (struct http_text){.file = NULL};
    text->file = open_memstream(&text->text, &text->bytes);
    return text->file ? STATUS_OK : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an answer");
}

void http_text_drop(struct http_text *text)
{
    fclose(text->file);
    free(text->text);
}

/* ---- answers ---- */

static void add_headers(struct http_exchange *exchange, struct MHD_Response *response,
                        const char *type)
{
    char seconds[24];
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (exchange->request_id[0])
        MHD_add_response_header(response, "X-Request-Id", exchange->request_id);
    if (exchange->code == MHD_HTTP_UNAUTHORIZED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE, "Bearer");
    if (exchange->code == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, exchange->allow);
    if (exchange->code >= 400 && exchange->details.retry_ms > 0) {
        snprintf(seconds, sizeof seconds, "%lld",
                 (long long)((exchange->details.retry_ms + 999) / 1000));
        MHD_add_response_header(response, MHD_HTTP_HEADER_RETRY_AFTER, seconds);
    }
}

/* Gives the response away. */
static enum status queue(struct http_exchange *exchange, struct MHD_Response *response,
                         const char *type)
{
    if (!response)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an answer");
    add_headers(exchange, response, type);
    const enum MHD_Result queued =
        MHD_queue_response(exchange->connection, (unsigned)exchange->code, response);
    MHD_destroy_response(response);
    if (queued != MHD_YES)
        return fail(STATUS_INTERNAL, "an answer could not be queued");
    exchange->replied = true;
    return STATUS_OK;
}

enum status http_reply(struct http_exchange *exchange, int code, const char *type,
                       struct http_text *text)
{
    if (fclose(text->file) != 0) {
        free(text->text);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an answer");
    }
    exchange->code = code;
    http_connection_pace(exchange->peer, clock_now_ns(), text->bytes);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(text->bytes, text->text, MHD_RESPMEM_MUST_FREE);
    if (!response)
        free(text->text);
    return queue(exchange, response, type);
}

enum status http_reply_json(struct http_exchange *exchange, struct http_text *text)
{
    fputc('\n', text->file);
    return http_reply(exchange, MHD_HTTP_OK, json_type, text);
}

enum status http_reply_static(struct http_exchange *exchange, const char *type, const void *bytes,
                              size_t count, const char *security)
{
    exchange->code = MHD_HTTP_OK;
    http_connection_pace(exchange->peer, clock_now_ns(), count);
    struct MHD_Response *response =
        MHD_create_response_from_buffer(count, (void *)bytes, MHD_RESPMEM_PERSISTENT);
    if (response && security) {
        MHD_add_response_header(response, "Content-Security-Policy", security);
        MHD_add_response_header(response, "Referrer-Policy", "no-referrer");
    }
    return queue(exchange, response, type);
}

enum status http_reply_stream(struct http_exchange *exchange, const char *type,
                              MHD_ContentReaderCallback read, void *context)
{
    enum { BLOCK_BYTES = 32 << 10 };
    exchange->code = MHD_HTTP_OK;
    return queue(
        exchange,
        MHD_create_response_from_callback(MHD_SIZE_UNKNOWN, BLOCK_BYTES, read, context, NULL),
        type);
}

enum status http_reply_error(struct http_exchange *exchange, enum status failure,
                             const char *sentence)
{
    struct http_text text;
    TRY(http_text_open(&text));
    openai_error_write(text.file, failure, &exchange->details, sentence);
    fputc('\n', text.file);
    const int code = exchange->code ? exchange->code : openai_error_http_code(failure);
    return http_reply(exchange, code, json_type, &text);
}
