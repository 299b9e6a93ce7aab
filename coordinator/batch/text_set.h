/* Which texts were seen, each by a hash of 128 bits: a few bytes a text, however long it is. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

/* {0} is empty. */
struct text_set {
    struct text_set_hash *hashes; /* [room]; all zero: free */
    size_t count, room;           /* room is a power of two, or 0 */
};

struct text_set_hash {
    uint64_t low, high;
};

bool text_set_has(const struct text_set *set, const char *text);

/* `*added` is false where it was there. */
MUST_CHECK enum status text_set_add(struct text_set *set, bool *added, const char *text);

void text_set_deinit(struct text_set *set);

/* 32 hexadecimal digits and a 0, of a text's hash. */
enum { TEXT_SET_HEX_BYTES = 33 };
void text_set_hex(char hex[TEXT_SET_HEX_BYTES], const char *text, size_t bytes);
