/* "1,2,4": the values of an option that takes several. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

enum { NUMBER_LIST_MAX = 32 };

struct number_list {
    int64_t values[NUMBER_LIST_MAX];
    size_t count;
};

/* Replaces what the list holds. INVALID_ARGUMENT, with the option's name, for what is no whole
 * number in [least, most], for none and for too many. */
MUST_CHECK enum status number_list_parse(struct number_list *list, const char *option,
                                         const char *text, int64_t least, int64_t most);

/* 0 of an empty list. */
int64_t number_list_most(const struct number_list *list);
