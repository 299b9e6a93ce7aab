/* White space as the oracle's \s has it: Unicode's White_Space. */
#pragma once

#include <stddef.h>

/* Where the white space that ends at `end` begins, not before `first`. */
size_t white_space_before(const char *text, size_t end, size_t first);

/* Where the white space that begins at `first` ends, at most at `bytes`. */
size_t white_space_behind(const char *text, size_t first, size_t bytes);
