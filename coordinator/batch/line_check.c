/* Owns a checked line's texts. */
#include "coordinator/batch/line_check.h"

#include <string.h>

enum status line_check_url(char *endpoint, struct status_details *details, const char *url)
{
    if (!endpoint[0])
        memcpy(endpoint, url, strlen(url) + 1);
    if (strcmp(endpoint, url) == 0)
        return STATUS_OK;
    details->field = "url";
    return fail(STATUS_INVALID_ARGUMENT, "url is %s: this batch's lines have %s", url, endpoint);
}

static enum status set_failed(struct checked_line *checked, const struct line_check_place *place,
                              enum status status, const struct status_details *details)
{
    const struct line_result_name name = {place->batch_id, place->number, checked->custom_id};
    TRY(line_result_failure(&checked->failed, &name, status, details, status_message()));
    checked->line.failed_code = checked->failed.status_code;
    return STATUS_OK;
}

_Static_assert((int)BATCH_LINE_URL_BYTES <= (int)STORE_ENDPOINT_BYTES,
               "a line's url is an endpoint");

enum status line_check(struct checked_line *checked, struct line_request *request,
                       const struct line_request_tools *tools, const struct line_check_place *place,
                       const char *text, size_t bytes)
{
    struct status_details details;
    memset(checked, 0, sizeof *checked);
    checked->line.offset = place->offset;
    checked->line.bytes = place->input_bytes;
    checked->line.digest = store_line_digest(text, bytes);
    enum status status = line_request_init(request, &details, tools, place->tenant, text, bytes);
    if (status == STATUS_OK)
        status = line_check_url(place->endpoint, &details, request->parts.url);
    memcpy(checked->custom_id, request->parts.custom_id, sizeof checked->custom_id);
    if (status == STATUS_OK) {
        memcpy(checked->document, request->document, sizeof checked->document);
        checked->line.queued_tokens =
            (int64_t)request->ids.count + line_request_answer_tokens(request);
        checked->line.order_key_bytes = panel_chain_key(&request->chain, checked->order_key);
    } else if (line_request_is_wrong(status)) {
        status = set_failed(checked, place, status, &details);
    }
    line_check_settle(checked);
    return status;
}

void line_check_settle(struct checked_line *checked)
{
    struct store_new_line *line = &checked->line;
    line->custom_id = checked->custom_id[0] ? checked->custom_id : NULL;
    line->document = checked->document[0] ? checked->document : NULL;
    line->order_key = checked->order_key;
    line->failed_body = checked->failed.json;
    line->failed_body_bytes = checked->failed.bytes;
}

void line_check_deinit(struct checked_line *checked)
{
    line_result_deinit(&checked->failed);
}
