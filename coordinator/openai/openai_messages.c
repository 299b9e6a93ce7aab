/* Owns contents that were joined of parts. Promises that nothing of a message is left out in
 * silence. */
#include "coordinator/openai/openai_messages.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/openai/openai_neutral.h"

static const struct {
    const char *word;
    Longhaul__V1__Role role;
} roles[] = {
    {"system", LONGHAUL__V1__ROLE__ROLE_SYSTEM},
    {"developer", LONGHAUL__V1__ROLE__ROLE_SYSTEM},
    {"user", LONGHAUL__V1__ROLE__ROLE_USER},
    {"assistant", LONGHAUL__V1__ROLE__ROLE_ASSISTANT},
};

void openai_messages_init(struct openai_messages *messages)
{
    *messages = (struct openai_messages){.messages = NULL};
    longhaul__v1__chat__init(&messages->chat);
}

static enum status read_role(Longhaul__V1__Role *role, const json_t *value, size_t number)
{
    const char *word = json_is_string(value) ? json_string_value(value) : "";
    for (size_t i = 0; i < sizeof roles / sizeof roles[0]; i++)
        if (strcmp(word, roles[i].word) == 0) {
            *role = roles[i].role;
            return STATUS_OK;
        }
    return fail(STATUS_INVALID_ARGUMENT,
                "messages: the role of message %zu is \"%s\"; must be system, developer, user or "
                "assistant",
                number, word);
}

/* The text of a part {"type": "text", "text": "..."}. */
static enum status read_part(const char **text, const json_t *part, size_t number)
{
    const char *type = json_string_value(json_object_get(part, "type"));
    const json_t *value = json_object_get(part, "text");
    if (!type || strcmp(type, "text") != 0)
        return fail(STATUS_INVALID_ARGUMENT,
                    "messages: message %zu has a part of type %s; only text is supported", number,
                    type ? type : "none");
    if (!json_is_string(value) || json_object_size(part) != 2)
        return fail(STATUS_INVALID_ARGUMENT,
                    "messages: a text part of message %zu has a type and a text, and no more",
                    number);
    *text = json_string_value(value);
    return STATUS_OK;
}

static enum status join_parts(char **joined, const json_t *parts, size_t number)
{
    size_t bytes = 0, i;
    const json_t *part;
    const char *text = NULL;
    json_array_foreach(parts, i, part)
    {
        TRY(read_part(&text, part, number));
        bytes += strlen(text);
    }
    char *to = malloc(bytes + 1);
    if (!to)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a message");
    *joined = to;
    json_array_foreach(parts, i, part)
    {
        const json_t *value = json_object_get(part, "text");
        memcpy(to, json_string_value(value), json_string_length(value));
        to += json_string_length(value);
    }
    *to = 0;
    return STATUS_OK;
}

static enum status read_content(char **content, char **joined, const json_t *value, size_t number)
{
    if (json_is_array(value)) {
        TRY(join_parts(joined, value, number));
        *content = *joined;
        return STATUS_OK;
    }
    if (!json_is_string(value))
        return fail(STATUS_INVALID_ARGUMENT,
                    "messages: the content of message %zu is no string and no array of parts",
                    number);
    *content = (char *)json_string_value(value);
    return STATUS_OK;
}

static enum status read_message(Longhaul__V1__ChatMessage *message, char **joined,
                                const json_t *value, size_t number)
{
    const char *key;
    json_t *member;
    if (!json_is_object(value))
        return fail(STATUS_INVALID_ARGUMENT, "messages: message %zu is no object", number);
    TRY(read_role(&message->role, json_object_get(value, "role"), number));
    TRY(read_content(&message->content, joined, json_object_get(value, "content"), number));
    json_object_foreach((json_t *)value, key, member)
    {
        if (strcmp(key, "role") == 0 || strcmp(key, "content") == 0)
            continue;
        if (!openai_neutral_in_message(key, member))
            return fail(STATUS_INVALID_ARGUMENT,
                        "messages: message %zu has %s, which is not supported", number, key);
    }
    return STATUS_OK;
}

enum status openai_messages_read(struct openai_messages *messages, const json_t *value)
{
    const size_t count = json_array_size(value);
    if (!json_is_array(value) || count == 0)
        return fail(STATUS_INVALID_ARGUMENT, "messages is no array of one or more messages");
    messages->messages = calloc(count, sizeof *messages->messages);
    messages->joined = calloc(count, sizeof *messages->joined);
    messages->chat.messages = calloc(count, sizeof *messages->chat.messages);
    if (!messages->messages || !messages->joined || !messages->chat.messages)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a conversation");
    messages->chat.n_messages = count;
    for (size_t i = 0; i < count; i++) {
        Longhaul__V1__ChatMessage *message = &messages->messages[i];
        longhaul__v1__chat_message__init(message);
        messages->chat.messages[i] = message;
        TRY(read_message(message, &messages->joined[i], json_array_get(value, i), i + 1));
    }
    return STATUS_OK;
}

void openai_messages_deinit(struct openai_messages *messages)
{
    for (size_t i = 0; i < messages->chat.n_messages; i++)
        free(messages->joined[i]);
    free(messages->joined);
    free(messages->messages);
    free(messages->chat.messages);
}
