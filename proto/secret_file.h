/* Files that hold one secret each, which their owner alone can read: a join secret, a tenant's
 * token. A secret is one word of 32 to 256 printable characters, and is never logged. */
#pragma once

#include <stdbool.h>

#include "proto/status.h"

enum { SECRET_LEAST = 32, SECRET_MOST = 256, SECRET_ROOM = SECRET_MOST + 1 };

/* What the secret is, for sentences. */
struct secret_kind {
    const char *name;   /* "join secret" */
    const char *option; /* by which another file is named: "--join-secret" */
};

/* Whether an open file, or folder, is this user's and nobody else's. FAILED_PRECONDITION
 * otherwise. */
MUST_CHECK enum status secret_file_check(int descriptor, const char *path,
                                         const struct secret_kind *kind, bool folder);

/* Reads a secret; zeros follow it. NOT_FOUND without the file, FAILED_PRECONDITION when it is not
 * this user's or others can read it, UNAVAILABLE while it is empty, INVALID_ARGUMENT when it holds
 * no secret. */
MUST_CHECK enum status secret_file_read(char text[SECRET_ROOM], const char *path,
                                        const struct secret_kind *kind);

/* 256 bits at random, as 64 hexadecimal digits. */
MUST_CHECK enum status secret_file_draw(char text[SECRET_ROOM], const struct secret_kind *kind);
