/* What an echo worker answers: every token follows from the prompt's ids and the token's place in
 * the answer, from nothing else. echo_oracle.py says the same in Python. */
#pragma once

#include <stdint.h>

/* FNV-1a, a whole id at a time. */
static inline uint64_t echo_answer_prompt(const int32_t *ids, int64_t count)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325);
    for (int64_t i = 0; i < count; i++)
        hash = (hash ^ (uint32_t)ids[i]) * UINT64_C(0x100000001b3);
    return hash;
}

/* Of token `place` of the answer: splitmix64 of the prompt's number. */
static inline uint64_t echo_answer_draw(uint64_t prompt, int64_t place)
{
    uint64_t z = prompt + (uint64_t)(place + 1) * UINT64_C(0x9e3779b97f4a7c15);
    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}
