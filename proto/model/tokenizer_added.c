/* Owns the reading of an added token's flags. Promises that a token keeps the text that it had. */
#include "proto/model/tokenizer_added.h"

enum { ADDED_BYTES_MAX = 1024 };

static enum status read_match(unsigned *match, const struct json_place *entry)
{
    static const struct {
        const char *key;
        unsigned match;
    } flags[] = {{"single_word", VOCAB_SINGLE_WORD},
                 {"lstrip", VOCAB_LSTRIP},
                 {"rstrip", VOCAB_RSTRIP},
                 {"normalized", VOCAB_IN_STEPPED | VOCAB_STEPPED}};
    *match = 0;
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        bool set;
        TRY(json_place_bool_or(entry, &set, flags[i].key, false));
        if (set)
            *match |= flags[i].match;
    }
    return STATUS_OK;
}

enum status tokenizer_added_contradicts(const struct json_place *entry, struct text_view text,
                                        int64_t id)
{
    return json_place_fail(entry, "content", STATUS_DATA_LOSS, "added-token",
                           "\"%.64s\" as token %lld contradicts model.vocab", text.text,
                           (long long)id);
}

enum status tokenizer_added_read(struct vocab_parts *parts, const struct json_place *entry,
                                 int32_t id)
{
    struct text_view text;
    bool special;
    unsigned match;
    TRY(json_place_text(entry, &text, "content"));
    TRY(json_place_bool_or(entry, &special, "special", false));
    TRY(read_match(&match, entry));
    struct vocab_token *token = &parts->tokens[id];
    bool is_new = !token->type || token->type == VOCAB_UNUSED;
    if (text.bytes > ADDED_BYTES_MAX)
        return json_place_fail(entry, "content", STATUS_DATA_LOSS, "added-token",
                               "has %zu bytes; at most %d are allowed", text.bytes,
                               ADDED_BYTES_MAX);
    if (text.bytes == 0 ||
        (!is_new && text_view_compare((struct text_view){token->text, token->bytes}, text) != 0))
        return tokenizer_added_contradicts(entry, text, id);
    if (is_new) {
        token->bytes = text.bytes;
        token->text = vocab_parts_keep(parts, text);
    }
    token->type = special ? VOCAB_CONTROL : VOCAB_USER_DEFINED;
    token->match = match;
    return STATUS_OK;
}
