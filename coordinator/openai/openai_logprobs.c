/* Owns nothing. */
#include "coordinator/openai/openai_logprobs.h"

#include <stdio.h>
#include <string.h>

#include "proto/utf8.h"

enum { ESCAPED_BYTES = 4, NAME_BYTES = 6 + 64 * ESCAPED_BYTES + 1 };

static bool is_text(const char *bytes, size_t count)
{
    for (size_t i = 0; i < count;) {
        const int length = utf8_sequence(bytes + i, count - i);
        if (length <= 0)
            return false;
        i += (size_t)length;
    }
    return true;
}

/* The text of a token for people. `name` is where it is made, if it has to be. */
static const char *token_text(const struct tokenizer *tokenizer, int32_t id, char name[NAME_BYTES],
                              size_t *bytes)
{
    const char *token = tokenizer_token(tokenizer, id, bytes);
    if (is_text(token, *bytes))
        return token;
    size_t at = (size_t)snprintf(name, NAME_BYTES, "bytes:");
    for (size_t i = 0; i < *bytes && at + ESCAPED_BYTES < NAME_BYTES; i++)
        at += (size_t)snprintf(name + at, NAME_BYTES - at, "\\x%02x", (unsigned char)token[i]);
    *bytes = at;
    return name;
}

static void write_token(struct json_writer *writer, const char *key,
                        const struct tokenizer *tokenizer, int32_t id)
{
    char name[NAME_BYTES];
    size_t bytes = 0;
    const char *text = token_text(tokenizer, id, name, &bytes);
    json_writer_bytes(writer, key, text, bytes);
}

/* ---- chats ---- */

static void write_chat_members(struct json_writer *writer, const struct tokenizer *tokenizer,
                               int32_t id, float logprob)
{
    size_t bytes = 0;
    const char *token = tokenizer_token(tokenizer, id, &bytes);
    write_token(writer, "token", tokenizer, id);
    json_writer_float(writer, "logprob", logprob);
    json_writer_begin_array(writer, "bytes");
    for (size_t i = 0; i < bytes; i++)
        json_writer_integer(writer, NULL, (unsigned char)token[i]);
    json_writer_end_array(writer);
}

static void write_chat(struct json_writer *writer, const struct tokenizer *tokenizer,
                       const struct openai_token *tokens, size_t count)
{
    json_writer_begin_array(writer, "content");
    for (size_t i = 0; i < count; i++) {
        json_writer_begin_object(writer, NULL);
        write_chat_members(writer, tokenizer, tokens[i].id, tokens[i].logprob);
        json_writer_begin_array(writer, "top_logprobs");
        for (size_t n = 0; n < tokens[i].likeliest_count; n++) {
            json_writer_begin_object(writer, NULL);
            write_chat_members(writer, tokenizer, tokens[i].likeliest[n],
                               tokens[i].likeliest_logprobs[n]);
            json_writer_end_object(writer);
        }
        json_writer_end_array(writer);
        json_writer_end_object(writer);
    }
    json_writer_end_array(writer);
    json_writer_null(writer, "refusal");
}

/* ---- completions ---- */

static void write_likeliest(struct json_writer *writer, const struct tokenizer *tokenizer,
                            const struct openai_token *token)
{
    char name[NAME_BYTES], key[NAME_BYTES];
    json_writer_begin_object(writer, NULL);
    for (size_t n = 0; n < token->likeliest_count; n++) {
        size_t bytes = 0;
        const char *text = token_text(tokenizer, token->likeliest[n], name, &bytes);
        snprintf(key, sizeof key, "%.*s", (int)bytes, text);
        json_writer_float(writer, key, token->likeliest_logprobs[n]);
    }
    json_writer_end_object(writer);
}

static void advance(struct openai_offset *offset, const struct tokenizer *tokenizer, int32_t id)
{
    size_t bytes = 0;
    const char *token = tokenizer_token(tokenizer, id, &bytes);
    if (tokenizer_is_control(tokenizer, id))
        return; /* has no text */
    for (size_t i = 0; i < bytes; i++)
        offset->characters += ((unsigned char)token[i] & 0xC0) != 0x80;
}

static void write_completion(struct json_writer *writer, const struct tokenizer *tokenizer,
                             const struct openai_token *tokens, size_t count,
                             struct openai_offset *offset)
{
    json_writer_begin_array(writer, "tokens");
    for (size_t i = 0; i < count; i++)
        write_token(writer, NULL, tokenizer, tokens[i].id);
    json_writer_end_array(writer);
    json_writer_begin_array(writer, "token_logprobs");
    for (size_t i = 0; i < count; i++)
        json_writer_float(writer, NULL, tokens[i].logprob);
    json_writer_end_array(writer);
    json_writer_begin_array(writer, "top_logprobs");
    for (size_t i = 0; i < count; i++)
        write_likeliest(writer, tokenizer, &tokens[i]);
    json_writer_end_array(writer);
    json_writer_begin_array(writer, "text_offset");
    for (size_t i = 0; i < count; i++) {
        json_writer_integer(writer, NULL, offset->characters);
        advance(offset, tokenizer, tokens[i].id);
    }
    json_writer_end_array(writer);
}

void openai_logprobs_write(struct json_writer *writer, enum openai_form form,
                           const struct tokenizer *tokenizer, const struct openai_token *tokens,
                           size_t count, struct openai_offset *offset)
{
    json_writer_begin_object(writer, "logprobs");
    if (form == OPENAI_COMPLETION)
        write_completion(writer, tokenizer, tokens, count, offset);
    else
        write_chat(writer, tokenizer, tokens, count);
    json_writer_end_object(writer);
}
