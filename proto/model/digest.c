/* Owns the digest of a model's files. Promises the same 32 digits for the same bytes on every
 * machine.
 */
#include "proto/model/digest.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>
#include <xxhash.h>

/* The files of a directory, or the parts of a split file, one after the other, each with its name
 * and length before it, so that bytes cannot move from one to the next. */
static XXH128_hash_t hash_files(const struct checkpoint *checkpoint)
{
    XXH3_state_t *state = XXH3_createState();
    assert(state);
    XXH3_128bits_reset(state);
    for (int i = 0; i < checkpoint_file_count(checkpoint); i++) {
        const struct checkpoint_file *file = checkpoint_file(checkpoint, i);
        char length[32];
        snprintf(length, sizeof length, "%zu", file->bytes);
        XXH3_128bits_update(state, file->name, strlen(file->name) + 1);
        XXH3_128bits_update(state, length, strlen(length) + 1);
        XXH3_128bits_update(state, file->data, file->bytes);
    }
    XXH128_hash_t hash = XXH3_128bits_digest(state);
    XXH3_freeState(state);
    return hash;
}

static void spell(char hex[DIGEST_HEX_BYTES], XXH128_hash_t hash)
{
    snprintf(hex, DIGEST_HEX_BYTES, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}

void digest_bytes(char hex[DIGEST_HEX_BYTES], const void *data, size_t bytes)
{
    spell(hex, XXH3_128bits(data, bytes));
}

void digest_model(char hex[DIGEST_HEX_BYTES], const struct model *model)
{
    const struct checkpoint *checkpoint = model_checkpoint(model);
    const struct checkpoint_file *file = checkpoint_file(checkpoint, 0);
    const bool several = checkpoint_directory(checkpoint) || checkpoint_file_count(checkpoint) > 1;
    spell(hex, several ? hash_files(checkpoint) : XXH3_128bits(file->data, file->bytes));
}
