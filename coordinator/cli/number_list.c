/* Owns nothing. Promises that a list that was taken has one value at least. */
#include "coordinator/cli/number_list.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum status number_list_parse(struct number_list *list, const char *option, const char *text,
                              int64_t least, int64_t most)
{
    struct number_list made = {.count = 0};
    for (const char *at = text;; at++) {
        char *end = NULL;
        errno = 0;
        const long long value = strtoll(at, &end, 10);
        const int bytes = (int)strcspn(at, ",");
        if (at[0] < '0' || at[0] > '9' || (*end && *end != ','))
            return fail(STATUS_INVALID_ARGUMENT, "--%s: \"%.*s\" is not a whole number", option,
                        bytes, at);
        if (errno == ERANGE || value < least || value > most)
            return fail(STATUS_INVALID_ARGUMENT, "--%s: %.*s is outside %lld to %lld", option,
                        bytes, at, (long long)least, (long long)most);
        if (made.count == NUMBER_LIST_MAX)
            return fail(STATUS_INVALID_ARGUMENT, "--%s: more than %d values", option,
                        NUMBER_LIST_MAX);
        made.values[made.count++] = value;
        at = end;
        if (!*at)
            break;
    }
    *list = made;
    return STATUS_OK;
}

int64_t number_list_most(const struct number_list *list)
{
    int64_t most = 0;
    for (size_t i = 0; i < list->count; i++)
        most = list->values[i] > most ? list->values[i] : most;
    return most;
}
