/* The chat forms that are known, and which of them a template is. */
#pragma once

#include <stdbool.h>

#include "proto/model/text_view.h"
#include "proto/status.h"

/* A turn is: start, role, header_end, before_content, content, end, after_end. Tokens are as they
 * are written. */
struct chat_form {
    const char *family;
    const char *start;
    const char *header_end; /* NULL: role and content are one text */
    const char *before_content;
    const char *end;
    const char *after_end;
    bool begins_with_bos;
    bool trims_content;   /* of white space, as Python's str.strip() */
    char *default_system; /* where a conversation begins without a system message; "": none */
    bool extends_system;  /* default_system also stands before a system message that begins it */
};

/* UNIMPLEMENTED, mentioning --chat-template and --raw, where the template is of no form that is
 * known. */
MUST_CHECK enum status chat_form_read(struct chat_form *form, struct text_view template);

/* "chatml", "llama-3" or "llama-3.1", for a model whose template is missing or is worded otherwise.
 * Without a default system message but for Llama 3.1's, which belongs to the form. */
MUST_CHECK enum status chat_form_named(struct chat_form *form, const char *name);

void chat_form_deinit(struct chat_form *form);
