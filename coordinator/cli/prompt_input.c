/* Owns the texts of one prompt. Promises that it counts what the coordinator will count. */
#include "coordinator/cli/prompt_input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/chat.h"
#include "coordinator/cli/text_file.h"
#include "coordinator/prompt.h"
#include "coordinator/text/tokenizer.h"
#include "proto/utf8_check.h"

enum status prompt_input_read(struct prompt_input *prompt, const char *path, const char *question,
                              bool raw)
{
    size_t bytes = 0;
    *prompt = (struct prompt_input){.message = LONGHAUL__V1__PROMPT__INIT,
                                    .document = LONGHAUL__V1__DOCUMENT__INIT};
    if (question)
        TRY(utf8_check(question, strlen(question), "--prompt"));
    if (path)
        TRY(text_file_read(&prompt->file_text, &bytes, path));
    prompt->question = question ? strdup(question) : NULL;
    if (question && !prompt->question) {
        prompt_input_deinit(prompt);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the prompt");
    }
    prompt->message.raw = raw;
    if (path && question) {
        prompt->document.document = prompt->file_text;
        prompt->document.question = prompt->question;
        prompt->message.content_case = LONGHAUL__V1__PROMPT__CONTENT_DOCUMENT;
        prompt->message.document = &prompt->document;
    } else {
        prompt->message.content_case = LONGHAUL__V1__PROMPT__CONTENT_TEXT;
        prompt->message.text = path ? prompt->file_text : prompt->question;
    }
    return STATUS_OK;
}

void prompt_input_deinit(struct prompt_input *prompt)
{
    free(prompt->file_text);
    free(prompt->question);
    prompt->file_text = NULL;
    prompt->question = NULL;
}

static enum status make_tokenizer(struct tokenizer **tokenizer, const struct model *model)
{
    if (!model_vocab(model))
        return fail(STATUS_UNIMPLEMENTED, "the model file holds no tokenizer");
    return tokenizer_create(tokenizer, model_vocab(model));
}

enum status prompt_input_count(const struct prompt_input *prompt, int64_t *tokens,
                               const struct model *model, const char *chat_template)
{
    struct tokenizer *tokenizer = NULL;
    struct chat *chat = NULL;
    struct id_list ids = {0};
    enum status status = make_tokenizer(&tokenizer, model);
    if (status == STATUS_OK && !prompt->message.raw)
        status = chat_create(&chat, tokenizer, model_vocab(model), chat_template);
    const struct prompt_forms forms = {.tokenizer = tokenizer, .chat = chat};
    if (status == STATUS_OK)
        status = prompt_encode(&forms, &ids, &prompt->message);
    *tokens = (int64_t)ids.count;
    id_list_deinit(&ids);
    chat_destroy(chat);
    tokenizer_destroy(tokenizer);
    return status;
}

enum status prompt_input_count_text(const char *text, size_t bytes, int64_t *tokens,
                                    const struct model *model)
{
    struct tokenizer *tokenizer = NULL;
    struct id_list ids = {0};
    TRY(make_tokenizer(&tokenizer, model));
    enum status status =
        tokenizer_encode(tokenizer, &ids, text, bytes, TOKENIZER_CONTROL | TOKENIZER_BOS);
    *tokens = (int64_t)ids.count;
    id_list_deinit(&ids);
    tokenizer_destroy(tokenizer);
    return status;
}
