/* Hashes that depend on a key which nobody outside this process knows, so that no vocabulary and no
 * text can be made whose entries all fall into one place of a table.
 *
 * Source: J.-P. Aumasson, D. J. Bernstein, "SipHash: a fast short-input PRF" (2012).
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

struct secret_hash_key {
    uint64_t words[2];
};

/* Anew from the system, for each table. */
struct secret_hash_key secret_hash_draw(void);

/* SipHash-2-4 of `first` followed by `second`. */
uint64_t secret_hash_text(const struct secret_hash_key *key, const char *first, size_t first_bytes,
                          const char *second, size_t second_bytes);

/* Of one number, quicker. */
static inline uint64_t secret_hash_number(const struct secret_hash_key *key, uint64_t number)
{
    number = (number ^ key->words[0]) * (key->words[1] | 1);
    number = (number ^ number >> 32) * 0x9E3779B97F4A7C15u;
    number = (number ^ number >> 29) * (key->words[0] | 1);
    return number ^ number >> 32;
}
