/* What is well-formed UTF-8: no overlong forms, no surrogates, at most U+10FFFF. */
#pragma once

#include <stddef.h>

/* U+FFFD, which stands for bytes that are no character. */
#define UTF8_REPLACEMENT "\xEF\xBF\xBD"

enum { UTF8_SEQUENCE_BYTES_MAX = 4 };

/* Looks at the start of `text` (bytes > 0). n > 0: a whole character of n bytes. 0: a character
 * that is cut off by the end. n < 0: the first -n bytes can begin no character, whatever
 * follows. */
int utf8_sequence(const char *text, size_t bytes);
