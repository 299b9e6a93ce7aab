/* A failure as OpenAI's clients read it: {"error": {"message", "type", "param", "code"}}. */
#pragma once

#include <stdio.h>

#include "proto/rpc/status_details.h"
#include "proto/status.h"

/* 400 for what can never work, 401, 403, 404, 409, 429 for what may work later, 499 for what the
 * client ended, 500, 503, 504. */
int openai_error_http_code(enum status status);

/* One line without a line feed; `message` is the sentence of the fail(). `param` is the field that
 * the details name, `code` their reason in lower case (OpenAI's own word where it has one). */
void openai_error_write(FILE *file, enum status status, const struct status_details *details,
                        const char *message);

/* The same in the middle of a stream: "data: {...}" and an empty line. */
void openai_error_tell(FILE *file, enum status status, const struct status_details *details,
                       const char *message);
