/* Owns the reading of a vocabulary from tokenizer.json. Promises that every id has one text, that
 * merges are two parts, and that what it keeps does not need the JSON any more. */
#include "proto/model/tokenizer_json.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/json_place.h"
#include "proto/model/spec.h"
#include "proto/model/tokenizer_added.h"
#include "proto/model/tokenizer_beside.h"
#include "proto/model/tokenizer_pipeline.h"

enum {
    MERGES_MAX = 1 << 24,
};

struct reading {
    struct json_place root;
    struct json_place model;
    struct json_place vocab;
    struct tokenizer_pipeline pipeline;
    struct vocab_parts parts;
};

static int32_t find_token(const void *context, const char *text)
{
    const struct reading *reading = context;
    int64_t id;
    if (json_place_whole(json_object_get(reading->vocab.json, text), &id))
        return (int32_t)id;
    const json_t *added = json_place_get(&reading->root, "added_tokens");
    size_t index;
    json_t *entry;
    json_array_foreach(added, index, entry)
    {
        const char *content = json_string_value(json_object_get(entry, "content"));
        if (content && strcmp(content, text) == 0 &&
            json_place_whole(json_object_get(entry, "id"), &id))
            return (int32_t)id;
    }
    return -1;
}

/* "<0x0A>" */
static bool is_byte(const char *text)
{
    static const char digits[] = "0123456789ABCDEF";
    return strlen(text) == 6 && strncmp(text, "<0x", 3) == 0 && strchr(digits, text[3]) &&
           strchr(digits, text[4]) && text[5] == '>';
}

static enum status read_vocab(struct reading *reading)
{
    struct vocab_parts *parts = &reading->parts;
    const char *text;
    json_t *value;
    TRY(json_place_object(&reading->model, &reading->vocab, "vocab"));
    json_object_foreach((json_t *)reading->vocab.json, text, value)
    {
        int64_t id;
        TRY(json_place_integer(&reading->vocab, &id, text, 0, parts->count - 1));
        struct vocab_token *token = &parts->tokens[id];
        if (token->type)
            return json_place_fail(&reading->vocab, text, STATUS_DATA_LOSS, "token-twice",
                                   "has id %lld, as another token has", (long long)id);
        token->bytes = strlen(text);
        token->text = vocab_parts_keep(parts, (struct text_view){text, token->bytes});
        token->type =
            reading->pipeline.steps.is_pieces && is_byte(text) ? VOCAB_BYTE : VOCAB_NORMAL;
    }
    return STATUS_OK;
}

/* "left right", or two strings. */
static bool cut_merge(struct text_view *left, struct text_view *right, const json_t *merge)
{
    if (json_is_string(merge)) {
        struct text_view text = json_place_view(merge);
        const char *space = memchr(text.text, ' ', text.bytes);
        if (!space || memchr(space + 1, ' ', (size_t)(text.text + text.bytes - space - 1)))
            return false;
        *left = (struct text_view){text.text, (size_t)(space - text.text)};
        *right = (struct text_view){space + 1, text.bytes - left->bytes - 1};
    } else {
        const json_t *first = json_array_get(merge, 0);
        const json_t *second = json_array_get(merge, 1);
        if (json_array_size(merge) != 2 || !json_is_string(first) || !json_is_string(second))
            return false;
        *left = json_place_view(first);
        *right = json_place_view(second);
    }
    return left->bytes > 0 && right->bytes > 0;
}

static enum status read_merges(struct reading *reading)
{
    struct vocab_parts *parts = &reading->parts;
    const json_t *merges;
    TRY(json_place_array(&reading->model, &merges, "merges"));
    size_t count = json_array_size(merges);
    if (count > MERGES_MAX)
        return json_place_fail(&reading->model, "merges", STATUS_DATA_LOSS, "merges",
                               "%zu merges; at most %d are allowed", count, MERGES_MAX);
    parts->merges = calloc(count + 1, sizeof *parts->merges);
    if (!parts->merges)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu merges", count);
    for (size_t priority = 0; priority < count; priority++) {
        struct text_view left;
        struct text_view right;
        if (!cut_merge(&left, &right, json_array_get(merges, priority)))
            return json_place_fail(&reading->model, "merges", STATUS_DATA_LOSS, "merge",
                                   "merge %zu is not two parts with a space between them",
                                   priority);
        const char *kept = vocab_parts_keep(parts, left);
        parts->merges[priority] =
            (struct vocab_merge){kept, left.bytes, vocab_parts_keep(parts, right), right.bytes};
    }
    parts->merge_count = (int32_t)count;
    return STATUS_OK;
}

static enum status read_added_token(struct reading *reading, const struct json_place *entry)
{
    int64_t id;
    int64_t other;
    struct text_view text;
    TRY(json_place_integer(entry, &id, "id", 0, reading->parts.count - 1));
    TRY(json_place_text(entry, &text, "content"));
    if (json_place_whole(json_object_get(reading->vocab.json, text.text), &other) && other != id)
        return tokenizer_added_contradicts(entry, text, id);
    return tokenizer_added_read(&reading->parts, entry, (int32_t)id);
}

static enum status read_added(struct reading *reading)
{
    const json_t *added;
    size_t index;
    json_t *value;
    if (!json_place_get(&reading->root, "added_tokens"))
        return STATUS_OK;
    TRY(json_place_array(&reading->root, &added, "added_tokens"));
    json_array_foreach(added, index, value)
    {
        struct json_place entry = {.json = value, .file = reading->root.file};
        snprintf(entry.path, sizeof entry.path, "added_tokens[%zu].", index);
        if (!json_is_object(value))
            return json_place_fail(&entry, NULL, STATUS_DATA_LOSS, "value-type",
                                   "must be an object");
        TRY(read_added_token(reading, &entry));
    }
    return STATUS_OK;
}

/* Tokens that only the embedding knows. */
static void fill_unused(struct vocab_parts *parts)
{
    for (int32_t id = 0; id < parts->count; id++)
        if (!parts->tokens[id].type)
            parts->tokens[id] = (struct vocab_token){"", 0, VOCAB_UNUSED, 0};
}

static bool has_every_byte(const struct reading *reading)
{
    int others = 0;
    for (int byte = 0; byte < 256; byte++) {
        bool prints =
            (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
        int code = prints ? byte : 0x100 + others++;
        char spelling[3] = {(char)code, 0, 0};
        if (code >= 0x80) {
            spelling[0] = (char)(0xc0 | code >> 6);
            spelling[1] = (char)(0x80 | (code & 0x3f));
        }
        if (!json_object_get(reading->vocab.json, spelling))
            return false;
    }
    return true;
}

static enum status read_model(struct reading *reading)
{
    static const char *const known[] = {"type",          "vocab",
                                        "merges",        "dropout",
                                        "unk_token",     "continuing_subword_prefix",
                                        "fuse_unk",      "end_of_word_suffix",
                                        "byte_fallback", "ignore_merges"};
    const struct json_place *model = &reading->model;
    const bool pieces = reading->pipeline.steps.is_pieces;
    struct text_view type;
    bool set;
    const char *key;
    json_t *value;
    TRY(json_place_text(model, &type, "type"));
    if (!text_view_is(type, "BPE"))
        return json_place_fail(model, "type", STATUS_UNIMPLEMENTED, "tokenizer-model",
                               "model %.64s is not supported; BPE is", type.text);
    json_object_foreach((json_t *)model->json, key, value)
    {
        size_t i = 0;
        while (i < sizeof known / sizeof known[0] && strcmp(known[i], key) != 0)
            i++;
        bool is_set = !json_is_null(value) && !json_is_false(value) &&
                      !(json_is_string(value) && json_string_length(value) == 0);
        if (is_set && (i == sizeof known / sizeof known[0] || i == 3 || i == 5 || i == 7))
            return json_place_fail(model, key, STATUS_UNIMPLEMENTED, "tokenizer-model",
                                   "is not supported");
    }
    TRY(json_place_bool_or(model, &set, "byte_fallback", false));
    if (set != pieces)
        return json_place_fail(model, "byte_fallback", STATUS_UNIMPLEMENTED, "tokenizer-model",
                               "is %s, which is not supported with this decoder",
                               set ? "true" : "false");
    TRY(json_place_bool_or(model, &set, "ignore_merges", false));
    if (set && pieces)
        return json_place_fail(model, "ignore_merges", STATUS_UNIMPLEMENTED, "tokenizer-model",
                               "is not supported with byte_fallback");
    reading->parts.ignore_merges = set ? VOCAB_FLAG_ON : VOCAB_FLAG_OFF;
    return STATUS_OK;
}

static void take_pipeline(struct reading *reading)
{
    const struct tokenizer_pipeline *pipeline = &reading->pipeline;
    struct vocab_parts *parts = &reading->parts;
    parts->kind = text_view_of(pipeline->steps.is_pieces ? "llama" : "gpt2");
    parts->pre = text_view_of(pipeline->pre ? pipeline->pre : "");
    parts->nfc = pipeline->steps.nfc ? VOCAB_FLAG_ON : VOCAB_FLAG_OFF;
    parts->metaspace = pipeline->metaspace;
    parts->metaspace_splits = pipeline->metaspace_splits;
    parts->strips_space = pipeline->steps.strips_space;
    parts->step_count = pipeline->steps.count;
    for (int i = 0; i < parts->step_count; i++) {
        struct vocab_step step = pipeline->steps.steps[i];
        step.from.text = vocab_parts_keep(parts, step.from);
        step.to.text = vocab_parts_keep(parts, step.to);
        parts->steps[i] = step;
    }
}

static enum status read_tokenizer(struct reading *reading)
{
    struct vocab_parts *parts = &reading->parts;
    TRY(tokenizer_pipeline_read(&reading->pipeline, &reading->root));
    TRY(json_place_object(&reading->root, &reading->model, "model"));
    TRY(read_model(reading));
    TRY(read_vocab(reading));
    TRY(read_merges(reading));
    TRY(read_added(reading));
    fill_unused(parts);
    if (reading->pipeline.adds_bos &&
        (reading->pipeline.bos_id < 0 || reading->pipeline.bos_id >= parts->count))
        return json_place_fail(&reading->root, "post_processor", STATUS_DATA_LOSS, "special-token",
                               "adds token %lld; 0 .. %d are there",
                               (long long)reading->pipeline.bos_id, parts->count - 1);
    if (!reading->pipeline.steps.is_pieces && json_place_get(&reading->model, "unk_token") &&
        !has_every_byte(reading))
        return json_place_fail(&reading->model, "unk_token", STATUS_UNIMPLEMENTED,
                               "tokenizer-model",
                               "is not supported where the vocabulary lacks a byte");
    take_pipeline(reading);
    return STATUS_OK;
}

static void take_largest(int32_t *count, const json_t *json)
{
    int64_t id;
    if (json_place_whole(json, &id) && id >= *count && id < MODEL_VOCAB_MAX)
        *count = (int32_t)id + 1;
}

/* One more than the largest id; ids that cannot be are left to those who read them. */
static int32_t count_tokens(const json_t *root)
{
    int32_t count = 1;
    const char *text;
    size_t index;
    json_t *value;
    json_object_foreach(json_object_get(json_object_get(root, "model"), "vocab"), text, value)
    {
        take_largest(&count, value);
    }
    json_array_foreach(json_object_get(root, "added_tokens"), index, value)
    {
        take_largest(&count, json_object_get(value, "id"));
    }
    return count;
}

enum status tokenizer_json_read(struct vocab **vocab, const struct tokenizer_files *files,
                                int32_t count)
{
    struct reading reading = {.root = {0}};
    json_t *root = NULL;
    enum status status;
    TRY(json_place_parse(&root, files->tokenizer.data, files->tokenizer.bytes,
                         TOKENIZER_JSON_BYTES_MAX, files->tokenizer.path));
    vocab_parts_init(&reading.parts);
    reading.root = json_place_root(root, files->tokenizer.path);
    if (count == 0)
        count = count_tokens(root);
    reading.parts.tokens = calloc((size_t)count, sizeof *reading.parts.tokens);
    reading.parts.texts = malloc(files->tokenizer.bytes + files->tokenizer_config.bytes);
    if (!reading.parts.tokens || !reading.parts.texts) {
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a vocabulary of %d tokens", count);
        goto deinit;
    }
    reading.parts.count = count;
    TRY_ELSE(read_tokenizer(&reading), deinit);
    TRY_ELSE(tokenizer_beside_read(
                 &reading.parts, files,
                 &(struct tokenizer_beside_args){&reading.pipeline, find_token, &reading}),
             deinit);
    status = vocab_create(vocab, &reading.parts);
deinit:
    vocab_parts_deinit(&reading.parts);
    json_decref(root);
    return status;
}
