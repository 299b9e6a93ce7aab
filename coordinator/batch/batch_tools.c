/* Owns nothing. Promises that calls of batches and documents fail in one manner. */
#include "coordinator/batch/batch_tools.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/resource_name.h"

enum { PAGE_STANDARD = 100, PAGE_MOST = 1000, STORE_RETRY_MS = 5000, REQUEST_ID_MOST = 128 };

static enum status require(const struct batch_tools *tools, struct status_details *details)
{
    if (tools->store)
        return STATUS_OK;
    details->reason = "NO_STORE";
    return fail(STATUS_FAILED_PRECONDITION,
                "this coordinator keeps no batches and no documents: start it with --store DIR");
}

enum status batch_tools_end(struct status_details *details, enum status status)
{
    static const struct {
        enum status status;
        const char *reason;
        int64_t retry_ms;
    } rows[] = {
        {STATUS_NOT_FOUND, "NO_SUCH_RESOURCE", 0},
        {STATUS_ALREADY_EXISTS, "RESOURCE_EXISTS", 0},
        {STATUS_FAILED_PRECONDITION, "WRONG_STATE", 0},
        {STATUS_RESOURCE_EXHAUSTED, "QUOTA_EXCEEDED", 0},
        {STATUS_UNAVAILABLE, "STORE_NOT_SERVING", STORE_RETRY_MS},
        {STATUS_DATA_LOSS, "RECORD_DAMAGED", 0},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (rows[i].status == status && !details->reason) {
            details->reason = rows[i].reason;
            details->retry_ms = rows[i].retry_ms;
        }
    return status;
}

struct store_limits batch_tools_limits(const struct access_tenant *tenant)
{
    return (struct store_limits){
        .queued_tokens = tenant->quotas.queued_tokens,
        .stored_bytes = tenant->quotas.stored_bytes,
    };
}

enum status batch_tools_handle(const struct batch_tools *tools, struct rpc_call *call,
                               const ProtobufCMessage *request, batch_handler *handle)
{
    struct access_tenant tenant;
    TRY(require(tools, rpc_call_details(call)));
    access_tenant(tools->access, &tenant, rpc_call_caller(call)->tenant);
    const struct batch_context context = {
        .tools = tools,
        .call = call,
        .details = rpc_call_details(call),
        .tenant = rpc_call_caller(call)->tenant,
        .limits = batch_tools_limits(&tenant),
    };
    return batch_tools_end(rpc_call_details(call), handle(&context, request));
}

enum status batch_tools_request(struct store_request *request, const struct batch_context *context,
                                const char *method, const char *request_id,
                                const ProtobufCMessage *message)
{
    *request = (struct store_request){.id = request_id};
    if (!request_id[0])
        return STATUS_OK;
    if (strlen(request_id) > REQUEST_ID_MOST)
        context->details->field = "request_id";
    if (strlen(request_id) > REQUEST_ID_MOST)
        return fail(STATUS_INVALID_ARGUMENT, "request_id is longer than %d bytes", REQUEST_ID_MOST);
    const size_t method_bytes = strlen(method) + 1;
    const size_t bytes = method_bytes + protobuf_c_message_get_packed_size(message);
    uint8_t *content = malloc(bytes);
    if (!content)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a request of %zu bytes", bytes);
    memcpy(content, method, method_bytes);
    protobuf_c_message_pack(message, content + method_bytes);
    request->content = content;
    request->content_bytes = bytes;
    return STATUS_OK;
}

void batch_tools_forget(struct store_request *request)
{
    free((void *)request->content);
    *request = (struct store_request){0};
}

enum status batch_tools_name(const struct batch_context *context, const char **id, const char *name,
                             const char *collection)
{
    context->details->field = "name";
    TRY(resource_name_id(id, name, collection));
    context->details->field = NULL;
    return STATUS_OK;
}

enum status batch_tools_page_size(struct status_details *details, int64_t *count, int32_t size)
{
    *count = size ? size : PAGE_STANDARD;
    if (size >= 0 && size <= PAGE_MOST)
        return STATUS_OK;
    details->field = "page_size";
    return fail(STATUS_INVALID_ARGUMENT, "page_size is %" PRId32 "; must be 0 to %d", size,
                PAGE_MOST);
}

void batch_tools_token(char token[BATCH_TOOLS_TOKEN_BYTES], const char *what, int64_t place)
{
    snprintf(token, BATCH_TOOLS_TOKEN_BYTES, "%s@%" PRId64, what, place);
}

enum status batch_tools_place(struct status_details *details, int64_t *place, const char *what,
                              const char *token)
{
    const size_t bytes = strlen(what);
    *place = 0;
    if (!token[0])
        return STATUS_OK;
    char *end = NULL;
    if (strncmp(token, what, bytes) == 0 && token[bytes] == '@' && token[bytes + 1] >= '0' &&
        token[bytes + 1] <= '9') {
        *place = strtoll(token + bytes + 1, &end, 10);
        if (!*end)
            return STATUS_OK;
    }
    details->field = "page_token";
    return fail(STATUS_INVALID_ARGUMENT,
                "\"%.80s\" is no place in this listing: use what its last page told", token);
}
