/* Owns the recognition of a tokenizer.json's steps. Promises that a step is known by every key that
 * it has, or refused by its name. */
#include "proto/model/tokenizer_pipeline.h"

#include <stdio.h>
#include <string.h>

#define LLAMA_3_WITH(numbers)                                                                      \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers "| "                     \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"

static const char llama3_pattern[] = LLAMA_3_WITH("\\p{N}{1,3}");
static const char qwen2_pattern[] = LLAMA_3_WITH("\\p{N}");

const char *tokenizer_pipeline_pattern(struct text_view pre)
{
    if (text_view_is(pre, "llama-bpe"))
        return llama3_pattern;
    return text_view_is(pre, "qwen2") ? qwen2_pattern : NULL;
}

static bool text_is(const json_t *value, const char *text)
{
    return json_is_string(value) && strcmp(json_string_value(value), text) == 0;
}

static bool has_type(const json_t *step, const char *type)
{
    return text_is(json_object_get(step, "type"), type);
}

/* Whether `step` has none but these keys. */
static bool has_keys(const json_t *step, const char *const *known)
{
    size_t found = 0;
    for (; *known; known++)
        found += json_object_get(step, *known) != NULL;
    return found == json_object_size(step);
}

/* trim_offsets moves offsets alone. */
static bool is_byte_level(const json_t *step, bool uses_regex)
{
    static const char *const known[] = {"type", "add_prefix_space", "trim_offsets", "use_regex",
                                        NULL};
    const json_t *regex = json_object_get(step, "use_regex");
    return has_type(step, "ByteLevel") && has_keys(step, known) &&
           json_is_false(json_object_get(step, "add_prefix_space")) &&
           (regex ? json_is_boolean(regex) && json_is_true(regex) == uses_regex : uses_regex);
}

static bool is_digits(const json_t *step)
{
    static const char *const known[] = {"type", "individual_digits", NULL};
    return has_type(step, "Digits") && has_keys(step, known) &&
           json_is_true(json_object_get(step, "individual_digits"));
}

static bool is_split(const json_t *step, const char *regex)
{
    static const char *const known[] = {"type", "pattern", "behavior", "invert", NULL};
    const json_t *pattern = json_object_get(step, "pattern");
    const json_t *invert = json_object_get(step, "invert");
    return has_type(step, "Split") && has_keys(step, known) && json_object_size(pattern) == 1 &&
           text_is(json_object_get(pattern, "Regex"), regex) &&
           text_is(json_object_get(step, "behavior"), "Isolated") &&
           (!invert || json_is_false(invert));
}

/* "Sequence[Split, ByteLevel]": the types of a step, for sentences. */
static void spell_step(char *out, size_t bytes, const json_t *step, const char *list_key)
{
    const char *type = json_string_value(json_object_get(step, "type"));
    const json_t *list = json_object_get(step, list_key);
    size_t index;
    json_t *inner;
    size_t used =
        (size_t)snprintf(out, bytes, "%.40s%s", type ? type : "(no type)", list ? "[" : "");
    json_array_foreach(list, index, inner)
    {
        const char *name = json_string_value(json_object_get(inner, "type"));
        if (used < bytes)
            used += (size_t)snprintf(out + used, bytes - used, "%s%.40s", index > 0 ? ", " : "",
                                     name ? name : "(no type)");
    }
    if (list && used < bytes)
        snprintf(out + used, bytes - used, "]");
}

static enum status refuse_step(const struct json_place *root, const char *key, const char *list_key,
                               const char *known)
{
    char spelt[256];
    spell_step(spelt, sizeof spelt, json_place_get(root, key), list_key);
    return json_place_fail(root, key, STATUS_UNIMPLEMENTED, key, "%s is not supported; known: %s",
                           spelt, known);
}

static enum status read_normalizer(struct tokenizer_pipeline *pipeline,
                                   const struct json_place *root)
{
    static const char *const known[] = {"type", NULL};
    const json_t *step = json_place_get(root, "normalizer");
    pipeline->nfc = has_type(step, "NFC") && has_keys(step, known);
    if (step && !pipeline->nfc)
        return refuse_step(root, "normalizer", "normalizers", "null, NFC");
    return STATUS_OK;
}

static enum status read_pre_tokenizer(struct tokenizer_pipeline *pipeline,
                                      const struct json_place *root)
{
    static const char *const known[] = {"type", "pretokenizers", NULL};
    const json_t *step = json_place_get(root, "pre_tokenizer");
    const json_t *list = json_object_get(step, "pretokenizers");
    bool is_sequence = has_type(step, "Sequence") && has_keys(step, known);
    const json_t *first = is_sequence ? json_array_get(list, 0) : step;
    const json_t *second = is_sequence ? json_array_get(list, 1) : NULL;
    size_t count = is_sequence ? json_array_size(list) : 1;
    if (count == 1 && is_byte_level(first, true))
        pipeline->pre = "gpt-2";
    else if (count == 2 && is_digits(first) && is_byte_level(second, true))
        pipeline->pre = "smollm";
    else if (count == 2 && is_split(first, llama3_pattern) && is_byte_level(second, false))
        pipeline->pre = "llama-bpe";
    else if (count == 2 && is_split(first, qwen2_pattern) && is_byte_level(second, false))
        pipeline->pre = "qwen2";
    else
        return refuse_step(
            root, "pre_tokenizer", "pretokenizers",
            "ByteLevel (gpt-2), Digits by one and ByteLevel (smollm), Split by the "
            "pattern of Llama 3 (llama-bpe) or of Qwen2 (qwen2) and ByteLevel, without a "
            "prefix space");
    pipeline->ignores_merges = strcmp(pipeline->pre, "llama-bpe") == 0;
    return STATUS_OK;
}

/* The id of the special token that a template's item names; false where it is none of one id. */
static bool special_id(int64_t *id, const json_t *template, const json_t *item)
{
    const char *name =
        json_string_value(json_object_get(json_object_get(item, "SpecialToken"), "id"));
    const json_t *specials = json_object_get(template, "special_tokens");
    const json_t *ids = name ? json_object_get(json_object_get(specials, name), "ids") : NULL;
    return json_array_size(ids) == 1 && json_place_whole(json_array_get(ids, 0), id);
}

/* One text, with at most one special token before it and one behind it. */
static bool read_template(struct tokenizer_pipeline *pipeline, const json_t *template)
{
    const json_t *single = json_object_get(template, "single");
    size_t count = json_array_size(single);
    int64_t eos_id;
    size_t place = 0;
    if (special_id(&pipeline->bos_id, template, json_array_get(single, 0))) {
        pipeline->adds_bos = true;
        place = 1;
    }
    const json_t *text = json_object_get(json_array_get(single, place), "Sequence");
    if (!text_is(json_object_get(text, "id"), "A"))
        return false;
    if (place + 2 == count && special_id(&eos_id, template, json_array_get(single, place + 1)))
        pipeline->adds_eos = true;
    return place + 1 + pipeline->adds_eos == count;
}

static enum status read_post_processor(struct tokenizer_pipeline *pipeline,
                                       const struct json_place *root)
{
    static const char *const known_byte_level[] = {"type", "add_prefix_space", "trim_offsets",
                                                   "use_regex", NULL};
    static const char *const known_template[] = {"type", "single", "pair", "special_tokens", NULL};
    const json_t *step = json_place_get(root, "post_processor");
    const json_t *list = json_object_get(step, "processors");
    bool is_sequence = has_type(step, "Sequence");
    size_t count = !step ? 0 : is_sequence ? json_array_size(list) : 1;
    bool has_template = false;
    for (size_t i = 0; i < count; i++) {
        const json_t *inner = is_sequence ? json_array_get(list, i) : step;
        bool is_plain = has_type(inner, "ByteLevel") && has_keys(inner, known_byte_level);
        bool is_template = !has_template && has_type(inner, "TemplateProcessing") &&
                           has_keys(inner, known_template) && read_template(pipeline, inner);
        has_template |= is_template;
        if (!is_plain && !is_template)
            return refuse_step(root, "post_processor", "processors",
                               "ByteLevel, TemplateProcessing with at most one token before the "
                               "text and one behind it, and a Sequence of the two");
    }
    return STATUS_OK;
}

enum status tokenizer_pipeline_read(struct tokenizer_pipeline *pipeline,
                                    const struct json_place *root)
{
    struct tokenizer_pipeline read = {.bos_id = -1};
    TRY(read_normalizer(&read, root));
    TRY(read_pre_tokenizer(&read, root));
    TRY(read_post_processor(&read, root));
    if (!has_type(json_place_get(root, "decoder"), "ByteLevel"))
        return refuse_step(root, "decoder", "decoders", "ByteLevel");
    *pipeline = read;
    return STATUS_OK;
}
