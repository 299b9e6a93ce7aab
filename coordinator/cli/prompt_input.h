/* What is asked: a document from a file, a question from the command line, or either alone. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "longhaul/v1/inference.pb-c.h"
#include "proto/model/model.h"
#include "proto/status.h"

/* A prompt message with its storage; `message` points into the rest. */
struct prompt_input {
    Longhaul__V1__Prompt message;
    Longhaul__V1__Document document;
    char *file_text; /* owned */
    char *question;  /* owned */
};

/* `path` or `question` may be NULL, not both. Reads the file. */
MUST_CHECK enum status prompt_input_read(struct prompt_input *prompt, const char *path,
                                         const char *question, bool raw);
void prompt_input_deinit(struct prompt_input *prompt);

/* The tokens that the prompt becomes: with control tokens recognised in a raw prompt, in the
 * model's chat form otherwise, or the one that chat_template names (chat.h). */
MUST_CHECK enum status prompt_input_count(const struct prompt_input *prompt, int64_t *tokens,
                                          const struct model *model, const char *chat_template);

/* The same of a text as `score` takes it. */
MUST_CHECK enum status prompt_input_count_text(const char *text, size_t bytes, int64_t *tokens,
                                               const struct model *model);
