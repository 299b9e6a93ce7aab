/* Owns the texts of a chat. Promises that a turn that was not answered can be taken back. */
#include "coordinator/cli/conversation.h"

#include <stdlib.h>
#include <string.h>

void conversation_deinit(struct conversation *conversation)
{
    while (conversation->count > 0)
        conversation_drop(conversation);
    free(conversation->turns);
    free(conversation->pointers);
    *conversation = (struct conversation){0};
}

static enum status grow(struct conversation *conversation)
{
    size_t room = conversation->room ? 2 * conversation->room : 16;
    Longhaul__V1__ChatMessage *turns = realloc(conversation->turns, room * sizeof *turns);
    if (turns)
        conversation->turns = turns;
    Longhaul__V1__ChatMessage **pointers = realloc(conversation->pointers, room * sizeof *pointers);
    if (pointers)
        conversation->pointers = pointers;
    if (!turns || !pointers)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the conversation");
    conversation->room = room;
    return STATUS_OK;
}

enum status conversation_add(struct conversation *conversation, Longhaul__V1__Role role,
                             const char *text)
{
    if (conversation->count == conversation->room)
        TRY(grow(conversation));
    char *copy = strdup(text);
    if (!copy)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the conversation");
    Longhaul__V1__ChatMessage *turn = &conversation->turns[conversation->count++];
    longhaul__v1__chat_message__init(turn);
    turn->role = role;
    turn->content = copy;
    return STATUS_OK;
}

void conversation_drop(struct conversation *conversation)
{
    free(conversation->turns[--conversation->count].content);
}

Longhaul__V1__Prompt *conversation_prompt(struct conversation *conversation)
{
    for (size_t i = 0; i < conversation->count; i++)
        conversation->pointers[i] = &conversation->turns[i];
    longhaul__v1__chat__init(&conversation->chat);
    conversation->chat.n_messages = conversation->count;
    conversation->chat.messages = conversation->pointers;
    longhaul__v1__prompt__init(&conversation->prompt);
    conversation->prompt.content_case = LONGHAUL__V1__PROMPT__CONTENT_CHAT;
    conversation->prompt.chat = &conversation->chat;
    return &conversation->prompt;
}
