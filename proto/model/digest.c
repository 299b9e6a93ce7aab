/* Owns the digest of a model file. Promises the same 32 digits for the same bytes on every machine.
 */
#include "proto/model/digest.h"

#include <stdio.h>
#include <xxhash.h>

void digest_model(char hex[DIGEST_HEX_BYTES], const struct model *model)
{
    size_t bytes;
    const void *data = gguf_data(model_gguf(model), &bytes);
    XXH128_hash_t hash = XXH3_128bits(data, bytes);
    snprintf(hex, DIGEST_HEX_BYTES, "%016llx%016llx", (unsigned long long)hash.high64,
             (unsigned long long)hash.low64);
}
