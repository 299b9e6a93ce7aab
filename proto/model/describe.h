/* A model file in human form (`longhaul inspect`). */
#pragma once

#include <stdio.h>

#include "proto/status.h"

/* Describes any readable GGUF file, with what is not supported about it named in its last lines;
 * fails only where the file cannot be read as GGUF. */
MUST_CHECK enum status describe_text(FILE *out, const char *path);

/* One JSON object, ended by a newline: schema_version, the same facts, "supported" and
 * "unsupported" (a sentence). */
MUST_CHECK enum status describe_json(FILE *out, const char *path);
