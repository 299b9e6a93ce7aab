/* Owns the recognition of a tokenizer.json's steps. Promises that a step is known by every key that
 * it has, or refused by its name. */
#include "proto/model/tokenizer_pipeline.h"

#include <string.h>

#include "proto/model/json_step.h"
#include "proto/model/tokenizer_steps.h"

#define LLAMA_3_WITH(numbers)                                                                      \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" numbers "| "                     \
    "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define CASED_WITH(suffix, numbers)                                                                \
    "[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]*[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]"     \
    "+" suffix "|[^\\r\\n\\p{L}\\p{N}]?[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]+"                      \
    "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]*" suffix "|" numbers                                            \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define ENDINGS "(?i:'s|'t|'re|'ve|'m|'ll|'d)?"

enum { SPLITS_MAX = 3 };

/* Split steps by their regular expressions, and ByteLevel behind them. */
static const struct form {
    const char *pre;
    const char *regexes[SPLITS_MAX]; /* NULL where there are fewer */
    bool ignores_merges;             /* where GGUF has this pre-tokenizer */
} forms[] = {
    {"llama-bpe", {LLAMA_3_WITH("\\p{N}{1,3}")}, true},
    {"qwen2", {LLAMA_3_WITH("\\p{N}")}, false},
    {"tekken", {CASED_WITH("", "\\p{N}")}, true},
    {"gpt-4o", {CASED_WITH(ENDINGS, "\\p{N}{1,3}")}, false},
    {"deepseek-v3",
     {"\\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+",
      "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\r\n\\p{L}\\p{P}\\p{S}]?"
      "[\\p{L}\\p{M}]+| ?[\\p{P}\\p{S}]+[\r\n]*|\\s*[\r\n]+|\\s+(?!\\S)|\\s+"},
     false},
};

enum { FORMS = sizeof forms / sizeof forms[0] };

const char *tokenizer_pipeline_pattern(struct text_view pre, int split)
{
    for (size_t i = 0; i < FORMS && split < SPLITS_MAX; i++)
        if (text_view_is(pre, forms[i].pre))
            return forms[i].regexes[split];
    return NULL;
}

bool tokenizer_pipeline_ignores_merges(struct text_view pre)
{
    for (size_t i = 0; i < FORMS; i++)
        if (text_view_is(pre, forms[i].pre))
            return forms[i].ignores_merges;
    return false;
}

/* trim_offsets moves offsets alone. */
static bool is_byte_level(const json_t *step, bool uses_regex)
{
    static const char *const known[] = {"type", "add_prefix_space", "trim_offsets", "use_regex",
                                        NULL};
    const json_t *regex = json_object_get(step, "use_regex");
    return json_step_has_type(step, "ByteLevel") && json_step_has_keys(step, known) &&
           json_is_false(json_object_get(step, "add_prefix_space")) &&
           (regex ? json_is_boolean(regex) && json_is_true(regex) == uses_regex : uses_regex);
}

static bool is_digits(const json_t *step)
{
    static const char *const known[] = {"type", "individual_digits", NULL};
    return json_step_has_type(step, "Digits") && json_step_has_keys(step, known) &&
           json_is_true(json_object_get(step, "individual_digits"));
}

/* Where the pattern takes all of a text, to remove what it does not take is to isolate what it
 * does. */
static bool is_split(const json_t *step, const char *regex, bool takes_all)
{
    static const char *const known[] = {"type", "pattern", "behavior", "invert", NULL};
    const json_t *pattern = json_object_get(step, "pattern");
    const json_t *behavior = json_object_get(step, "behavior");
    bool inverts = json_is_true(json_object_get(step, "invert"));
    return json_step_has_type(step, "Split") && json_step_has_keys(step, known) &&
           json_object_size(pattern) == 1 &&
           json_step_text_is(json_object_get(pattern, "Regex"), regex) &&
           (json_step_text_is(behavior, "Isolated")
                ? !inverts
                : takes_all && inverts && json_step_text_is(behavior, "Removed"));
}

static bool is_form(const struct form *form, const json_t *step, const json_t *list, size_t count)
{
    size_t splits = 0;
    while (splits < SPLITS_MAX && form->regexes[splits])
        splits++;
    if (count != splits + 1 || !is_byte_level(json_step_at(step, list, splits), false))
        return false;
    for (size_t i = 0; i < splits; i++)
        if (!is_split(json_step_at(step, list, i), form->regexes[i], splits == 1))
            return false;
    return true;
}

/* Over bytes. NULL where it is not known. */
static const char *byte_level_name(const json_t *step)
{
    const json_t *list;
    size_t count = json_step_count(step, "pretokenizers", &list);
    if (count == 1 && is_byte_level(json_step_at(step, list, 0), true))
        return "gpt-2";
    if (count == 2 && is_digits(json_step_at(step, list, 0)) &&
        is_byte_level(json_step_at(step, list, 1), true))
        return "smollm";
    for (size_t i = 0; i < FORMS; i++)
        if (is_form(&forms[i], step, list, count))
            return forms[i].pre;
    return NULL;
}

static bool read_metaspace(struct tokenizer_pipeline *pipeline, const json_t *step)
{
    static const char *const known[] = {
        "type", "replacement", "add_prefix_space", "prepend_scheme", "split", "str_rep", NULL};
    static const char *const schemes[] = {"never", "first", "always"};
    const json_t *scheme = json_object_get(step, "prepend_scheme");
    const json_t *adds = json_object_get(step, "add_prefix_space");
    if (!json_step_has_type(step, "Metaspace") || !json_step_has_keys(step, known) ||
        !json_step_text_is(json_object_get(step, "replacement"), "\u2581"))
        return false;
    for (int i = 0; i < 3; i++)
        if (json_step_text_is(scheme, schemes[i]))
            pipeline->metaspace = (enum vocab_metaspace)(VOCAB_METASPACE_NEVER + i);
    if (!scheme)
        pipeline->metaspace = VOCAB_METASPACE_ALWAYS;
    pipeline->metaspace_splits = !json_is_false(json_object_get(step, "split"));
    bool contradicts = json_is_false(adds) && pipeline->metaspace != VOCAB_METASPACE_NEVER;
    return pipeline->metaspace != VOCAB_METASPACE_ABSENT && !contradicts;
}

/* A split at spaces, where no space is left. */
static bool is_idle_split(const json_t *step)
{
    static const char *const known[] = {"type", "pattern", "behavior", "invert", NULL};
    const json_t *pattern = json_object_get(step, "pattern");
    return json_step_has_type(step, "Split") && json_step_has_keys(step, known) &&
           json_object_size(pattern) == 1 &&
           json_step_text_is(json_object_get(pattern, "String"), " ") &&
           json_step_text_is(json_object_get(step, "behavior"), "MergedWithPrevious") &&
           !json_is_true(json_object_get(step, "invert"));
}

static enum status read_pre_tokenizer(struct tokenizer_pipeline *pipeline,
                                      const struct json_place *root)
{
    const json_t *step = json_place_get(root, "pre_tokenizer");
    const json_t *list;
    size_t count = json_step_count(step, "pretokenizers", &list);
    if (!pipeline->steps.is_pieces)
        pipeline->pre = byte_level_name(step);
    bool is_known = pipeline->pre != NULL;
    if (pipeline->steps.is_pieces)
        is_known = count == 0 ||
                   (count == 1 && read_metaspace(pipeline, json_step_at(step, list, 0))) ||
                   (count == 1 && pipeline->steps.hides_spaces &&
                    is_idle_split(json_step_at(step, list, 0)));
    if (is_known)
        return STATUS_OK;
    return json_step_refuse(
        root, "pre_tokenizer", "pretokenizers",
        pipeline->steps.is_pieces
            ? "null, Metaspace with U+2581"
            : "ByteLevel (gpt-2), Digits by one and ByteLevel (smollm), Split by the pattern of "
              "Llama 3 (llama-bpe), Qwen2 (qwen2), Tekken (tekken), GPT-4o (gpt-4o) or by the "
              "three "
              "of DeepSeek-V3 (deepseek-v3) and ByteLevel, without a prefix space");
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
    if (!json_step_text_is(json_object_get(text, "id"), "A"))
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
    bool is_sequence = json_step_has_type(step, "Sequence");
    size_t count = !step ? 0 : is_sequence ? json_array_size(list) : 1;
    bool has_template = false;
    for (size_t i = 0; i < count; i++) {
        const json_t *inner = is_sequence ? json_array_get(list, i) : step;
        bool is_plain =
            json_step_has_type(inner, "ByteLevel") && json_step_has_keys(inner, known_byte_level);
        bool is_template = !has_template && json_step_has_type(inner, "TemplateProcessing") &&
                           json_step_has_keys(inner, known_template) &&
                           read_template(pipeline, inner);
        has_template |= is_template;
        if (!is_plain && !is_template)
            return json_step_refuse(
                root, "post_processor", "processors",
                "ByteLevel, TemplateProcessing with at most one token before the "
                "text and one behind it, and a Sequence of the two");
    }
    return STATUS_OK;
}

enum status tokenizer_pipeline_read(struct tokenizer_pipeline *pipeline,
                                    const struct json_place *root)
{
    struct tokenizer_pipeline read = {.bos_id = -1};
    TRY(tokenizer_steps_read(&read.steps, root));
    TRY(read_pre_tokenizer(&read, root));
    TRY(read_post_processor(&read, root));
    *pipeline = read;
    return STATUS_OK;
}
