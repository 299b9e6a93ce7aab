/* Owns nothing. Promises that each spelling that was taken is a method's. */
#include "coordinator/cli/method_list.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/own_table_file.h"

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

/* A file's table in place of its name. */
static enum status expand(char spelling[METHOD_TEXT_BYTES])
{
    char *expanded = NULL;
    TRY(own_table_file_expand(&expanded, spelling));
    const size_t bytes = strlen(expanded);
    if (bytes < METHOD_TEXT_BYTES)
        memcpy(spelling, expanded, bytes + 1);
    free(expanded);
    return bytes < METHOD_TEXT_BYTES
               ? STATUS_OK
               : fail(STATUS_INVALID_ARGUMENT, "--method: a method of more than %d characters",
                      METHOD_TEXT_BYTES - 1);
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
        TRY(expand(spelling));
        if (method_parse(&method, spelling, trained_tokens) != STATUS_OK)
            return fail(STATUS_INVALID_ARGUMENT, "--method: %s", status_message());
        at += bytes;
        if (!*at)
            return STATUS_OK;
    }
}
