/* Owns nothing. */
#include "coordinator/http/http_store.h"

#include <stdlib.h>
#include <string.h>

enum { LIMIT_STANDARD = 20, LIMIT_MOST = 1000 };

enum status http_store_tools(struct http_exchange *exchange, const struct batch_tools **tools)
{
    *tools = exchange->tools->batches;
    if ((*tools)->store)
        return STATUS_OK;
    exchange->details.reason = "NO_STORE";
    return fail(STATUS_FAILED_PRECONDITION,
                "this coordinator keeps no files and no batches: start it with --store DIR");
}

enum status http_store_id(const char **id, const char *told, const char *prefix)
{
    const size_t bytes = strlen(prefix);
    if (strncmp(told, prefix, bytes) != 0)
        return fail(STATUS_NOT_FOUND, "%s is not there: an id begins with %s", told, prefix);
    *id = told + bytes;
    return STATUS_OK;
}

enum status http_store_end(struct http_exchange *exchange, enum status status)
{
    enum { RETRY_MS = 5000 };
    if (status == STATUS_UNAVAILABLE && !exchange->details.reason) {
        exchange->details.reason = "STORE_NOT_SERVING";
        exchange->details.retry_ms = RETRY_MS;
    }
    if (status == STATUS_RESOURCE_EXHAUSTED && !exchange->details.reason)
        exchange->details.reason = "QUOTA_EXCEEDED";
    return status;
}

enum status http_store_limit(struct http_exchange *exchange, int64_t *limit)
{
    const char *asked = http_parameter(exchange, "limit");
    *limit = asked ? strtol(asked, NULL, 10) : LIMIT_STANDARD;
    if (*limit >= 1 && *limit <= LIMIT_MOST)
        return STATUS_OK;
    exchange->details.field = "limit";
    return fail(STATUS_INVALID_ARGUMENT, "limit is %s; must be 1 to %d", asked, LIMIT_MOST);
}

void http_store_begin_list(struct json_writer *writer)
{
    json_writer_begin_object(writer, NULL);
    json_writer_text(writer, "object", "list");
    json_writer_begin_array(writer, "data");
}

bool http_store_list_takes(struct http_list *list, const char *prefix, const char *id)
{
    list->more = list->room == 0;
    if (list->more)
        return false;
    list->room--;
    snprintf(list->last, sizeof list->last, "%s%s", prefix, id);
    if (!list->first[0])
        memcpy(list->first, list->last, sizeof list->first);
    return true;
}

void http_store_end_list(struct json_writer *writer, const struct http_list *list)
{
    json_writer_end_array(writer);
    json_writer_text(writer, "first_id", list->first);
    json_writer_text(writer, "last_id", list->last);
    json_writer_boolean(writer, "has_more", list->more);
    json_writer_end_object(writer);
}
