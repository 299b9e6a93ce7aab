/* What a client sent, as token ids: a document with a question, a text or a conversation, in the
 * model's chat form or raw. */
#pragma once

#include "coordinator/text/chat.h"
#include "coordinator/text/id_list.h"
#include "coordinator/text/tokenizer.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/status.h"

/* Borrowed. Where the model has no chat form, `chat` is NULL and `chat_missing` says why. */
struct prompt_forms {
    const struct tokenizer *tokenizer;
    const struct chat *chat;
    const char *chat_missing;
    int64_t context_tokens; /* a prompt that cannot fit is refused by its bytes; 0: none is */
};

/* OUT_OF_RANGE for a text that has more tokens than the context however it is cut. */
MUST_CHECK enum status prompt_check_bytes(const struct prompt_forms *forms, size_t bytes);

/* Appends the prompt's ids to an empty list. INVALID_ARGUMENT for a prompt that says nothing,
 * OUT_OF_RANGE as prompt_check_bytes says. */
MUST_CHECK enum status prompt_encode(const struct prompt_forms *forms, struct id_list *ids,
                                     const Longhaul__V1__Prompt *prompt);

/* The ids that prompts begin with which go on behind the document, whatever follows it: the tokens
 * of its end may join with that. Otherwise as prompt_encode. */
MUST_CHECK enum status prompt_encode_beginning(const struct prompt_forms *forms,
                                               struct id_list *ids, const char *document, bool raw);

/* A question behind a document. */
MUST_CHECK enum status prompt_encode_question(const struct prompt_forms *forms, struct id_list *ids,
                                              const char *document, const char *question, bool raw);

/* A text right behind a document, raw. */
MUST_CHECK enum status prompt_encode_text_behind(const struct prompt_forms *forms,
                                                 struct id_list *ids, const char *document,
                                                 const char *text);
