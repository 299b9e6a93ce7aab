/* Owns nothing. */
#include "coordinator/eval/eval_uuid.h"

#include <inttypes.h>
#include <stdio.h>

void eval_uuid_draw(char uuid[EVAL_UUID_BYTES], struct eval_random *random)
{
    uint32_t word[4];
    for (int i = 0; i < 4; i++)
        word[i] = eval_random_bits(random);
    word[1] = (word[1] & 0xffff0fffu) | 0x4000u;
    word[2] = (word[2] & 0x3fffffffu) | 0x80000000u;
    snprintf(uuid, EVAL_UUID_BYTES,
             "%08" PRIx32 "-%04" PRIx32 "-%04" PRIx32 "-%04" PRIx32 "-%04" PRIx32 "%08" PRIx32,
             word[0], word[1] >> 16, word[1] & 0xffffu, word[2] >> 16, word[2] & 0xffffu, word[3]);
}
