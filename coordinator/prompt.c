/* Owns nothing. Promises that a document is never read as part of the chat form. */
#include "coordinator/prompt.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MESSAGES_MAX = 4096 };

/* Document, an empty line, question; where one of the two is empty, the other. The caller frees
 * it. */
static enum status join_document(char **text, const Longhaul__V1__Document *document)
{
    static const char between[] = "\n\n";
    size_t document_bytes = strlen(document->document), question_bytes = strlen(document->question);
    bool both = document_bytes && question_bytes;
    size_t between_bytes = both ? sizeof between - 1 : 0;
    char *joined = malloc(document_bytes + between_bytes + question_bytes + 1);
    if (!joined)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a document of %zu bytes",
                    document_bytes);
    memcpy(joined, document->document, document_bytes);
    memcpy(joined + document_bytes, between, between_bytes);
    memcpy(joined + document_bytes + between_bytes, document->question, question_bytes + 1);
    *text = joined;
    return STATUS_OK;
}

/* Without the white space at both ends, which some chat templates drop: at most the bytes that the
 * model sees. The list has each byte of a space outside ASCII. */
static size_t trimmed_bytes(const char *text, size_t bytes)
{
    static const char spaces[] =
        " \t\n\v\f\r\x1C\x1D\x1E\x1F\xC2\x85\xA0\xE1\x9A\xE2\xA8\xA9\xAF\x81\x9F\xE3"
        "\x80\x82\x83\x84\x86\x87\x88\x89\x8A";
    const size_t before = strspn(text, spaces);
    while (bytes > before && strchr(spaces, text[bytes - 1]))
        bytes--;
    return bytes - before;
}

static enum status check_chat(const struct prompt_forms *forms)
{
    return forms->chat ? STATUS_OK : fail(STATUS_UNIMPLEMENTED, "%s", forms->chat_missing);
}

enum status prompt_check_bytes(const struct prompt_forms *forms, size_t bytes)
{
    const size_t longest = tokenizer_token_bytes_max(forms->tokenizer);
    if (forms->context_tokens == 0 || longest == 0 ||
        bytes / longest + (bytes % longest != 0) <= (size_t)forms->context_tokens)
        return STATUS_OK;
    return fail(
        STATUS_OUT_OF_RANGE,
        "a prompt of %zu bytes: the context of %" PRId64
        " tokens holds fewer, as no token of this model has more than %zu bytes; shorten it "
        "or start with a larger --context",
        bytes, forms->context_tokens, longest);
}

static enum status encode_text(const struct prompt_forms *forms, struct id_list *ids,
                               const char *text, bool raw)
{
    size_t bytes = strlen(text);
    if (bytes == 0)
        return fail(STATUS_INVALID_ARGUMENT, "prompt: the text is empty");
    TRY(prompt_check_bytes(forms, raw ? bytes : trimmed_bytes(text, bytes)));
    if (raw)
        return tokenizer_encode(forms->tokenizer, ids, text, bytes,
                                TOKENIZER_CONTROL | TOKENIZER_BOS);
    TRY(check_chat(forms));
    const struct chat_message message = {"user", 4, text, bytes};
    return chat_render(forms->chat, ids, &message, 1);
}

/* "" for a value that no client of this version sends. */
static const char *role_text(Longhaul__V1__Role role)
{
    switch (role) {
    case LONGHAUL__V1__ROLE__ROLE_SYSTEM:
        return "system";
    case LONGHAUL__V1__ROLE__ROLE_USER:
        return "user";
    case LONGHAUL__V1__ROLE__ROLE_ASSISTANT:
        return "assistant";
    default:
        return "";
    }
}

static enum status encode_chat(const struct prompt_forms *forms, struct id_list *ids,
                               const Longhaul__V1__Chat *chat)
{
    TRY(check_chat(forms));
    if (chat->n_messages == 0 || chat->n_messages > MESSAGES_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "prompt.chat: %zu messages; must be 1 to %d",
                    chat->n_messages, MESSAGES_MAX);
    size_t bytes = 0;
    /* Templates leave out parts of what an assistant said, such as thoughts. */
    for (size_t i = 0; i < chat->n_messages; i++)
        if (chat->messages[i]->role == LONGHAUL__V1__ROLE__ROLE_USER)
            bytes += trimmed_bytes(chat->messages[i]->content, strlen(chat->messages[i]->content));
    TRY(prompt_check_bytes(forms, bytes));
    struct chat_message *messages = calloc(chat->n_messages, sizeof *messages);
    if (!messages)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a conversation");
    enum status status = STATUS_OK;
    for (size_t i = 0; i < chat->n_messages; i++) {
        const Longhaul__V1__ChatMessage *from = chat->messages[i];
        const char *role = role_text(from->role);
        if (!role[0])
            TRY_ELSE(fail(STATUS_INVALID_ARGUMENT,
                          "prompt.chat: message %zu has no role: give system, user or assistant",
                          i + 1),
                     free_messages);
        messages[i] =
            (struct chat_message){role, strlen(role), from->content, strlen(from->content)};
    }
    status = chat_render(forms->chat, ids, messages, chat->n_messages);
free_messages:
    free(messages);
    return status;
}

enum status prompt_encode(const struct prompt_forms *forms, struct id_list *ids,
                          const Longhaul__V1__Prompt *prompt)
{
    switch (prompt ? prompt->content_case : LONGHAUL__V1__PROMPT__CONTENT__NOT_SET) {
    case LONGHAUL__V1__PROMPT__CONTENT_TEXT:
        return encode_text(forms, ids, prompt->text, prompt->raw);
    case LONGHAUL__V1__PROMPT__CONTENT_DOCUMENT: {
        char *text = NULL;
        TRY(join_document(&text, prompt->document));
        enum status status = encode_text(forms, ids, text, prompt->raw);
        free(text);
        return status;
    }
    case LONGHAUL__V1__PROMPT__CONTENT_CHAT:
        if (prompt->raw)
            return fail(STATUS_INVALID_ARGUMENT, "prompt: a chat cannot be raw");
        return encode_chat(forms, ids, prompt->chat);
    default:
        return fail(STATUS_INVALID_ARGUMENT, "prompt: give a document, a text or a chat");
    }
}

enum status prompt_encode_question(const struct prompt_forms *forms, struct id_list *ids,
                                   const char *document, const char *question, bool raw)
{
    Longhaul__V1__Document both = LONGHAUL__V1__DOCUMENT__INIT;
    Longhaul__V1__Prompt prompt = LONGHAUL__V1__PROMPT__INIT;
    both.document = (char *)document;
    both.question = (char *)question;
    prompt.content_case = LONGHAUL__V1__PROMPT__CONTENT_DOCUMENT;
    prompt.document = &both;
    prompt.raw = raw;
    return prompt_encode(forms, ids, &prompt);
}

enum status prompt_encode_text_behind(const struct prompt_forms *forms, struct id_list *ids,
                                      const char *document, const char *text)
{
    char *joined = NULL;
    if (asprintf(&joined, "%s%s", document, text) < 0)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a document of %zu bytes",
                    strlen(document));
    const enum status status = encode_text(forms, ids, joined, true);
    free(joined);
    return status;
}

/* Shortens the list, unless it is the first, to what the next one begins with, too. */
static void keep_alike(struct id_list *ids, struct id_list *next, bool first)
{
    size_t alike = 0;
    while (alike < ids->count && alike < next->count && ids->ids[alike] == next->ids[alike])
        alike++;
    if (!first) {
        ids->count = alike;
        id_list_deinit(next);
    } else {
        *ids = *next;
    }
    *next = (struct id_list){0};
}

enum status prompt_encode_beginning(const struct prompt_forms *forms, struct id_list *ids,
                                    const char *document, bool raw)
{
    /* They begin with a letter, a digit, a mark and a space: of what a tokenizer tells apart. */
    static const char *const questions[] = {"What", "1", "(", " "};
    static const char *const texts[] = {"a", " a", "1", ".", "\n"};
    enum { QUESTIONS = sizeof questions / sizeof questions[0] };
    enum { TEXTS = sizeof texts / sizeof texts[0] };
    struct id_list next = {0};
    if (!document[0])
        return fail(STATUS_INVALID_ARGUMENT, "the document is empty");
    for (int q = 0; q < QUESTIONS; q++) {
        TRY(prompt_encode_question(forms, &next, document, questions[q], raw));
        keep_alike(ids, &next, q == 0);
    }
    for (int t = 0; raw && t < TEXTS; t++) {
        TRY(prompt_encode_text_behind(forms, &next, document, texts[t]));
        keep_alike(ids, &next, false);
    }
    if (ids->count > 0)
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT, "the document is too short: its only token may change");
}
