/* Little-endian numbers as they are written; cursor.h reads them. Each returns where it ended. */
#pragma once

#include <stdint.h>

static inline uint8_t *cache_put_u32(uint8_t *at, uint32_t value)
{
    for (int i = 0; i < 4; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

static inline uint8_t *cache_put_u64(uint8_t *at, uint64_t value)
{
    for (int i = 0; i < 8; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}
