/* Owns the growth of a list of ids. Promises that a failed call leaves the list as it was. */
#include "coordinator/text/id_list.h"

#include <stdlib.h>

enum { FIRST_CAPACITY = 64 };

void id_list_deinit(struct id_list *list)
{
    free(list->ids);
    *list = (struct id_list){0};
}

/* Makes room for `more` further ids. */
static enum status reserve(struct id_list *list, size_t more)
{
    if (more <= list->capacity - list->count)
        return STATUS_OK;
    size_t wanted = list->count + more;
    size_t capacity = list->capacity ? list->capacity : FIRST_CAPACITY;
    while (capacity < wanted && capacity <= SIZE_MAX / 2)
        capacity *= 2;
    int32_t *ids = NULL;
    if (wanted >= more && capacity >= wanted && capacity <= SIZE_MAX / sizeof *ids)
        ids = realloc(list->ids, capacity * sizeof *ids);
    if (!ids)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu more token ids after %zu", more,
                    list->count);
    list->ids = ids;
    list->capacity = capacity;
    return STATUS_OK;
}

enum status id_list_add(struct id_list *list, int32_t id)
{
    TRY(reserve(list, 1));
    list->ids[list->count++] = id;
    return STATUS_OK;
}
