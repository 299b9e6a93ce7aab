/* Owns guarded memory: a block of its own with GUARD bytes of CANARY before and after. */
#include "tests/support/guarded.h"

#include <stdlib.h>
#include <string.h>

#include "tests/support/unit.h"

enum { GUARD = 256, CANARY = 0xa5 };

struct guarded guarded_create(size_t bytes, unsigned char fill)
{
    size_t whole = (bytes + 63) / 64 * 64;
    unsigned char *block = aligned_alloc(64, whole + 2 * GUARD);
    assert_non_null(block);
    memset(block, CANARY, whole + 2 * GUARD);
    memset(block + GUARD, fill, bytes);
    return (struct guarded){.at = block + GUARD, .bytes = bytes, .block = block};
}

void guarded_destroy(struct guarded *guarded)
{
    free(guarded->block);
    *guarded = (struct guarded){0};
}

void guarded_check(const struct guarded *guarded)
{
    size_t end = GUARD + (guarded->bytes + 63) / 64 * 64 + GUARD;
    for (size_t i = 0; i < GUARD; i++)
        assert_int_equal(guarded->block[i], CANARY);
    for (size_t i = GUARD + guarded->bytes; i < end; i++)
        assert_int_equal(guarded->block[i], CANARY);
}
