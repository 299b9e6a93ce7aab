/* Where a chat template's text comes from. */
#pragma once

#include "proto/model/text_view.h"
#include "proto/status.h"

struct vocab;

struct chat_source {
    const char *origin;    /* in words; lives as long as the name that it was asked for by */
    struct text_view text; /* until it is closed, and as long as the vocabulary */
    char *file;            /* NULL where it is no file's */
};

/* "auto" for the model's own template, a name of chat_builtin.h, or a file. UNIMPLEMENTED where the
 * model has none, INVALID_ARGUMENT for a name that is neither, or a file that is too large. */
MUST_CHECK enum status chat_source_open(struct chat_source *source, const struct vocab *vocab,
                                        const char *name);

void chat_source_close(struct chat_source *source);
