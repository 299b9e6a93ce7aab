/* A conversation to the ids a model was trained on: the model's chat template is run, within limits
 * (coordinator/jinja/jinja_template.h). What the template's author wrote may become control tokens;
 * what a conversation brings is plain text, so that a document cannot forge a turn.
 *
 * A chat does not change after it was created: any number of threads may use one.
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

/* Borrows `tokenizer`, copies what it needs of `vocab`. `template`: "auto" for the model's own, the
 * name of one that comes with longhaul (chat_builtin.h), or a file. UNIMPLEMENTED, mentioning
 * --chat-template and --raw, where the model has none or one that cannot write a question: each is
 * tried. INVALID_ARGUMENT for a name that is neither. */
MUST_CHECK enum status chat_create(struct chat **chat, const struct tokenizer *tokenizer,
                                   const struct vocab *vocab, const char *template);

/* Accepts NULL. */
void chat_destroy(struct chat *chat);

/* Where the template is from: "the model's own", the name or the file that it was asked for by. */
const char *chat_origin(const struct chat *chat);

/* Appends the conversation and the opening of the assistant's answer. INVALID_ARGUMENT for no
 * message, another role, content that is no UTF-8, or a conversation that the template refuses;
 * UNIMPLEMENTED where it writes here what looks like a control token and is none. On failure
 * the list is as it was. */
MUST_CHECK enum status chat_render(const struct chat *chat, struct id_list *ids,
                                   const struct chat_message *messages, size_t count);
