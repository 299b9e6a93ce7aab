/* Owns nothing. Promises bytes that a stock client's google.rpc.Status can parse. */
#include "proto/rpc/status_details.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "proto/rpc/status_details.pb-c.h"

enum { PART_BYTES_MAX = 2048 };

static const char error_info_url[] = "type.googleapis.com/google.rpc.ErrorInfo";
static const char retry_info_url[] = "type.googleapis.com/google.rpc.RetryInfo";

/* One detail in the making: its message, packed. */
struct part {
    Longhaul__Rpc__Detail detail;
    uint8_t bytes[PART_BYTES_MAX];
};

void status_details_fact(struct status_details *details, const char *key, const char *format, ...)
{
    if (details->fact_count == STATUS_DETAILS_FACTS_MAX)
        return;
    struct status_fact *fact = &details->facts[details->fact_count++];
    fact->key = key;
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(fact->value, sizeof fact->value, format, arguments);
    va_end(arguments);
}

static bool part_set(struct part *part, const char *type_url, const ProtobufCMessage *message)
{
    if (protobuf_c_message_get_packed_size(message) > sizeof part->bytes)
        return false;
    longhaul__rpc__detail__init(&part->detail);
    part->detail.type_url = (char *)type_url;
    part->detail.value.data = part->bytes;
    part->detail.value.len = protobuf_c_message_pack(message, part->bytes);
    return true;
}

static bool error_info(struct part *part, const struct status_details *details)
{
    Longhaul__Rpc__ErrorInfo info = LONGHAUL__RPC__ERROR_INFO__INIT;
    Longhaul__Rpc__Fact facts[STATUS_DETAILS_FACTS_MAX];
    Longhaul__Rpc__Fact *pointers[STATUS_DETAILS_FACTS_MAX];
    for (int i = 0; i < details->fact_count; i++) {
        longhaul__rpc__fact__init(&facts[i]);
        facts[i].key = (char *)details->facts[i].key;
        facts[i].value = (char *)details->facts[i].value;
        pointers[i] = &facts[i];
    }
    info.reason = (char *)details->reason;
    info.domain = (char *)"longhaul";
    info.n_metadata = (size_t)details->fact_count;
    info.metadata = pointers;
    return part_set(part, error_info_url, &info.base);
}

static bool retry_info(struct part *part, const struct status_details *details)
{
    Longhaul__Rpc__Duration delay = LONGHAUL__RPC__DURATION__INIT;
    delay.seconds = details->retry_ms / 1000;
    delay.nanos = (int32_t)(details->retry_ms % 1000 * 1000000);
    Longhaul__Rpc__RetryInfo info = LONGHAUL__RPC__RETRY_INFO__INIT;
    info.retry_delay = &delay;
    return part_set(part, retry_info_url, &info.base);
}

static bool bad_request(struct part *part, const struct status_details *details,
                        const char *message)
{
    Longhaul__Rpc__FieldViolation violation = LONGHAUL__RPC__FIELD_VIOLATION__INIT;
    violation.field = (char *)details->field;
    violation.description = (char *)message;
    Longhaul__Rpc__FieldViolation *pointer = &violation;
    Longhaul__Rpc__BadRequest request = LONGHAUL__RPC__BAD_REQUEST__INIT;
    request.n_field_violations = 1;
    request.field_violations = &pointer;
    return part_set(part, "type.googleapis.com/google.rpc.BadRequest", &request.base);
}

bool status_details_pack(const struct status_details *details, grpc_slice *slice, int code,
                         const char *message)
{
    struct part parts[3];
    Longhaul__Rpc__Detail *pointers[3];
    size_t count = 0;
    if (details->reason && error_info(&parts[count], details))
        count++;
    if (details->retry_ms && retry_info(&parts[count], details))
        count++;
    if (details->field && bad_request(&parts[count], details, message))
        count++;
    if (count == 0)
        return false;
    for (size_t i = 0; i < count; i++)
        pointers[i] = &parts[i].detail;
    Longhaul__Rpc__Status status = LONGHAUL__RPC__STATUS__INIT;
    status.code = code;
    status.message = (char *)message;
    status.n_details = count;
    status.details = pointers;
    *slice = grpc_slice_malloc(longhaul__rpc__status__get_packed_size(&status));
    longhaul__rpc__status__pack(&status, GRPC_SLICE_START_PTR(*slice));
    return true;
}

static void read_error_info(struct status_advice *advice, const ProtobufCBinaryData *value)
{
    Longhaul__Rpc__ErrorInfo *info =
        longhaul__rpc__error_info__unpack(NULL, value->len, value->data);
    if (info)
        snprintf(advice->reason, sizeof advice->reason, "%s", info->reason);
    longhaul__rpc__error_info__free_unpacked(info, NULL);
}

static void read_retry_info(struct status_advice *advice, const ProtobufCBinaryData *value)
{
    enum { SECONDS_MAX = 86400 };
    Longhaul__Rpc__RetryInfo *info =
        longhaul__rpc__retry_info__unpack(NULL, value->len, value->data);
    const Longhaul__Rpc__Duration *delay = info ? info->retry_delay : NULL;
    if (delay && delay->seconds >= 0 && delay->seconds < SECONDS_MAX && delay->nanos >= 0)
        advice->retry_ms = delay->seconds * 1000 + delay->nanos / 1000000;
    longhaul__rpc__retry_info__free_unpacked(info, NULL);
}

void status_details_read(struct status_advice *advice, const uint8_t *bytes, size_t size)
{
    *advice = (struct status_advice){0};
    Longhaul__Rpc__Status *status = longhaul__rpc__status__unpack(NULL, size, bytes);
    for (size_t i = 0; status && i < status->n_details; i++) {
        const Longhaul__Rpc__Detail *detail = status->details[i];
        if (strcmp(detail->type_url, error_info_url) == 0)
            read_error_info(advice, &detail->value);
        else if (strcmp(detail->type_url, retry_info_url) == 0)
            read_retry_info(advice, &detail->value);
    }
    longhaul__rpc__status__free_unpacked(status, NULL);
}
