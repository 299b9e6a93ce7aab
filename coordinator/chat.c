/* Owns the chat form of a model. Promises the ids that the file's own template gives, for the
 * templates it knows, and nothing for any other: a template is compared as text, piece by piece,
 * and never run.
 */
#include "coordinator/chat.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/utf8.h"
#include "proto/model/vocab.h"

enum { NONE = -1, QUOTED_BYTES = 60 };

struct chat {
    const struct tokenizer *tokenizer;
    int32_t start; /* <|im_start|> */
    int32_t end;   /* <|im_end|> */
    char *default_system;
};

/* ChatML as it is written in Jinja; the part between `before_system` and `after_system` may be
 * missing. */
static const char loop_head[] = "{% for message in messages %}";
static const char before_system[] = "{% if loop.first and messages[0]['role'] != 'system' %}"
                                    "{{ '<|im_start|>system\n";
static const char after_system[] = "<|im_end|>\n' }}{% endif %}";
static const char turn_and_tail[] =
    "{{'<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n'}}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/* Moves *place past `text` where it stands there. */
static bool take(const char **place, const char *text)
{
    size_t bytes = strlen(text);
    if (strncmp(*place, text, bytes) != 0)
        return false;
    *place += bytes;
    return true;
}

/* The template as a string of C, its escaped newlines as newlines: Jinja takes both. */
static char *unescape(struct text_view template)
{
    char *out = malloc(template.bytes + 1);
    if (!out)
        return NULL;
    size_t written = 0;
    for (size_t i = 0; i < template.bytes; i++) {
        bool newline =
            template.text[i] == '\\' && i + 1 < template.bytes && template.text[i + 1] == 'n';
        out[written++] = newline ? '\n' : template.text[i];
        i += newline;
    }
    out[written] = 0;
    return out;
}

/* Where `template` is ChatML, sets the default system message: a view into it. */
static bool is_chatml(const char *template, const char **system, size_t *system_bytes)
{
    *system = "";
    *system_bytes = 0;
    const char *place = template;
    if (!take(&place, loop_head))
        return false;
    if (take(&place, before_system)) {
        const char *end = strstr(place, after_system);
        if (!end)
            return false;
        *system = place;
        *system_bytes = (size_t)(end - place);
        if (memchr(place, '\'', *system_bytes) || memchr(place, '\\', *system_bytes) ||
            memmem(place, *system_bytes, "<|", 2))
            return false;
        place = end + strlen(after_system);
    }
    return strcmp(place, turn_and_tail) == 0;
}

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

static enum status recognise(struct chat *chat, const char *template)
{
    const char *system;
    size_t system_bytes;
    if (!is_chatml(template, &system, &system_bytes))
        return fail(STATUS_UNIMPLEMENTED,
                    "the file's chat template (\"%.*s...\") is not one that is known (ChatML); use "
                    "--raw to send a prompt without chat form",
                    QUOTED_BYTES, template);
    TRY(take_control(&chat->start, chat->tokenizer, "<|im_start|>"));
    TRY(take_control(&chat->end, chat->tokenizer, "<|im_end|>"));
    chat->default_system = strndup(system, system_bytes);
    if (!chat->default_system)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chat form");
    return STATUS_OK;
}

enum status chat_create(struct chat **chat, const struct tokenizer *tokenizer,
                        const struct vocab *vocab)
{
    struct text_view text = vocab_chat_template(vocab);
    if (text.bytes == 0)
        return fail(STATUS_UNIMPLEMENTED,
                    "the file has no chat template (tokenizer.chat_template); "
                    "use --raw to send a prompt without chat form");
    char *template = unescape(text);
    struct chat *created = calloc(1, sizeof *created);
    enum status status;
    if (!template || !created) {
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chat form");
        goto destroy;
    }
    created->tokenizer = tokenizer;
    TRY_ELSE(recognise(created, template), destroy);
    *chat = created;
    free(template);
    return STATUS_OK;
destroy:
    chat_destroy(created);
    free(template);
    return status;
}

void chat_destroy(struct chat *chat)
{
    if (!chat)
        return;
    free(chat->default_system);
    free(chat);
}

const char *chat_family(const struct chat *chat)
{
    (void)chat;
    return "ChatML";
}

const char *chat_default_system(const struct chat *chat)
{
    return chat->default_system;
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

/* Role and content are one text to the tokenizer: a newline that begins the content can join the
 * one before it. */
static enum status render_turn(const struct chat *chat, struct id_list *ids,
                               const struct chat_message *message)
{
    size_t bytes = message->role_bytes + 1 + message->content_bytes;
    char *text = malloc(bytes);
    if (!text)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a message of %zu bytes", bytes);
    memcpy(text, message->role, message->role_bytes);
    text[message->role_bytes] = '\n';
    if (message->content_bytes > 0)
        memcpy(text + message->role_bytes + 1, message->content, message->content_bytes);
    enum status status;
    TRY_ELSE(id_list_add(ids, chat->start), free_text);
    TRY_ELSE(tokenizer_encode(chat->tokenizer, ids, text, bytes, 0), free_text);
    TRY_ELSE(id_list_add(ids, chat->end), free_text);
    status = tokenizer_encode(chat->tokenizer, ids, "\n", 1, 0);
free_text:
    free(text);
    return status;
}

static enum status render(const struct chat *chat, struct id_list *ids,
                          const struct chat_message *messages, size_t count)
{
    static const char answer[] = "assistant\n";
    if (chat->default_system[0] && !role_is(&messages[0], "system")) {
        const struct chat_message system = {"system", strlen("system"), chat->default_system,
                                            strlen(chat->default_system)};
        TRY(render_turn(chat, ids, &system));
    }
    for (size_t i = 0; i < count; i++)
        TRY(render_turn(chat, ids, &messages[i]));
    TRY(id_list_add(ids, chat->start));
    return tokenizer_encode(chat->tokenizer, ids, answer, strlen(answer), 0);
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
