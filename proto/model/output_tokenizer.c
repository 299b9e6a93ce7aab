/* Owns the making of tokenizer.json and the two files beside it from a vocabulary. Promises the ids
 * that the vocabulary has, and the steps that its pre-tokenizer stands for, as
 * tokenizer_pipeline.c reads them. */
#include "proto/model/output_tokenizer.h"

#include <jansson.h>
#include <stdbool.h>

#include "proto/model/output_json.h"
#include "proto/model/tokenizer_pipeline.h"

static json_t *byte_level(bool uses_regex)
{
    return json_pack("{s:s, s:b, s:b, s:b}", "type", "ByteLevel", "add_prefix_space", 0,
                     "trim_offsets", 1, "use_regex", uses_regex);
}

static json_t *sequence(json_t *first, json_t *second)
{
    return json_pack("{s:s, s:[o, o]}", "type", "Sequence", "pretokenizers", first, second);
}

static json_t *with_last(json_t *list, json_t *last)
{
    json_array_append_new(list, last);
    return list;
}

static json_t *split(const char *pattern)
{
    return json_pack("{s:s, s:{s:s}, s:s, s:b}", "type", "Split", "pattern", "Regex", pattern,
                     "behavior", "Isolated", "invert", 0);
}

/* Split by each of the patterns, and ByteLevel. NULL where there is none. */
static json_t *splits(struct text_view pre)
{
    json_t *list = json_array();
    const char *pattern = tokenizer_pipeline_pattern(pre, 0);
    for (int i = 0; pattern; pattern = tokenizer_pipeline_pattern(pre, ++i))
        json_array_append_new(list, split(pattern));
    if (json_array_size(list) > 0)
        return json_pack("{s:s, s:o}", "type", "Sequence", "pretokenizers",
                         with_last(list, byte_level(false)));
    json_decref(list);
    return NULL;
}

/* NULL for one that is not known. */
static json_t *pre_tokenizer(struct text_view pre)
{
    if (text_view_is(pre, "gpt-2"))
        return byte_level(true);
    if (text_view_is(pre, "smollm"))
        return sequence(json_pack("{s:s, s:b}", "type", "Digits", "individual_digits", 1),
                        byte_level(true));
    return splits(pre);
}

enum status output_tokenizer_check(const struct vocab *vocab, const char *name)
{
    const struct text_view kind = vocab_kind(vocab);
    const struct text_view pre = vocab_pre(vocab);
    if (!text_view_is(kind, "gpt2"))
        return fail(STATUS_UNIMPLEMENTED,
                    "%s: a tokenizer of kind %.*s is not written as tokenizer.json; write a GGUF "
                    "file",
                    name, (int)kind.bytes, kind.text);
    int steps;
    (void)vocab_steps(vocab, &steps);
    if (steps > 0 || vocab_scores(vocab))
        return fail(STATUS_UNIMPLEMENTED,
                    "%s: a tokenizer %s is not written as tokenizer.json; copy its own files", name,
                    steps > 0 ? "with such a normalizer" : "without merges");
    json_t *step = pre_tokenizer(pre);
    json_decref(step);
    if (!step)
        return fail(STATUS_UNIMPLEMENTED,
                    "%s: the pre-tokenizer \"%.*s\" is not written as tokenizer.json; write a GGUF "
                    "file",
                    name, (int)pre.bytes, pre.text);
    return STATUS_OK;
}

static bool is_added(struct vocab_token token)
{
    return token.type == VOCAB_CONTROL || token.type == VOCAB_USER_DEFINED;
}

static json_t *text_of(const struct vocab *vocab, int32_t id)
{
    const struct vocab_token token = vocab_token(vocab, id);
    return json_stringn(token.text, token.bytes);
}

/* Under the token's text. Takes `value`. */
static int set_by_text(json_t *object, const struct vocab *vocab, int32_t id, json_t *value)
{
    json_t *text = text_of(vocab, id);
    const int failed = json_object_set_new(object, json_string_value(text), value);
    json_decref(text);
    return failed;
}

static json_t *added_tokens(const struct vocab *vocab)
{
    json_t *added = json_array();
    int failed = 0;
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        const struct vocab_token token = vocab_token(vocab, id);
        if (is_added(token))
            failed |= json_array_append_new(
                added,
                json_pack("{s:i, s:o, s:b, s:b, s:b, s:b, s:b}", "id", (int)id, "content",
                          text_of(vocab, id), "single_word", (token.match & VOCAB_SINGLE_WORD) != 0,
                          "lstrip", (token.match & VOCAB_LSTRIP) != 0, "rstrip",
                          (token.match & VOCAB_RSTRIP) != 0, "normalized",
                          (token.match & VOCAB_STEPPED) != 0, "special",
                          token.type == VOCAB_CONTROL));
    }
    if (!failed)
        return added;
    json_decref(added);
    return NULL;
}

/* Rows of the embedding without a token are in no file. */
static json_t *token_ids(const struct vocab *vocab)
{
    json_t *ids = json_object();
    int failed = 0;
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        if (vocab_token(vocab, id).type != VOCAB_UNUSED)
            failed |= set_by_text(ids, vocab, id, json_integer(id));
    }
    if (!failed)
        return ids;
    json_decref(ids);
    return NULL;
}

/* Pairs of strings: a part may have a space in it. */
static json_t *merges(const struct vocab *vocab)
{
    json_t *list = json_array();
    int failed = 0;
    for (int32_t priority = 0; priority < vocab_merge_count(vocab); priority++) {
        const struct vocab_merge merge = vocab_merge(vocab, priority);
        failed |= json_array_append_new(list, json_pack("[s%, s%]", merge.left, merge.left_bytes,
                                                        merge.right, merge.right_bytes));
    }
    if (!failed)
        return list;
    json_decref(list);
    return NULL;
}

/* What a GGUF file leaves out follows from its pre-tokenizer. */
static bool ignores_merges(const struct vocab *vocab)
{
    const enum vocab_flag flag = vocab_ignore_merges(vocab);
    return flag == VOCAB_FLAG_ABSENT ? tokenizer_pipeline_ignores_merges(vocab_pre(vocab))
                                     : flag == VOCAB_FLAG_ON;
}

static json_t *model_of(const struct vocab *vocab)
{
    return json_pack("{s:s, s:n, s:n, s:n, s:n, s:b, s:b, s:b, s:o, s:o}", "type", "BPE", "dropout",
                     "unk_token", "continuing_subword_prefix", "end_of_word_suffix", "fuse_unk", 0,
                     "byte_fallback", 0, "ignore_merges", ignores_merges(vocab), "vocab",
                     token_ids(vocab), "merges", merges(vocab));
}

static json_t *special_item(json_t *text)
{
    return json_pack("{s:{s:o, s:i}}", "SpecialToken", "id", text, "type_id", 0);
}

/* What puts a token before every text. */
static json_t *bos_processor(const struct vocab *vocab, int32_t bos)
{
    json_t *ids = json_object();
    json_t *text_a = json_pack("{s:{s:s, s:i}}", "Sequence", "id", "A", "type_id", 0);
    json_t *text_b = json_pack("{s:{s:s, s:i}}", "Sequence", "id", "B", "type_id", 1);
    json_t *single = json_pack("[o, O]", special_item(text_of(vocab, bos)), text_a);
    json_t *pair = json_pack("[o, o, o, o]", special_item(text_of(vocab, bos)), text_a,
                             special_item(text_of(vocab, bos)), text_b);
    const int failed = set_by_text(ids, vocab, bos,
                                   json_pack("{s:o, s:[i], s:[o]}", "id", text_of(vocab, bos),
                                             "ids", (int)bos, "tokens", text_of(vocab, bos)));
    json_t *processor = json_pack("{s:s, s:o, s:o, s:o}", "type", "TemplateProcessing", "single",
                                  single, "pair", pair, "special_tokens", ids);
    if (!failed)
        return processor;
    json_decref(processor);
    return NULL;
}

static bool is_on(enum vocab_flag flag, const struct vocab *vocab, const char *pre)
{
    return flag == VOCAB_FLAG_ON ||
           (flag == VOCAB_FLAG_ABSENT && text_view_is(vocab_pre(vocab), pre));
}

static json_t *post_processor(const struct vocab *vocab)
{
    const int32_t bos = vocab_special(vocab).bos;
    if (bos >= 0 && is_on(vocab_add_bos(vocab), vocab, "llama-bpe"))
        return bos_processor(vocab, bos);
    return byte_level(true);
}

static json_t *tokenizer_of(const struct vocab *vocab)
{
    json_t *normalizer =
        is_on(vocab_nfc(vocab), vocab, "qwen2") ? json_pack("{s:s}", "type", "NFC") : json_null();
    return json_pack("{s:s, s:n, s:n, s:o, s:o, s:o, s:o, s:o, s:o}", "version", "1.0",
                     "truncation", "padding", "added_tokens", added_tokens(vocab), "normalizer",
                     normalizer, "pre_tokenizer", pre_tokenizer(vocab_pre(vocab)), "post_processor",
                     post_processor(vocab), "decoder", byte_level(true), "model", model_of(vocab));
}

static json_t *id_text(const struct vocab *vocab, int32_t id)
{
    return id >= 0 ? text_of(vocab, id) : json_null();
}

static json_t *tokenizer_config_of(const struct vocab *vocab)
{
    const struct vocab_special special = vocab_special(vocab);
    const struct text_view template = vocab_chat_template(vocab);
    json_t *config = json_pack(
        "{s:s, s:b, s:o, s:o, s:o}", "tokenizer_class", "PreTrainedTokenizerFast",
        "clean_up_tokenization_spaces", 0, "bos_token", id_text(vocab, special.bos), "eos_token",
        id_text(vocab, special.eos), "pad_token", id_text(vocab, special.padding));
    if (config && template.bytes > 0 &&
        json_object_set_new(config, "chat_template", json_stringn(template.text, template.bytes)) !=
            0) {
        json_decref(config);
        return NULL;
    }
    return config;
}

static json_t *generation_config_of(const struct vocab *vocab)
{
    const struct vocab_special special = vocab_special(vocab);
    json_t *ends = json_array();
    int failed = 0;
    for (int i = 0; i < special.end_count; i++)
        failed |= json_array_append_new(ends, json_integer(special.ends[i]));
    json_t *config = json_object();
    if (special.bos >= 0)
        failed |= json_object_set_new(config, "bos_token_id", json_integer(special.bos));
    if (special.padding >= 0)
        failed |= json_object_set_new(config, "pad_token_id", json_integer(special.padding));
    failed |= json_object_set(config, "eos_token_id", ends);
    json_decref(ends);
    if (!failed)
        return config;
    json_decref(config);
    return NULL;
}

enum status output_tokenizer_write(const struct output_folder *folder, const struct vocab *vocab)
{
    char path[OUTPUT_FOLDER_PATH_BYTES];
    output_folder_file(path, folder, "tokenizer.json");
    TRY(output_json_write(path, tokenizer_of(vocab)));
    output_folder_file(path, folder, "tokenizer_config.json");
    TRY(output_json_write(path, tokenizer_config_of(vocab)));
    output_folder_file(path, folder, "generation_config.json");
    return output_json_write(path, generation_config_of(vocab));
}
