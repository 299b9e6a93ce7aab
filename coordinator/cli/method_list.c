/* Owns nothing. Promises that each spelling that was taken is a method's. */
#include "coordinator/cli/method_list.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

/* Whether the part goes on with the parameters of the method before it: its "=" comes first. */
static bool goes_on(const char *part)
{
    const size_t first = strcspn(part, "=:,");
    return part[first] == '=';
}

/* The bytes of the first method: up to a comma behind which another begins. */
static size_t first_bytes(const char *text)
{
    size_t end = strcspn(text, ",");
    while (text[end] == ',' && goes_on(text + end + 1))
        end += 1 + strcspn(text + end + 1, ",");
    return end;
}

enum status method_list_parse(struct method_list *list, const char *text, int64_t trained_tokens)
{
    struct method method;
    list->count = 0;
    for (const char *at = text;; at++) {
        const size_t bytes = first_bytes(at);
        if (list->count == METHOD_LIST_MAX)
            return fail(STATUS_INVALID_ARGUMENT, "--method: more than %d methods", METHOD_LIST_MAX);
        if (bytes >= METHOD_TEXT_BYTES)
            return fail(STATUS_INVALID_ARGUMENT, "--method: a method of more than %d characters",
                        METHOD_TEXT_BYTES - 1);
        char *spelling = list->spellings[list->count++];
        snprintf(spelling, METHOD_TEXT_BYTES, "%.*s", (int)bytes, at);
        if (method_parse(&method, spelling, trained_tokens) != STATUS_OK)
            return fail(STATUS_INVALID_ARGUMENT, "--method: %s", status_message());
        at += bytes;
        if (!*at)
            return STATUS_OK;
    }
}
