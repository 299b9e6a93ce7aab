/* Owns nothing. */
#include "coordinator/http/http_head.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* How often the headers come that say where a body ends. */
struct lengths {
    int lengths, encodings;
    const char *length, *encoding;
};

static enum MHD_Result count(void *context, enum MHD_ValueKind kind, const char *key,
                             const char *value)
{
    (void)kind;
    struct lengths *lengths = context;
    if (strcasecmp(key, MHD_HTTP_HEADER_CONTENT_LENGTH) == 0) {
        lengths->lengths++;
        lengths->length = value;
    } else if (strcasecmp(key, MHD_HTTP_HEADER_TRANSFER_ENCODING) == 0) {
        lengths->encodings++;
        lengths->encoding = value;
    }
    return MHD_YES;
}

enum status http_head_length(struct http_exchange *exchange, uint64_t *body_bytes)
{
    enum { DIGITS_MAX = 18 };
    struct lengths found = {0};
    MHD_get_connection_values(exchange->connection, MHD_HEADER_KIND, count, &found);
    if (found.lengths + found.encodings > 1)
        return fail(STATUS_INVALID_ARGUMENT, "the head says twice where the body ends");
    if (found.encodings && (!found.encoding || strcasecmp(found.encoding, "chunked") != 0))
        return fail(STATUS_INVALID_ARGUMENT, "a Transfer-Encoding other than chunked");
    *body_bytes = 0;
    if (!found.lengths)
        return STATUS_OK;
    const size_t digits = found.length ? strspn(found.length, "0123456789") : 0;
    if (digits == 0 || digits > DIGITS_MAX || found.length[digits])
        return fail(STATUS_INVALID_ARGUMENT, "Content-Length is no number");
    *body_bytes = strtoull(found.length, NULL, 10);
    return STATUS_OK;
}

/* Bytes of a Host without its port. */
static size_t name_bytes(const char *host)
{
    if (host[0] == '[')
        return strcspn(host, "]") + 1;
    return strcspn(host, ":");
}

/* An address in digits, or localhost: no other site's name leads here. */
static bool is_local_name(const char *host)
{
    const size_t bytes = name_bytes(host);
    if (host[0] == '[' || strspn(host, "0123456789.") == bytes)
        return true;
    return bytes == 9 && strncasecmp(host, "localhost", bytes) == 0;
}

enum status http_head_site(struct http_exchange *exchange)
{
    const char *host = http_header(exchange, MHD_HTTP_HEADER_HOST);
    const char *origin = http_header(exchange, MHD_HTTP_HEADER_ORIGIN);
    if (host && exchange->tools->local_only && !is_local_name(host)) {
        exchange->details.reason = "HOST_NOT_LOCAL";
        return fail(STATUS_PERMISSION_DENIED,
                    "the host is asked for as %s; without tenants only 127.0.0.1 and localhost "
                    "are names of it",
                    host);
    }
    if (!origin)
        return STATUS_OK;
    const char *scheme = strstr(origin, "://");
    if (host && scheme && strcasecmp(scheme + 3, host) == 0)
        return STATUS_OK;
    exchange->details.reason = "CROSS_ORIGIN";
    return fail(STATUS_PERMISSION_DENIED, "a page of %s may not ask here", origin);
}

enum status http_head_caller(struct http_exchange *exchange)
{
    const char *authorization = http_header(exchange, MHD_HTTP_HEADER_AUTHORIZATION);
    if (!exchange->tools->access)
        return STATUS_OK;
    return access_check(exchange->tools->access, &exchange->caller, &exchange->details,
                        authorization, authorization ? strlen(authorization) : 0,
                        exchange->route->scopes);
}
