/* Owns nothing: the hash of texts, and where its keys come from. */
#include "coordinator/text/secret_hash.h"

#include <sys/random.h>

#include "proto/clock.h"

struct secret_hash_key secret_hash_draw(void)
{
    struct secret_hash_key key;
    /* It fails on systems without the call; then the key is one that is hard to foretell. */
    if (getrandom(&key, sizeof key, 0) != (ssize_t)sizeof key)
        key = (struct secret_hash_key){{(uint64_t)clock_now_ns(), (uint64_t)(uintptr_t)&key}};
    return key;
}

struct state {
    uint64_t v[4];
    uint64_t word; /* bytes that are no whole word yet, the first in the lowest place */
    size_t bytes;
};

static uint64_t turned(uint64_t word, int bits)
{
    return word << bits | word >> (64 - bits);
}

static void mix(uint64_t v[4], int rounds)
{
    for (int r = 0; r < rounds; r++) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = turned(v[1], 13) ^ v[0];
        v[3] = turned(v[3], 16) ^ v[2];
        v[0] = turned(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = turned(v[1], 17) ^ v[2];
        v[3] = turned(v[3], 21) ^ v[0];
        v[2] = turned(v[2], 32);
    }
}

static void take_word(struct state *state, uint64_t word)
{
    state->v[3] ^= word;
    mix(state->v, 2);
    state->v[0] ^= word;
}

static void take(struct state *state, const char *text, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++) {
        state->word |= (uint64_t)(uint8_t)text[i] << state->bytes % 8 * 8;
        if (++state->bytes % 8 == 0) {
            take_word(state, state->word);
            state->word = 0;
        }
    }
}

uint64_t secret_hash_text(const struct secret_hash_key *key, const char *first, size_t first_bytes,
                          const char *second, size_t second_bytes)
{
    struct state state = {
        .v = {key->words[0] ^ 0x736f6d6570736575u, key->words[1] ^ 0x646f72616e646f6du,
              key->words[0] ^ 0x6c7967656e657261u, key->words[1] ^ 0x7465646279746573u}};
    take(&state, first, first_bytes);
    take(&state, second, second_bytes);
    take_word(&state, state.word | (uint64_t)state.bytes << 56);
    state.v[2] ^= 0xFF;
    mix(state.v, 4);
    return state.v[0] ^ state.v[1] ^ state.v[2] ^ state.v[3];
}
