/* Owns the text of one output line. */
#include "coordinator/batch/line_result.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/openai/batch_line.h"
#include "coordinator/openai/openai_error.h"

enum { ID_BYTES = 128 };

/* Where a result is being written. */
struct writing {
    char id[ID_BYTES], request_id[ID_BYTES];
    struct batch_line_result line;
};

static void begin(struct writing *writing, const struct line_result_name *name)
{
    snprintf(writing->id, sizeof writing->id, "batch_req_%s_%" PRId64, name->batch_id, name->line);
    snprintf(writing->request_id, sizeof writing->request_id, "req_%s_%" PRId64, name->batch_id,
             name->line);
    writing->line = (struct batch_line_result){
        .id = writing->id,
        .custom_id = name->custom_id[0] ? name->custom_id : NULL,
        .request_id = writing->request_id,
    };
}

static enum status write(struct line_result *result, const struct batch_line_result *line)
{
    struct line_result made = {.status_code = line->status_code};
    FILE *file = open_memstream(&made.json, &made.bytes);
    if (!file)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a line's result");
    batch_line_write(file, line);
    const bool wrong = ferror(file);
    if (fclose(file) != 0 || wrong) {
        free(made.json);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a line's result");
    }
    *result = made;
    return STATUS_OK;
}

/* A body in memory that the caller frees. */
struct body {
    char *text;
    size_t bytes;
    FILE *file;
};

static enum status body_open(struct body *body)
{
    *body = (struct body){.text = NULL};
    body->file = open_memstream(&body->text, &body->bytes);
    return body->file ? STATUS_OK
                      : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the body of a result");
}

static enum status write_with(struct line_result *result, struct writing *writing,
                              struct body *body)
{
    const bool wrong = ferror(body->file);
    enum status status = fclose(body->file) != 0 || wrong
                             ? fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an answer's body")
                             : STATUS_OK;
    writing->line.body = body->text;
    writing->line.body_bytes = body->bytes;
    if (status == STATUS_OK)
        status = write(result, &writing->line);
    free(body->text);
    return status;
}

enum status line_result_answer(struct line_result *result, const struct line_result_name *name,
                               const struct openai_answer *answer)
{
    struct writing writing;
    struct body body;
    begin(&writing, name);
    TRY(body_open(&body));
    openai_answer_write(answer, body.file);
    writing.line.status_code = 200;
    return write_with(result, &writing, &body);
}

enum status line_result_failure(struct line_result *result, const struct line_result_name *name,
                                enum status status, const struct status_details *details,
                                const char *sentence)
{
    struct writing writing;
    struct body body;
    begin(&writing, name);
    TRY(body_open(&body));
    openai_error_write(body.file, status, details, sentence);
    writing.line.status_code = openai_error_http_code(status);
    return write_with(result, &writing, &body);
}

enum status line_result_unanswered(struct line_result *result, const struct line_result_name *name,
                                   enum store_line_state state)
{
    struct writing writing;
    begin(&writing, name);
    enum { ENDED_BY_CLIENT = 499, TOO_LATE = 504 };
    writing.line.error_code = state == STORE_LINE_EXPIRED ? "batch_expired" : "batch_cancelled";
    writing.line.error_message = state == STORE_LINE_EXPIRED
                                     ? "the batch expired before this line was answered"
                                     : "the batch was cancelled before this line was answered";
    TRY(write(result, &writing.line));
    result->status_code = state == STORE_LINE_EXPIRED ? TOO_LATE : ENDED_BY_CLIENT;
    return STATUS_OK;
}

enum status line_result_told(struct line_result *result, const char *batch_id,
                             const struct store_told_result *told)
{
    const struct line_result_name name = {batch_id, told->line, told->custom_id};
    if (told->damaged != STATUS_OK) {
        const struct status_details details = {.reason = "RECORD_DAMAGED"};
        return line_result_failure(result, &name, told->damaged, &details, told->complaint);
    }
    if (!told->body)
        return line_result_unanswered(result, &name, told->state);
    result->json = strndup(told->body, told->body_bytes);
    if (!result->json)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a result of %zu bytes",
                    told->body_bytes);
    result->bytes = told->body_bytes;
    result->status_code = told->status_code;
    return STATUS_OK;
}

void line_result_deinit(struct line_result *result)
{
    free(result->json);
    *result = (struct line_result){.json = NULL};
}
