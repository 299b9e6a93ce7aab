/* Owns nothing. */
#include "coordinator/openai/openai_error.h"

#include <ctype.h>
#include <string.h>

#include "coordinator/openai/openai_request.h"
#include "proto/json_writer.h"

int openai_error_http_code(enum status status)
{
    switch (status) {
    case STATUS_OK:
        return 200;
    case STATUS_INVALID_ARGUMENT:
    case STATUS_OUT_OF_RANGE:
    case STATUS_UNIMPLEMENTED:
    case STATUS_FAILED_PRECONDITION:
        return 400;
    case STATUS_UNAUTHENTICATED:
        return 401;
    case STATUS_PERMISSION_DENIED:
        return 403;
    case STATUS_NOT_FOUND:
        return 404;
    case STATUS_ALREADY_EXISTS:
        return 409;
    case STATUS_RESOURCE_EXHAUSTED:
        return 429;
    case STATUS_CANCELLED:
        return 499;
    case STATUS_UNAVAILABLE:
        return 503;
    case STATUS_DEADLINE_EXCEEDED:
        return 504;
    default:
        return 500;
    }
}

static const char *type_of(enum status status)
{
    switch (openai_error_http_code(status)) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 429:
        return "rate_limit_error";
    default:
        return openai_error_http_code(status) < 499 ? "invalid_request_error" : "server_error";
    }
}

static void write_param(struct json_writer *writer, const struct status_details *details)
{
    static const char sampling[] = "sampling.";
    for (int i = 0; i < details->fact_count; i++)
        if (strcmp(details->facts[i].key, OPENAI_PARAMETER) == 0) {
            json_writer_text(writer, "param", details->facts[i].value);
            return;
        }
    const char *field = details->field;
    if (!field)
        json_writer_null(writer, "param");
    else if (strncmp(field, sampling, sizeof sampling - 1) == 0)
        json_writer_text(writer, "param", field + sizeof sampling - 1);
    else
        json_writer_text(writer, "param", field);
}

static void write_code(struct json_writer *writer, const struct status_details *details)
{
    char code[STATUS_DETAILS_TEXT_BYTES];
    const char *reason = details->reason;
    size_t i = 0;
    if (!reason) {
        json_writer_null(writer, "code");
        return;
    }
    if (strcmp(reason, "CONTEXT_EXCEEDED") == 0)
        reason = "CONTEXT_LENGTH_EXCEEDED"; /* as clients know it */
    for (; reason[i] && i < sizeof code - 1; i++)
        code[i] = (char)tolower((unsigned char)reason[i]);
    code[i] = 0;
    json_writer_text(writer, "code", code);
}

void openai_error_write(FILE *file, enum status status, const struct status_details *details,
                        const char *message)
{
    struct json_writer writer = {.file = file};
    json_writer_begin_object(&writer, NULL);
    json_writer_begin_object(&writer, "error");
    json_writer_text(&writer, "message", message);
    json_writer_text(&writer, "type", type_of(status));
    write_param(&writer, details);
    write_code(&writer, details);
    json_writer_end_object(&writer);
    json_writer_end_object(&writer);
}

void openai_error_tell(FILE *file, enum status status, const struct status_details *details,
                       const char *message)
{
    fputs("data: ", file);
    openai_error_write(file, status, details, message);
    fputs("\n\n", file);
}
