/* A form as browsers and libraries upload files (multipart/form-data, RFC 7578), read as it comes:
 * in any pieces, with memory that does not grow with it.
 *
 *   opening  --a boundary-->           after a boundary
 *   after a boundary --a line end-->   heading
 *                    --"--"-->         over: whatever follows is passed over
 *   heading  --an empty line-->        inside (row->begin)
 *   inside   --a boundary-->           after a boundary (row->end)
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "proto/status.h"

enum {
    HTTP_MULTIPART_BOUNDARY_MAX = 70,     /* RFC 2046 */
    HTTP_MULTIPART_HEADING_MAX = 4 << 10, /* bytes of a part's head */
    HTTP_MULTIPART_PARTS_MAX = 32,
    HTTP_MULTIPART_NAME_BYTES = 256,
};

/* What a part is told to; what they return ends the reading. */
struct http_multipart_row {
    /* `filename` is "" where the part is a plain field. */
    enum status (*begin)(void *context, const char *name, const char *filename);
    enum status (*data)(void *context, const char *bytes, size_t count);
    enum status (*end)(void *context);
};

enum http_multipart_state {
    HTTP_MULTIPART_OPENING,
    HTTP_MULTIPART_BOUNDARY,
    HTTP_MULTIPART_HEADING,
    HTTP_MULTIPART_INSIDE,
    HTTP_MULTIPART_OVER
};

struct http_multipart {
    const struct http_multipart_row *row;
    void *context;
    enum http_multipart_state state;
    char delimiter[HTTP_MULTIPART_BOUNDARY_MAX + 5]; /* line end, "--", boundary */
    size_t delimiter_bytes;
    size_t matched; /* of it, at the end of what was read */
    size_t lent;    /* so many of those are no part's: the line end before a part, or the form */
    char tail[2];   /* after a boundary */
    size_t tail_bytes;
    char heading[HTTP_MULTIPART_HEADING_MAX + 1];
    size_t heading_bytes;
    int parts;
};

/* `content_type` is the header's value, NULL without one. INVALID_ARGUMENT where it is no form or
 * has no boundary. */
MUST_CHECK enum status http_multipart_init(struct http_multipart *multipart,
                                           const struct http_multipart_row *row, void *context,
                                           const char *content_type);

/* INVALID_ARGUMENT for what is no form, and what `row` says. Not again after a failure. */
MUST_CHECK enum status http_multipart_take(struct http_multipart *multipart, const char *bytes,
                                           size_t count);

/* INVALID_ARGUMENT where the last boundary has not come. */
MUST_CHECK enum status http_multipart_finish(const struct http_multipart *multipart);
