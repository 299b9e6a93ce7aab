/* Owns nothing. */
#include "coordinator/cli/result_line.h"

#include <stdio.h>
#include <string.h>

#include <jansson.h>

static int64_t integer_of(const json_t *object, const char *key)
{
    return (int64_t)json_number_value(json_object_get(object, key));
}

static void read_usage(Longhaul__V1__BatchUsage *usage, const json_t *body)
{
    const json_t *told = json_object_get(body, "usage");
    const json_t *details = json_object_get(told, "prompt_tokens_details");
    longhaul__v1__batch_usage__init(usage);
    usage->prompt_tokens = integer_of(told, "prompt_tokens");
    usage->completion_tokens = integer_of(told, "completion_tokens");
    usage->cached_tokens =
        details ? integer_of(details, "cached_tokens") : integer_of(told, "cached_tokens");
    usage->prefilled_tokens = usage->prompt_tokens - usage->cached_tokens;
}

bool result_line_read(struct result_line *line, const char *text, size_t bytes)
{
    /* A seed may be beyond the integers of jansson; what is read here is not. */
    json_t *root = json_loadb(text, bytes, JSON_REJECT_DUPLICATES | JSON_DECODE_INT_AS_REAL, NULL);
    const json_t *response = json_object_get(root, "response");
    const char *id = json_string_value(json_object_get(root, "custom_id"));
    const bool right = json_object_get(root, "id") && response && json_object_get(root, "error") &&
                       strlen(id ? id : "") < sizeof line->custom_id;
    memset(line, 0, sizeof *line);
    read_usage(&line->usage, json_object_get(response, "body"));
    if (right) {
        snprintf(line->custom_id, sizeof line->custom_id, "%s", id ? id : "");
        line->status_code = (int)integer_of(response, "status_code");
    }
    json_decref(root);
    return right;
}

bool result_line_stays(const struct result_line *line)
{
    return line->custom_id[0] && line->status_code >= 200 && line->status_code < 500;
}
