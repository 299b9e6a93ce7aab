/* The `messages` of a chat as a conversation: roles, and contents as one text each. */
#pragma once

#include <stddef.h>

#include <jansson.h>

#include "longhaul/v1/inference.pb-c.h"
#include "proto/status.h"

struct openai_messages {
    Longhaul__V1__Chat chat;
    Longhaul__V1__ChatMessage *messages; /* [chat.n_messages] */
    char **joined; /* [chat.n_messages], contents that came in parts; else NULL */
};

void openai_messages_init(struct openai_messages *messages);

/* Texts point into `value`, which must live as long. INVALID_ARGUMENT names the message and what is
 * not supported: images, tool calls, names. Deinit it in either case. */
MUST_CHECK enum status openai_messages_read(struct openai_messages *messages, const json_t *value);

void openai_messages_deinit(struct openai_messages *messages);
