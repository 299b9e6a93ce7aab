/* Fields of OpenAI's requests that this server has nothing to do for, as long as they ask for
 * nothing: what libraries send because they always do. */
#pragma once

#include <stdbool.h>

#include <jansson.h>

#include "proto/status.h"

/* False for a key that OpenAI's requests do not have. Otherwise `*status` is OK for a value that
 * asks for nothing, and INVALID_ARGUMENT, with the key, for another. */
bool openai_neutral_check(enum status *status, const char *key, const json_t *value);

/* Whether a member of a message asks for nothing. */
bool openai_neutral_in_message(const char *key, const json_t *value);
