/* White space as Python counts it, in str.strip() and in its patterns. */
#pragma once

#include <stddef.h>

/* The bytes of the white space character that `text` begins with; 0 for another one. */
size_t jinja_space_bytes(const char *text, size_t bytes);

/* How many bytes of white space a text begins and ends with. */
size_t jinja_space_before(const char *text, size_t bytes);
size_t jinja_space_behind(const char *text, size_t bytes);
