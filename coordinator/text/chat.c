/* Owns a conversation's way to ids. Promises those that the model's own template gives, but that no
 * text of the conversation becomes a control token. */
#include "coordinator/text/chat.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "coordinator/jinja/jinja_template.h"
#include "coordinator/text/chat_builtin.h"
#include "coordinator/text/chat_source.h"
#include "coordinator/text/turn_mark.h"
#include "proto/model/vocab.h"
#include "proto/utf8_check.h"

enum { NONE = -1, QUOTED_BYTES = 60, REASON_BYTES = 600 };

struct chat {
    const struct tokenizer *tokenizer;
    struct jinja_template *template;
    char *origin;
    int32_t bos;
    int32_t eos;
    int32_t padding;
    int32_t unknown;
};

/* longhaul reads no clock: the same prompt has the same ids tomorrow. The date is the one that
 * Llama's templates fall back to (docs/decisions/chat-forms.md). */
static const struct tm today = {
    .tm_mday = 26, .tm_mon = 6, .tm_year = 124, .tm_wday = 5, .tm_yday = 207};

/* What a template is tried with. */
static const char question[] = "Hello";

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

/* A role is one of a few words, so that a template may make a control token of it. */
static enum status make_messages(struct jinja_value *value, struct jinja_arena *arena,
                                 const struct chat_message *messages, size_t count)
{
    struct jinja_list *list;
    TRY(jinja_list_make(&list, arena));
    for (size_t i = 0; i < count; i++) {
        struct jinja_value role, content;
        struct jinja_dict *dict;
        TRY(jinja_dict_make(&dict, arena));
        TRY(jinja_value_text(&role, arena, messages[i].role, messages[i].role_bytes, true));
        TRY(jinja_value_text(&content, arena, messages[i].content, messages[i].content_bytes,
                             false));
        TRY(jinja_dict_put_named(dict, "role", role));
        TRY(jinja_dict_put_named(dict, "content", content));
        TRY(jinja_list_add(list, (struct jinja_value){.kind = JINJA_DICT, .dict = dict}));
    }
    *value = jinja_value_list(JINJA_LIST, list);
    return STATUS_OK;
}

static enum status put_token(const struct chat *chat, struct jinja_dict *variables,
                             const char *name, int32_t id)
{
    struct jinja_value value;
    size_t bytes;
    if (id == NONE)
        return STATUS_OK;
    const char *text = tokenizer_token(chat->tokenizer, id, &bytes);
    TRY(jinja_value_text(&value, variables->arena, text, bytes, true));
    return jinja_dict_put_named(variables, name, value);
}

/* What transformers gives a template. */
static enum status make_variables(const struct chat *chat, struct jinja_dict **variables,
                                  struct jinja_arena *arena, const struct chat_message *messages,
                                  size_t count)
{
    struct jinja_value list;
    TRY(make_messages(&list, arena, messages, count));
    TRY(jinja_dict_make(variables, arena));
    TRY(jinja_dict_put_named(*variables, "messages", list));
    TRY(jinja_dict_put_named(*variables, "add_generation_prompt", jinja_value_bool(true)));
    TRY(jinja_dict_put_named(*variables, "tools", (struct jinja_value){.kind = JINJA_NONE}));
    TRY(jinja_dict_put_named(*variables, "documents", (struct jinja_value){.kind = JINJA_NONE}));
    TRY(put_token(chat, *variables, "bos_token", chat->bos));
    TRY(put_token(chat, *variables, "eos_token", chat->eos));
    TRY(put_token(chat, *variables, "pad_token", chat->padding));
    return put_token(chat, *variables, "unk_token", chat->unknown);
}

/* The length of the run that begins with this piece; pieces of one origin that follow each other
 * are one text. */
static size_t run_bytes(const struct jinja_string *text, size_t *piece)
{
    const bool is_own = text->pieces[*piece].is_own;
    size_t bytes = 0;
    for (; *piece < text->count && text->pieces[*piece].is_own == is_own; ++*piece)
        bytes += text->pieces[*piece].bytes;
    return bytes;
}

/* What is written like a control token must be one: otherwise a document could spell it too, and
 * forge a turn. */
static enum status check_own(const struct chat *chat, const char *text, size_t bytes)
{
    size_t length;
    for (size_t place = turn_mark_find(&length, text, 0, bytes); place < bytes;
         place = turn_mark_find(&length, text, place + length, bytes)) {
        char token[TURN_MARK_BYTES_MAX];
        memcpy(token, text + place, length);
        token[length] = 0;
        if (tokenizer_control_id(chat->tokenizer, token) == NONE)
            return fail(STATUS_UNIMPLEMENTED,
                        "it writes %s, which the vocabulary does not mark as a control token",
                        token);
    }
    return STATUS_OK;
}

/* The reason that was worded last, and what to do. */
static enum status refuse(const char *origin)
{
    char reason[REASON_BYTES];
    snprintf(reason, sizeof reason, "%s", status_message());
    return fail(STATUS_UNIMPLEMENTED,
                "the chat template (%s) cannot be used: %s; name another by --chat-template NAME "
                "or FILE, or use --raw to send a prompt without one",
                origin, reason);
}

/* The ids of text[encoded, place), which begins behind a control token, unless `encoded` is 0. */
static enum status encode_stretch(const struct chat *chat, struct id_list *ids, const char *text,
                                  size_t encoded, size_t place)
{
    return tokenizer_encode(chat->tokenizer, ids, text + encoded, place - encoded,
                            encoded > 0 ? TOKENIZER_CONTINUES : 0);
}

/* Control tokens are looked for in own text alone; what stands between two of them is one text,
 * since the tokens of its parts may join. */
static enum status encode(const struct chat *chat, struct id_list *ids, struct jinja_arena *arena,
                          const struct jinja_string *text)
{
    const char *flat;
    size_t place = 0, encoded = 0;
    TRY(jinja_string_flat(arena, &flat, text));
    for (size_t piece = 0; piece < text->count;) {
        const bool is_own = text->pieces[piece].is_own;
        const size_t end = place + run_bytes(text, &piece);
        if (is_own && check_own(chat, flat + place, end - place) != STATUS_OK)
            return refuse(chat->origin);
        while (is_own && place < end) {
            int32_t id = NONE;
            size_t length = 0;
            place = tokenizer_find_control(chat->tokenizer, &id, &length, flat, place, end);
            if (place == end)
                break;
            TRY(encode_stretch(chat, ids, flat, encoded, place));
            TRY(id_list_add(ids, id));
            place += length;
            encoded = place;
        }
        place = end;
    }
    return encode_stretch(chat, ids, flat, encoded, text->bytes);
}

static size_t bytes_of(const struct chat_message *messages, size_t count)
{
    size_t bytes = 0;
    for (size_t i = 0; i < count; i++)
        bytes += messages[i].role_bytes + messages[i].content_bytes;
    return bytes;
}

static enum status write_text(const struct chat *chat, const struct jinja_string **text,
                              struct jinja_arena *arena, const struct chat_message *messages,
                              size_t count)
{
    struct jinja_dict *variables;
    TRY(make_variables(chat, &variables, arena, messages, count));
    const struct jinja_template_args args = {variables, bytes_of(messages, count), &today};
    return jinja_template_render(chat->template, text, arena, &args);
}

enum status chat_render(const struct chat *chat, struct id_list *ids,
                        const struct chat_message *messages, size_t count)
{
    TRY(check_messages(messages, count));
    struct jinja_arena arena = jinja_template_arena(bytes_of(messages, count));
    const struct jinja_string *text;
    const size_t count_before = ids->count;
    enum status status = write_text(chat, &text, &arena, messages, count);
    if (status == STATUS_OK)
        status = encode(chat, ids, &arena, text);
    if (status != STATUS_OK)
        ids->count = count_before;
    jinja_arena_deinit(&arena);
    return status;
}

/* In any case of its letters: some templates change that. */
static bool has_question(const char *text, size_t bytes)
{
    for (size_t place = 0; place + sizeof question - 1 <= bytes; place++)
        if (strncasecmp(text + place, question, sizeof question - 1) == 0)
            return true;
    return false;
}

static enum status check_question(const struct chat *chat, struct jinja_arena *arena)
{
    const struct chat_message user = {"user", 4, question, sizeof question - 1};
    const struct jinja_string *text;
    bool is_written = false;
    TRY(write_text(chat, &text, arena, &user, 1));
    const char *flat;
    TRY(jinja_string_flat(arena, &flat, text));
    for (size_t place = 0, piece = 0; piece < text->count;) {
        const bool is_own = text->pieces[piece].is_own;
        const size_t bytes = run_bytes(text, &piece);
        if (is_own)
            TRY(check_own(chat, flat + place, bytes));
        else
            is_written |= has_question(flat + place, bytes);
        place += bytes;
    }
    return is_written ? STATUS_OK : fail(STATUS_UNIMPLEMENTED, "it does not write the question");
}

/* Whether the template can be used, by a question. */
static enum status try_out(const struct chat *chat)
{
    struct jinja_arena arena = jinja_template_arena(0);
    const enum status status = check_question(chat, &arena);
    jinja_arena_deinit(&arena);
    return status;
}

static enum status take_template(struct chat *chat, const struct vocab *vocab, const char *name)
{
    struct chat_source source;
    TRY(chat_source_open(&source, vocab, name));
    chat->origin = strdup(source.origin);
    enum status status =
        chat->origin ? jinja_template_create(&chat->template, source.text.text, source.text.bytes)
                     : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chat template");
    if (status == STATUS_OK)
        status = try_out(chat);
    if (status != STATUS_OK && status != STATUS_RESOURCE_EXHAUSTED)
        status = refuse(source.origin);
    chat_source_close(&source);
    return status;
}

enum status chat_create(struct chat **chat, const struct tokenizer *tokenizer,
                        const struct vocab *vocab, const char *template)
{
    const struct vocab_special special = vocab_special(vocab);
    struct chat *created = calloc(1, sizeof *created);
    if (!created)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a chat template");
    *created = (struct chat){
        .tokenizer = tokenizer,
        .bos = tokenizer_bos(tokenizer),
        .eos = special.eos,
        .padding = special.padding,
        .unknown = special.unknown,
    };
    const enum status status = take_template(created, vocab, template);
    if (status != STATUS_OK) {
        chat_destroy(created);
        return status;
    }
    *chat = created;
    return STATUS_OK;
}

void chat_destroy(struct chat *chat)
{
    if (!chat)
        return;
    jinja_template_destroy(chat->template);
    free(chat->origin);
    free(chat);
}

const char *chat_origin(const struct chat *chat)
{
    return chat->origin;
}
