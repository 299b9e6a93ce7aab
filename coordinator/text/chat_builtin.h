/* Chat templates of our own, for models whose file has none or another. */
#pragma once

#include <stdbool.h>

#include "proto/model/text_view.h"

/* Their names, with commas between them. */
extern const char chat_builtin_names[];

/* False where no template is called so. */
bool chat_builtin_find(struct text_view *source, const char *name);
