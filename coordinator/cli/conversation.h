/* The turns of a chat, kept by the client: each request carries all of them. */
#pragma once

#include <stddef.h>

#include "longhaul/v1/inference.pb-c.h"
#include "proto/status.h"

/* {0} is an empty one. */
struct conversation {
    Longhaul__V1__ChatMessage *turns; /* [count]; the contents are owned */
    size_t count, room;
    Longhaul__V1__ChatMessage **pointers; /* [room] */
    Longhaul__V1__Chat chat;
    Longhaul__V1__Prompt prompt; /* points into the rest; set by conversation_prompt */
};

void conversation_deinit(struct conversation *conversation);

/* Copies the text. */
MUST_CHECK enum status conversation_add(struct conversation *conversation, Longhaul__V1__Role role,
                                        const char *text);

/* Takes the last turn back. */
void conversation_drop(struct conversation *conversation);

/* The prompt that asks for the next turn; valid until the conversation changes. */
Longhaul__V1__Prompt *conversation_prompt(struct conversation *conversation);
