/* A chat template (Jinja) as text that can be compared: never run. */
#pragma once

#include "proto/model/text_view.h"
#include "proto/status.h"

/* `template` in one spelling, in memory that the caller frees: no comments, no white space but
 * inside quotes and between words, none of the text that jinja2 as transformers sets it up leaves
 * out (at dashes, and around tags that write nothing), one kind of quotes with "\n" as a newline,
 * ['role'] for .role, no branch that only a conversation with tools takes. What is written one
 * after the other, text between tags too, is one tag with one sum in it. What follows a NUL is
 * left out. */
MUST_CHECK enum status chat_template_normalise(char **normal, struct text_view template);
