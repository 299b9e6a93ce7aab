/* Keys of a model's files that nobody here knows. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/model/text_view.h"

/* Whether the name says that what is computed may depend on it: it begins with rope or attention,
 * or has "scal" or "softcap" in it. */
bool spec_key_may_matter(struct text_view key);

/* The others, of one file. Starts as zeros but for the file. */
struct spec_keys_unknown {
    const char *file;
    int count;
    size_t used;
    char names[256]; /* the first ones */
};

void spec_keys_unknown_add(struct spec_keys_unknown *unknown, struct text_view key);

/* Logs one warning, or nothing. */
void spec_keys_unknown_tell(const struct spec_keys_unknown *unknown);
