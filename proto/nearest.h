/* "Did you mean": the known name that a mistyped one most likely stands for. */
#pragma once

#include <stddef.h>

/* The edits between two words, upper and lower case alike: insert, delete, replace, swap two
 * neighbours. Words beyond 63 bytes are cut. */
size_t nearest_distance(const char *a, const char *b);

/* The most edits at which a name is still near `word`: none up to two letters, then 1, from six
 * letters on 2, from ten on 3. */
size_t nearest_edits_most(const char *word);

/* The name nearest to `word`, or the only one that begins with it; NULL where none is near. */
const char *nearest_name(const char *word, const char *const *names, size_t count);
