/* Owns the texts of one prompt. Promises that it counts what the coordinator will count. */
#include "coordinator/cli/prompt_input.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/chat.h"
#include "coordinator/cli/text_file.h"
#include "coordinator/tokenizer.h"
#include "coordinator/utf8.h"

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

/* Document, empty line, question. */
static enum status join(char **text, const struct prompt_input *prompt)
{
    const char *file_text = prompt->file_text ? prompt->file_text : "";
    const char *question = prompt->question ? prompt->question : "";
    const char *between = prompt->file_text && prompt->question ? "\n\n" : "";
    if (asprintf(text, "%s%s%s", file_text, between, question) < 0)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the prompt");
    return STATUS_OK;
}

static enum status encode_chat(struct id_list *ids, const struct tokenizer *tokenizer,
                               const char *text, const struct model *model)
{
    struct chat *chat = NULL;
    const struct chat_message message = {
        .role = "user", .role_bytes = 4, .content = text, .content_bytes = strlen(text)};
    TRY(chat_create(&chat, tokenizer, model_vocab(model)));
    enum status status = chat_render(chat, ids, &message, 1);
    chat_destroy(chat);
    return status;
}

static enum status count(int64_t *tokens, const char *text, size_t bytes, bool in_chat_form,
                         const struct model *model)
{
    struct tokenizer *tokenizer = NULL;
    struct id_list ids = {0};
    if (!model_vocab(model))
        return fail(STATUS_UNIMPLEMENTED, "the model file holds no tokenizer");
    TRY(tokenizer_create(&tokenizer, model_vocab(model)));
    enum status status = in_chat_form ? encode_chat(&ids, tokenizer, text, model)
                                      : tokenizer_encode(tokenizer, &ids, text, bytes,
                                                         TOKENIZER_CONTROL | TOKENIZER_BOS);
    *tokens = (int64_t)ids.count;
    id_list_deinit(&ids);
    tokenizer_destroy(tokenizer);
    return status;
}

enum status prompt_input_count(const struct prompt_input *prompt, int64_t *tokens,
                               const struct model *model)
{
    char *text = NULL;
    TRY(join(&text, prompt));
    enum status status = count(tokens, text, strlen(text), !prompt->message.raw, model);
    free(text);
    return status;
}

enum status prompt_input_count_text(const char *text, size_t bytes, int64_t *tokens,
                                    const struct model *model)
{
    return count(tokens, text, bytes, false, model);
}
