/* The digest by which two processes know that they read the same model. */
#pragma once

#include <stddef.h>

#include "proto/model/model.h"

enum { DIGEST_HEX_BYTES = 33 };

/* XXH3 128 of the whole file, or of all files of a directory, 32 lower-case hexadecimal digits and
 * a 0. Reads every byte; keep the result. */
void digest_model(char hex[DIGEST_HEX_BYTES], const struct model *model);

/* The same of bytes in memory. */
void digest_bytes(char hex[DIGEST_HEX_BYTES], const void *data, size_t bytes);
