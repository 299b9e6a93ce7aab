/* What is written like a control token of a chat, "<|...|>" or the same with full-width bars
 * (U+FF5C), as DeepSeek's models write it: no text of a conversation may become one. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

/* A mark that is looked for in a text is shorter, and stands on one line. */
enum { TURN_MARK_BYTES_MAX = 64 };

/* Whether the whole text has that shape; of any length. */
bool turn_mark_is(const char *text, size_t bytes);

/* The first place in text[from, bytes) where a mark stands, and its length. Returns `bytes` where
 * there is none. */
size_t turn_mark_find(size_t *length, const char *text, size_t from, size_t bytes);
