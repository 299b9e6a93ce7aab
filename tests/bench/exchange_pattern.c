/* Pure. */
#include "tests/bench/exchange_pattern.h"

/* Neighbouring bytes, ranks and rounds differ: a part at the wrong place or of an earlier round is
 * seen. SplitMix64's mixing, of the place by eights. */
static uint64_t word_at(size_t word, int rank, uint64_t round)
{
    uint64_t z = (uint64_t)word * 0x9e3779b97f4a7c15 + (uint64_t)rank * 0xd1b54a32d192ed03 +
                 round * 0x8cb92ba72f3d8dd7;
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
    z = (z ^ z >> 27) * 0x94d049bb133111eb;
    return z ^ z >> 31;
}

static unsigned char byte_at(size_t place, int rank, uint64_t round)
{
    return (unsigned char)(word_at(place / 8, rank, round) >> place % 8 * 8);
}

void exchange_pattern_fill(unsigned char *bytes, size_t count, int rank, uint64_t round)
{
    for (size_t i = 0; i < count; i++)
        bytes[i] = byte_at(i, rank, round);
}

size_t exchange_pattern_wrong(const unsigned char *bytes, size_t count, int rank, uint64_t round)
{
    size_t wrong = 0;
    for (size_t i = 0; i < count; i++)
        wrong += bytes[i] != byte_at(i, rank, round);
    return wrong;
}
