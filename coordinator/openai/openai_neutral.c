/* Owns two tables: key, and the values that ask for nothing. null does so everywhere. */
#include "coordinator/openai/openai_neutral.h"

#include <string.h>

struct row {
    const char *key;
    const char *values; /* a JSON array of them; NULL: any value only names or hints */
};

static const struct row request_rows[] = {
    {"best_of", "[1]"},
    {"echo", "[false]"},
    {"suffix", "[\"\"]"},
    {"store", "[false]"},
    {"tools", "[[]]"},
    {"tool_choice", "[\"none\", \"auto\"]"},
    {"parallel_tool_calls", NULL},
    {"functions", "[[]]"},
    {"function_call", "[\"none\", \"auto\"]"},
    {"response_format", "[{\"type\": \"text\"}]"},
    {"modalities", "[[\"text\"]]"},
    {"audio", "[]"},
    {"prediction", "[]"},
    {"web_search_options", "[]"},
    {"service_tier", "[\"auto\", \"default\"]"},
    {"reasoning_effort", "[\"none\"]"},
    {"verbosity", "[\"medium\"]"},
    {"user", NULL},
    {"metadata", NULL},
    {"safety_identifier", NULL},
    {"prompt_cache_key", NULL},
    {"prompt_cache_retention", NULL},
};

/* What the client got with an answer and sends back with the conversation. */
static const struct row message_rows[] = {
    {"name", "[]"},          {"refusal", "[]"}, {"tool_calls", "[[]]"},
    {"function_call", "[]"}, {"audio", "[]"},   {"annotations", "[[]]"},
};

static bool is_neutral(const struct row *row, const json_t *value)
{
    if (json_is_null(value) || !row->values)
        return true;
    json_t *values = json_loads(row->values, 0, NULL);
    bool found = false;
    for (size_t i = 0; i < json_array_size(values); i++)
        found |= json_equal(json_array_get(values, i), value);
    json_decref(values);
    return found;
}

static const struct row *row_of(const struct row *rows, size_t count, const char *key)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(rows[i].key, key) == 0)
            return &rows[i];
    return NULL;
}

bool openai_neutral_check(enum status *status, const char *key, const json_t *value)
{
    const struct row *row = row_of(request_rows, sizeof request_rows / sizeof request_rows[0], key);
    if (!row)
        return false;
    *status = is_neutral(row, value)
                  ? STATUS_OK
                  : fail(STATUS_INVALID_ARGUMENT, "%s is not supported: leave it out", key);
    return true;
}

bool openai_neutral_in_message(const char *key, const json_t *value)
{
    const struct row *row = row_of(message_rows, sizeof message_rows / sizeof message_rows[0], key);
    return row && is_neutral(row, value);
}
