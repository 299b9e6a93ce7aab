/* Owns the reading of a tekken.json. Promises that every byte is a token, and that no text can
 * become a special one. */
#include "proto/model/tekken.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/json_place.h"
#include "proto/model/spec.h"
#include "proto/model/tokenizer_beside.h"

enum {
    TOKEN_BYTES_MAX = 1024,
    NAME_BYTES_MAX = 64,
    ALPHABET_BYTES = 2,
    SPECIALS_MAX = 1 << 16,
    SINGLE_BYTES = 256,
};

/* The special tokens of files that do not name theirs, by id: the versions up to 7. */
static const char *const old_specials[] = {
    "<unk>",
    "<s>",
    "</s>",
    "[INST]",
    "[/INST]",
    "[AVAILABLE_TOOLS]",
    "[/AVAILABLE_TOOLS]",
    "[TOOL_RESULTS]",
    "[/TOOL_RESULTS]",
    "[TOOL_CALLS]",
    "[IMG]",
    "<pad>",
    "[IMG_BREAK]",
    "[IMG_END]",
    "[PREFIX]",
    "[MIDDLE]",
    "[SUFFIX]",
    "[SYSTEM_PROMPT]",
    "[/SYSTEM_PROMPT]",
    "[TOOL_CONTENT]",
};

enum { OLD_SPECIALS = sizeof old_specials / sizeof old_specials[0] };

struct reading {
    struct json_place root;
    struct json_place config;
    struct vocab_parts *parts;
    int64_t specials; /* ids below are special tokens; behind them, the ranks */
    int64_t ranks;
};

static int32_t find_token(const void *context, const char *text)
{
    const struct reading *reading = context;
    for (int32_t id = 0; id < reading->specials; id++) {
        const struct vocab_token *token = &reading->parts->tokens[id];
        if (text_view_is((struct text_view){token->text, token->bytes}, text))
            return id;
    }
    return -1;
}

static enum status read_config(struct reading *reading)
{
    struct text_view pattern;
    int64_t size;
    TRY(json_place_object(&reading->root, &reading->config, "config"));
    TRY(json_place_text(&reading->config, &pattern, "pattern"));
    if (!text_view_is(pattern, tokenizer_pipeline_pattern(text_view_of("tekken"), 0)))
        return json_place_fail(&reading->config, "pattern", STATUS_UNIMPLEMENTED, "pre_tokenizer",
                               "\"%.64s\" is not supported; known: the pattern of Tekken",
                               pattern.text);
    TRY(json_place_integer(&reading->config, &size, "default_vocab_size", 1, MODEL_VOCAB_MAX));
    TRY(json_place_integer(&reading->config, &reading->specials, "default_num_special_tokens", 0,
                           size < SPECIALS_MAX ? size : SPECIALS_MAX));
    reading->ranks = size - reading->specials;
    if (reading->ranks < SINGLE_BYTES)
        return json_place_fail(&reading->config, "default_vocab_size", STATUS_DATA_LOSS, "vocab",
                               "leaves %lld tokens beside the special ones; the %d single bytes "
                               "are always there",
                               (long long)reading->ranks, SINGLE_BYTES);
    return STATUS_OK;
}

/* ---- special tokens ---- */

static enum status name_special(struct reading *reading, int64_t id, const char *name)
{
    struct vocab_token *token = &reading->parts->tokens[id];
    *token = (struct vocab_token){NULL, strlen(name), VOCAB_CONTROL, 0};
    token->text = vocab_parts_keep(reading->parts, text_view_of(name));
    return STATUS_OK;
}

static enum status read_special(struct reading *reading, const struct json_place *entry)
{
    struct text_view name;
    int64_t id;
    TRY(json_place_integer(entry, &id, "rank", 0, reading->specials - 1));
    TRY(json_place_text(entry, &name, "token_str"));
    if (name.bytes == 0 || name.bytes > NAME_BYTES_MAX || strlen(name.text) != name.bytes)
        return json_place_fail(entry, "token_str", STATUS_DATA_LOSS, "special-token",
                               "must have 1 .. %d bytes, none of them 0", NAME_BYTES_MAX);
    if (reading->parts->tokens[id].type)
        return json_place_fail(entry, "rank", STATUS_DATA_LOSS, "token-twice",
                               "has rank %lld, as another token has", (long long)id);
    return name_special(reading, id, name.text);
}

static struct json_place entry_at(const struct reading *reading, const char *list,
                                  const json_t *value, size_t index)
{
    struct json_place entry = {.json = value, .file = reading->root.file};
    snprintf(entry.path, sizeof entry.path, "%s[%zu].", list, index);
    return entry;
}

/* Those that the file has no name for are called by their number. */
static enum status read_specials(struct reading *reading)
{
    static const char key[] = "special_tokens";
    const json_t *list = NULL;
    if (json_place_get(&reading->root, key))
        TRY(json_place_array(&reading->root, &list, key));
    if (json_array_size(list) > (size_t)reading->specials)
        return json_place_fail(&reading->root, key, STATUS_DATA_LOSS, "special-token",
                               "%zu tokens; %lld are allowed", json_array_size(list),
                               (long long)reading->specials);
    for (size_t i = 0; i < json_array_size(list); i++) {
        struct json_place entry = entry_at(reading, key, json_array_get(list, i), i);
        if (!json_is_object(entry.json))
            return json_place_fail(&entry, NULL, STATUS_DATA_LOSS, "value-type",
                                   "must be an object");
        TRY(read_special(reading, &entry));
    }
    for (int64_t id = 0; id < reading->specials; id++) {
        char name[NAME_BYTES_MAX];
        if (reading->parts->tokens[id].type)
            continue;
        snprintf(name, sizeof name, "<SPECIAL_%lld>", (long long)id);
        TRY(name_special(reading, id, !list && id < OLD_SPECIALS ? old_specials[id] : name));
    }
    return STATUS_OK;
}

/* ---- ranks ---- */

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = c ? strchr(digits, c) : NULL;
    return found ? (int)(found - digits) : -1;
}

/* Base64 with its padding; false where it is none. At most TOKEN_BYTES_MAX bytes. */
static bool decode(uint8_t *out, size_t *count, struct text_view text)
{
    size_t used = 0;
    if (text.bytes == 0 || text.bytes % 4 != 0 || text.bytes / 4 * 3 > TOKEN_BYTES_MAX)
        return false;
    for (size_t i = 0; i < text.bytes; i += 4) {
        const char *four = text.text + i;
        bool is_last = i + 4 == text.bytes;
        int padding = is_last ? (four[3] == '=') + (four[2] == '=' && four[3] == '=') : 0;
        uint32_t bits = 0;
        for (int k = 0; k < 4; k++) {
            int digit = k < 4 - padding ? digit_of(four[k]) : 0;
            if (digit < 0)
                return false;
            bits = bits << 6 | (uint32_t)digit;
        }
        for (int k = 0; k < 3 - padding; k++)
            out[used++] = (uint8_t)(bits >> (16 - 8 * k));
    }
    *count = used;
    return used > 0;
}

/* In GPT-2's alphabet, as vocabularies of kind "gpt2" have it. */
static void spell(char *out, size_t *bytes, const uint8_t *token, size_t count)
{
    *bytes = 0;
    for (size_t i = 0; i < count; i++) {
        unsigned character = token[i];
        bool itself =
            (character >= 0x21 && character <= 0x7E) || (character >= 0xA1 && character != 0xAD);
        if (!itself)
            character = character <= 0x20   ? 0x100 + character
                        : character == 0xAD ? 0x143
                                            : 0x100 + 0x21 + character - 0x7F;
        if (character < 0x80) {
            out[(*bytes)++] = (char)character;
        } else {
            out[(*bytes)++] = (char)(0xC0 | character >> 6);
            out[(*bytes)++] = (char)(0x80 | (character & 0x3F));
        }
    }
}

static enum status read_rank(struct reading *reading, const struct json_place *entry, int64_t rank)
{
    uint8_t token[TOKEN_BYTES_MAX];
    char spelt[ALPHABET_BYTES * TOKEN_BYTES_MAX];
    size_t count;
    size_t bytes;
    int64_t stated;
    struct text_view text;
    TRY(json_place_integer(entry, &stated, "rank", rank, rank));
    TRY(json_place_text(entry, &text, "token_bytes"));
    if (!decode(token, &count, text))
        return json_place_fail(entry, "token_bytes", STATUS_DATA_LOSS, "token",
                               "must be base64 of 1 .. %d bytes", TOKEN_BYTES_MAX);
    if (rank < SINGLE_BYTES ? count != 1 || token[0] != rank : count == 1)
        return json_place_fail(entry, "token_bytes", STATUS_DATA_LOSS, "token",
                               "the first %d tokens, and they alone, are the single bytes",
                               SINGLE_BYTES);
    spell(spelt, &bytes, token, count);
    int64_t id = reading->specials + rank;
    struct vocab_parts *parts = reading->parts;
    parts->tokens[id] = (struct vocab_token){NULL, bytes, VOCAB_NORMAL, 0};
    parts->tokens[id].text = vocab_parts_keep(parts, (struct text_view){spelt, bytes});
    parts->scores[id] = -(float)rank;
    return STATUS_OK;
}

/* Of more ranks than the vocabulary takes, the first. */
static enum status read_ranks(struct reading *reading)
{
    static const char key[] = "vocab";
    const json_t *list;
    TRY(json_place_array(&reading->root, &list, key));
    if (json_array_size(list) < (size_t)reading->ranks)
        return json_place_fail(&reading->root, key, STATUS_DATA_LOSS, "vocab",
                               "%zu tokens; config says %lld", json_array_size(list),
                               (long long)reading->ranks);
    for (int64_t rank = 0; rank < reading->ranks; rank++) {
        const json_t *value = json_array_get(list, (size_t)rank);
        struct json_place entry = entry_at(reading, key, value, (size_t)rank);
        if (!json_is_object(value))
            return json_place_fail(&entry, NULL, STATUS_DATA_LOSS, "value-type",
                                   "must be an object");
        TRY(read_rank(reading, &entry, rank));
    }
    return STATUS_OK;
}

/* ---- all ---- */

static enum status make_room(struct reading *reading, const struct tokenizer_files *files,
                             int32_t count)
{
    struct vocab_parts *parts = reading->parts;
    int64_t tokens = reading->specials + reading->ranks;
    if (count > 0 && count < tokens)
        return json_place_fail(&reading->config, "default_vocab_size", STATUS_DATA_LOSS, "vocab",
                               "is %lld; the model has %d rows", (long long)tokens, count);
    parts->count = count > 0 ? count : (int32_t)tokens;
    parts->tokens = calloc((size_t)parts->count, sizeof *parts->tokens);
    parts->scores = calloc((size_t)parts->count, sizeof *parts->scores);
    /* Base64 has four characters for three bytes, each of at most two in the alphabet. */
    parts->texts = malloc(2 * files->tokenizer.bytes + files->tokenizer_config.bytes +
                          (size_t)reading->specials * NAME_BYTES_MAX + 1);
    if (!parts->tokens || !parts->scores || !parts->texts)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a vocabulary of %d tokens",
                    parts->count);
    for (int32_t id = (int32_t)tokens; id < parts->count; id++)
        parts->tokens[id] = (struct vocab_token){"", 0, VOCAB_UNUSED, 0};
    return STATUS_OK;
}

static enum status read_beside(struct reading *reading, const struct tokenizer_files *files)
{
    struct vocab_parts *parts = reading->parts;
    const int32_t eos = find_token(reading, "</s>");
    const int32_t bos = find_token(reading, "<s>");
    const struct tokenizer_pipeline pipeline = {.adds_bos = bos >= 0, .bos_id = bos};
    parts->special.unknown = find_token(reading, "<unk>");
    TRY(tokenizer_beside_read(parts, files,
                              &(struct tokenizer_beside_args){&pipeline, find_token, reading}));
    if (parts->special.padding < 0)
        parts->special.padding = find_token(reading, "<pad>");
    if (parts->special.eos < 0)
        parts->special.eos = eos;
    (void)vocab_parts_add_end(parts, parts->special.eos); /* one that is not there has room */
    return STATUS_OK;
}

static enum status read_all(struct reading *reading, const struct tokenizer_files *files,
                            int32_t count)
{
    TRY(read_config(reading));
    TRY(make_room(reading, files, count));
    TRY(read_specials(reading));
    TRY(read_ranks(reading));
    reading->parts->kind = text_view_of("gpt2");
    reading->parts->pre = text_view_of("tekken");
    return read_beside(reading, files);
}

enum status tekken_read(struct vocab **vocab, const struct tokenizer_files *files, int32_t count)
{
    struct vocab_parts parts;
    json_t *root = NULL;
    TRY(json_place_parse_with_nul(&root, files->tokenizer.data, files->tokenizer.bytes,
                                  TEKKEN_BYTES_MAX, files->tokenizer.path));
    vocab_parts_init(&parts);
    struct reading reading = {.root = json_place_root(root, files->tokenizer.path),
                              .parts = &parts};
    enum status status = read_all(&reading, files, count);
    if (status == STATUS_OK)
        status = vocab_create(vocab, &parts);
    vocab_parts_deinit(&parts);
    json_decref(root);
    return status;
}
