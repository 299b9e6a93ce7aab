/* Steps through the fields of protobuf bytes without unpacking them. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wire_walk {
    const uint8_t *at;
    const uint8_t *end;
};

struct wire_field {
    uint32_t number;
    uint32_t wire_type;   /* 0 varint, 1 eight bytes, 2 length-delimited, 5 four bytes */
    const uint8_t *bytes; /* of the payload; a varint's lie in it undecoded */
    size_t size;
};

/* False at the end and at bytes that break the format; then `*broken` tells which. */
bool wire_walk_next(struct wire_walk *walk, struct wire_field *field, bool *broken);
