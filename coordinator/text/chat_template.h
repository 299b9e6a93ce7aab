/* A chat template (Jinja) as text that can be compared: never run. */
#pragma once

#include "proto/model/text_view.h"
#include "proto/status.h"

/* The tags of `template` side by side in one spelling, in memory that the caller frees: no
 * comments, no white space but inside quotes, one kind of quotes, "\n" as a newline, no dashes and
 * none of the text that they trim, no branch that only a conversation with tools takes. Other text
 * stays, and what follows a NUL is left out. */
MUST_CHECK enum status chat_template_normalise(char **normal, struct text_view template);
