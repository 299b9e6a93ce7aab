/* The lines of OpenAI's Batch files: one request a line in, one result a line out.
 *
 *   in   {"custom_id": "a", "method": "POST", "url": "/v1/completions", "body": {...}}
 *   out  {"id": "batch_req_...", "custom_id": "a", "response": {"status_code": 200,
 *         "request_id": "...", "body": {...}}, "error": null}
 */
#pragma once

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/rpc/status_details.h"
#include "proto/status.h"

enum { BATCH_LINE_ID_BYTES = 513, BATCH_LINE_URL_BYTES = 64 };

struct batch_line {
    char custom_id[BATCH_LINE_ID_BYTES]; /* 1 to 512 bytes */
    char url[BATCH_LINE_URL_BYTES];      /* one that openai_request_parse takes */
    const char *body;                    /* a JSON object, a slice of the line; not looked into */
    size_t body_bytes;
};

/* Looks at a line (without its line feed) in one pass and without allocation. INVALID_ARGUMENT says
 * what is wrong and at which byte; the details name the key, and `line` keeps what was read before:
 * a custom_id where there is one, else "". */
MUST_CHECK enum status batch_line_parse(struct batch_line *line, struct status_details *details,
                                        const char *text, size_t bytes);

struct batch_line_result {
    const char *id;         /* "batch_req_" and what the caller likes */
    const char *custom_id;  /* NULL: the line has none */
    int status_code;        /* 0: there was no response, `error_code` says why */
    const char *request_id; /* of the response */
    const char *body;       /* of the response: JSON, as it is */
    size_t body_bytes;
    const char *error_code; /* "batch_expired", "batch_cancelled", ...; NULL: null */
    const char *error_message;
};

/* Writes one line without its line feed. */
void batch_line_write(FILE *file, const struct batch_line_result *result);
