/* Escapes in the strings of a template, as Python's. */
#pragma once

#include <stddef.h>

/* Writes at most `bytes` bytes, and says how many. NULL, or what is wrong. An escape that Python
 * does not know keeps its backslash. */
const char *jinja_escape_read(char *to, size_t *to_bytes, const char *text, size_t bytes);
