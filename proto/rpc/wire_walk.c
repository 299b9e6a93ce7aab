/* Owns nothing. Promises to stay within [at, end) whatever the bytes are. */
#include "proto/rpc/wire_walk.h"

/* Length of the varint at `at`, 0 when it is cut off or longer than ten bytes. */
static size_t varint(const uint8_t *at, const uint8_t *end, uint64_t *value)
{
    *value = 0;
    for (size_t i = 0; i < 10 && at + i < end; i++) {
        *value |= (uint64_t)(at[i] & 0x7f) << (7 * i);
        if (!(at[i] & 0x80))
            return i + 1;
    }
    return 0;
}

/* Sets `bytes` and `size` of the field and returns whether they lie within the walk. */
static bool payload(struct wire_walk *walk, struct wire_field *field)
{
    size_t left = (size_t)(walk->end - walk->at);
    uint64_t value = 0;
    size_t used = 0;
    field->bytes = walk->at;
    switch (field->wire_type) {
    case 0:
        field->size = varint(walk->at, walk->end, &value);
        return field->size > 0;
    case 1:
        field->size = 8;
        return left >= 8;
    case 2:
        used = varint(walk->at, walk->end, &value);
        if (!used || value > left - used)
            return false;
        field->bytes = walk->at + used;
        field->size = (size_t)value;
        return true;
    case 5:
        field->size = 4;
        return left >= 4;
    default:
        return false;
    }
}

bool wire_walk_next(struct wire_walk *walk, struct wire_field *field, bool *broken)
{
    *broken = false;
    if (walk->at == walk->end)
        return false;
    *broken = true;
    uint64_t key = 0;
    size_t used = varint(walk->at, walk->end, &key);
    if (!used || key >> 3 == 0 || key >> 3 > 0x1fffffff)
        return false;
    walk->at += used;
    field->number = (uint32_t)(key >> 3);
    field->wire_type = (uint32_t)(key & 7);
    if (!payload(walk, field))
        return false;
    walk->at = field->bytes + field->size;
    *broken = false;
    return true;
}
