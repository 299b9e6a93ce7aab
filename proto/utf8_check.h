/* Whether a whole text is well-formed UTF-8 (utf8.h). */
#pragma once

#include <stddef.h>

#include "proto/status.h"

/* INVALID_ARGUMENT with the offset of the first bad byte; `what` names the text in the sentence. */
MUST_CHECK enum status utf8_check(const char *text, size_t bytes, const char *what);
