/* The digest of what lies at a path: a file's bytes, or the names and bytes of a folder's files. */
#pragma once

#include "proto/status.h"

enum { CONTENT_DIGEST_BYTES = 33 };

/* XXH3 128, 32 lower-case hexadecimal digits and a 0. NOT_FOUND where nothing is there. */
MUST_CHECK enum status content_digest(char hex[CONTENT_DIGEST_BYTES], const char *path);
