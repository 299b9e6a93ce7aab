/* The keys of a GGUF file that begin with its architecture's name. */
#pragma once

#include "proto/model/architecture.h"
#include "proto/model/gguf_value.h"
#include "proto/status.h"

struct spec_gguf_keys {
    const struct gguf *gguf;
    const struct architecture *architecture;
};

enum { SPEC_GGUF_KEY_BYTES = 96 };

struct spec_gguf_key {
    char text[SPEC_GGUF_KEY_BYTES];
};

/* The whole key; `rest` is what follows the architecture's name and its full stop. */
struct spec_gguf_key spec_gguf_key(const struct spec_gguf_keys *keys, const char *rest);

/* A key that is not known, and whose name says that it may change the arithmetic (spec_key.h), is
 * UNIMPLEMENTED by its name; the others that are not known are logged, in one line. */
MUST_CHECK enum status spec_gguf_keys_check(const struct spec_gguf_keys *keys);

/* What spec_gguf_keys_check knows, by its place in the list; NULL behind the last. For tests. */
const char *spec_gguf_keys_known(int place);

/* NULL where the file does not have it. */
const struct gguf_pair *spec_gguf_keys_find(const struct spec_gguf_keys *keys, const char *rest);

/* 1 .. last. UNIMPLEMENTED where the file has a value for each layer; else as gguf_value_integer.
 */
MUST_CHECK enum status spec_gguf_keys_int(int *value, const struct spec_gguf_keys *keys,
                                          const char *rest, int64_t last);
MUST_CHECK enum status spec_gguf_keys_int_or(int *value, const struct spec_gguf_keys *keys,
                                             const char *rest, int64_t last, int otherwise);
MUST_CHECK enum status spec_gguf_keys_float_or(double *value, const struct spec_gguf_keys *keys,
                                               const char *rest, double otherwise);
