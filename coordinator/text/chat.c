/* Owns a conversation's way to ids. Promises those that the model's own template gives, for the
 * forms that chat_form.h knows, and nothing for any other.
 */
#include "coordinator/text/chat.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/chat_form.h"
#include "proto/model/vocab.h"
#include "proto/utf8_check.h"

enum { NONE = -1, QUOTED_BYTES = 60 };

struct chat {
    const struct tokenizer *tokenizer;
    struct chat_form form;
    int32_t start;
    int32_t header_end; /* NONE where the form has none */
    int32_t end;
};

/* The control tokens must be ones that text cannot produce. */
static enum status take_control(int32_t *id, const struct tokenizer *tokenizer, const char *text)
{
    *id = tokenizer_control_id(tokenizer, text);
    if (*id == NONE)
        return fail(STATUS_UNIMPLEMENTED,
                    "the chat template writes %s, which the file does not mark as a control token; "
                    "use --raw to send a prompt without chat form",
                    text);
    return STATUS_OK;
}

static enum status take_controls(struct chat *chat)
{
    const struct chat_form *form = &chat->form;
    chat->header_end = NONE;
    TRY(take_control(&chat->start, chat->tokenizer, form->start));
    if (form->header_end)
        TRY(take_control(&chat->header_end, chat->tokenizer, form->header_end));
    TRY(take_control(&chat->end, chat->tokenizer, form->end));
    if (form->begins_with_bos && tokenizer_bos(chat->tokenizer) == NONE)
        return fail(STATUS_UNIMPLEMENTED,
                    "the chat template begins with BOS, and the model names no such token; use "
                    "--raw to send a prompt without chat form");
    return STATUS_OK;
}

enum status chat_create(struct chat **chat, const struct tokenizer *tokenizer,
                        const struct vocab *vocab, const char *form)
{
    struct chat *created = calloc(1, sizeof *created);
    if (!created)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chat form");
    created->tokenizer = tokenizer;
    enum status status;
    if (strcmp(form, "auto") == 0)
        TRY_ELSE(chat_form_read(&created->form, vocab_chat_template(vocab)), destroy);
    else
        TRY_ELSE(chat_form_named(&created->form, form), destroy);
    TRY_ELSE(take_controls(created), destroy);
    *chat = created;
    return STATUS_OK;
destroy:
    chat_destroy(created);
    return status;
}

void chat_destroy(struct chat *chat)
{
    if (!chat)
        return;
    chat_form_deinit(&chat->form);
    free(chat);
}

const char *chat_family(const struct chat *chat)
{
    return chat->form.family;
}

const char *chat_default_system(const struct chat *chat)
{
    return chat->form.default_system;
}

static bool role_is(const struct chat_message *message, const char *role)
{
    return message->role_bytes == strlen(role) &&
           memcmp(message->role, role, message->role_bytes) == 0;
}

static enum status check_messages(const struct chat_message *messages, size_t count)
{
    if (count == 0)
        return fail(STATUS_INVALID_ARGUMENT, "a conversation needs at least one message");
    for (size_t i = 0; i < count; i++) {
        const struct chat_message *message = &messages[i];
        if (!role_is(message, "system") && !role_is(message, "user") &&
            !role_is(message, "assistant"))
            return fail(
                STATUS_INVALID_ARGUMENT,
                "message %zu has role \"%.*s\"; known: system, user, assistant", i + 1,
                (int)(message->role_bytes < QUOTED_BYTES ? message->role_bytes : QUOTED_BYTES),
                message->role);
        char what[64];
        snprintf(what, sizeof what, "the content of message %zu", i + 1);
        TRY(utf8_check(message->content, message->content_bytes, what));
    }
    return STATUS_OK;
}

/* The bytes of the white space character that `text` begins with, as Python counts them; 0 where
 * it begins with another. */
static size_t white_space_bytes(const char *text, size_t bytes)
{
    static const char *const wide[] = {
        "\xC2\x85",     "\xC2\xA0",     "\xE1\x9A\x80", "\xE2\x80\xA8",
        "\xE2\x80\xA9", "\xE2\x80\xAF", "\xE2\x81\x9F", "\xE3\x80\x80",
    };
    if (bytes == 0)
        return 0;
    if (*text == ' ' || (*text >= '\t' && *text <= '\r') || (*text >= 0x1C && *text <= 0x1F))
        return 1;
    for (size_t i = 0; i < sizeof wide / sizeof wide[0]; i++)
        if (bytes >= strlen(wide[i]) && memcmp(text, wide[i], strlen(wide[i])) == 0)
            return strlen(wide[i]);
    bool is_en_to_hair = bytes >= 3 && memcmp(text, "\xE2\x80", 2) == 0 && (uint8_t)text[2] <= 0x8A;
    return is_en_to_hair ? 3 : 0;
}

static void trim(const char **text, size_t *bytes)
{
    size_t space;
    while ((space = white_space_bytes(*text, *bytes)) > 0) {
        *text += space;
        *bytes -= space;
    }
    while (*bytes > 0) {
        size_t start = *bytes - 1;
        while (start > 0 && ((uint8_t)(*text)[start] & 0xC0) == 0x80)
            start--;
        if (white_space_bytes(*text + start, *bytes - start) != *bytes - start)
            return;
        *bytes = start;
    }
}

/* Appends `parts` as one text: a newline that begins the content can join the one before it. */
static enum status encode_joined(const struct chat *chat, struct id_list *ids,
                                 const struct text_view *parts, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += parts[i].bytes;
    char *text = malloc(bytes + 1);
    if (!text)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a message of %zu bytes", bytes);
    size_t place = 0;
    for (size_t i = 0; i < count; i++) {
        if (parts[i].bytes > 0)
            memcpy(text + place, parts[i].text, parts[i].bytes);
        place += parts[i].bytes;
    }
    enum status status = tokenizer_encode(chat->tokenizer, ids, text, bytes, 0);
    free(text);
    return status;
}

/* Start, role and what stands before the content; then `before` and `content`. */
static enum status render_open_turn(const struct chat *chat, struct id_list *ids,
                                    struct text_view role, struct text_view before,
                                    struct text_view content)
{
    const struct text_view parts[] = {role, text_view_of(chat->form.before_content), before,
                                      content};
    TRY(id_list_add(ids, chat->start));
    if (chat->header_end == NONE)
        return encode_joined(chat, ids, parts, 4);
    TRY(encode_joined(chat, ids, parts, 1));
    TRY(id_list_add(ids, chat->header_end));
    return encode_joined(chat, ids, parts + 1, 3);
}

/* `before` goes between the header and the message. */
static enum status render_turn(const struct chat *chat, struct id_list *ids,
                               const struct chat_message *message, const char *before)
{
    struct text_view role = {message->role, message->role_bytes};
    struct text_view content = {message->content, message->content_bytes};
    if (chat->form.trims_content)
        trim(&content.text, &content.bytes);
    TRY(render_open_turn(chat, ids, role, text_view_of(before), content));
    TRY(id_list_add(ids, chat->end));
    return encode_joined(
        chat, ids, &(struct text_view){chat->form.after_end, strlen(chat->form.after_end)}, 1);
}

static enum status render(const struct chat *chat, struct id_list *ids,
                          const struct chat_message *messages, size_t count)
{
    const struct text_view nothing = {"", 0};
    const char *system = chat->form.default_system;
    bool has_system = role_is(&messages[0], "system");
    if (chat->form.begins_with_bos)
        TRY(id_list_add(ids, tokenizer_bos(chat->tokenizer)));
    if (system[0] && !has_system) {
        const struct chat_message empty = {"system", strlen("system"), "", 0};
        TRY(render_turn(chat, ids, &empty, system));
    }
    bool is_extended = has_system && chat->form.extends_system;
    for (size_t i = 0; i < count; i++)
        TRY(render_turn(chat, ids, &messages[i], i == 0 && is_extended ? system : ""));
    return render_open_turn(chat, ids, text_view_of("assistant"), nothing, nothing);
}

enum status chat_render(const struct chat *chat, struct id_list *ids,
                        const struct chat_message *messages, size_t count)
{
    TRY(check_messages(messages, count));
    size_t count_before = ids->count;
    enum status status = render(chat, ids, messages, count);
    if (status != STATUS_OK)
        ids->count = count_before;
    return status;
}
