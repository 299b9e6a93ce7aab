/* A growable list of token ids. The caller owns the struct, the list owns `ids`. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

/* {0} is an empty list. */
struct id_list {
    int32_t *ids; /* [count]; NULL where nothing was ever added */
    size_t count;
    size_t capacity;
};

/* Frees the ids and leaves an empty list. */
void id_list_deinit(struct id_list *list);

/* RESOURCE_EXHAUSTED where memory ends. */
MUST_CHECK enum status id_list_add(struct id_list *list, int32_t id);
