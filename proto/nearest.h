/* "Did you mean": the known name that a mistyped one most likely stands for. */
#pragma once

#include <stddef.h>

/* The edits between two words: insert, delete, replace, swap two neighbours. Words beyond 63 bytes
 * are cut. */
size_t nearest_distance(const char *a, const char *b);

/* The name nearest to `word`, or NULL when none is near (more than a third of the word's letters
 * differ, and at least 2). */
const char *nearest_name(const char *word, const char *const *names, size_t count);
