/* Owns nothing: how the keys of an architecture are spelt and read. */
#include "proto/model/spec_gguf_keys.h"

#include <stdio.h>

struct spec_gguf_key spec_gguf_key(const struct spec_gguf_keys *keys, const char *rest)
{
    struct spec_gguf_key key;
    snprintf(key.text, sizeof key.text, "%s.%s", keys->architecture->gguf, rest);
    return key;
}

const struct gguf_pair *spec_gguf_keys_find(const struct spec_gguf_keys *keys, const char *rest)
{
    return gguf_find_pair(keys->gguf, spec_gguf_key(keys, rest).text);
}

enum status spec_gguf_keys_int(int *value, const struct spec_gguf_keys *keys, const char *rest,
                               int64_t last)
{
    const struct spec_gguf_key key = spec_gguf_key(keys, rest);
    const struct gguf_pair *pair = gguf_find_pair(keys->gguf, key.text);
    if (pair && pair->type == GGUF_ARRAY)
        return gguf_fail(keys->gguf, pair->offset, STATUS_UNIMPLEMENTED, "per-layer",
                         "%s has a value for each layer, which is not supported", key.text);
    int64_t wide;
    TRY(gguf_value_integer(keys->gguf, &wide, key.text, 1, last));
    *value = (int)wide;
    return STATUS_OK;
}

enum status spec_gguf_keys_int_or(int *value, const struct spec_gguf_keys *keys, const char *rest,
                                  int64_t last, int otherwise)
{
    *value = otherwise;
    return spec_gguf_keys_find(keys, rest) ? spec_gguf_keys_int(value, keys, rest, last)
                                           : STATUS_OK;
}

enum status spec_gguf_keys_float_or(double *value, const struct spec_gguf_keys *keys,
                                    const char *rest, double otherwise)
{
    *value = otherwise;
    return spec_gguf_keys_find(keys, rest)
               ? gguf_value_float(keys->gguf, value, spec_gguf_key(keys, rest).text)
               : STATUS_OK;
}
