/* A conversation to the ids a model was trained on: the form is recognised by the model file's chat
 * template, which is never run. Control tokens go in as ids; role and content are plain text, so
 * that a document cannot forge a turn.
 */
#pragma once

#include <stddef.h>

#include "coordinator/text/tokenizer.h"
#include "proto/status.h"

struct chat;
struct vocab;

/* Texts with lengths; need not end in 0. Borrowed. */
struct chat_message {
    const char *role; /* "system", "user", "assistant" */
    size_t role_bytes;
    const char *content;
    size_t content_bytes;
};

/* Borrows `tokenizer`, copies what it needs of `vocab`. `form` is a name of chat_form_named, or
 * "auto": the one that the file's chat template is. UNIMPLEMENTED, mentioning --chat-template and
 * --raw, where the file has no template or one that is not known, or lacks the form's tokens. */
MUST_CHECK enum status chat_create(struct chat **chat, const struct tokenizer *tokenizer,
                                   const struct vocab *vocab, const char *form);

/* Accepts NULL. */
void chat_destroy(struct chat *chat);

/* "ChatML", "Llama 3", "Llama 3.1". */
const char *chat_family(const struct chat *chat);

/* For tests: the system message that is added where a conversation does not start with one, in some
 * forms before one that it starts with; "" where none is. */
const char *chat_default_system(const struct chat *chat);

/* Appends the conversation and the opening of the assistant's answer. INVALID_ARGUMENT for no
 * message, another role, or content that is no UTF-8. On failure the list is as it was. */
MUST_CHECK enum status chat_render(const struct chat *chat, struct id_list *ids,
                                   const struct chat_message *messages, size_t count);
