/* The vocabulary of tokenizer.json: the same ids as from GGUF, and refusals with their path. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/tokenizer.h"
#include "proto/model/tokenizer_json.h"
#include "tests/support/random.h"
#include "tests/support/tiny_directory.h"

static const struct tiny_model_shape shape = {.layers = 1,
                                              .hidden = 32,
                                              .heads = 2,
                                              .kv_heads = 1,
                                              .head_dim = 16,
                                              .ffn = 32,
                                              .vocab = TINY_MODEL_VOCAB_MIN + 5};

static struct gguf_writer file;
static struct model *model;

static int open_model(void **state)
{
    (void)state;
    tiny_model_build(&file, &shape, 1, DTYPE_F32);
    return model_parse(&model, file.data, file.bytes, "tiny") == STATUS_OK ? 0 : -1;
}

static int close_model(void **state)
{
    (void)state;
    model_close(model);
    gguf_writer_free(&file);
    return 0;
}

static const char *texts[4]; /* of the files below, freed by read_all */

/* Each JSON value is taken; NULL: no such file. */
struct sources {
    json_t *tokenizer;
    json_t *tokenizer_config;
    json_t *generation_config;
    json_t *config;
    const char *chat_template;
};

static struct tokenizer_file file_of(json_t *json, const char *name, int place)
{
    if (!json)
        return (struct tokenizer_file){0};
    char *text = json_dumps(json, 0);
    assert_non_null(text);
    texts[place] = text;
    json_decref(json);
    return (struct tokenizer_file){name, text, strlen(text)};
}

/* Texts of the vocabulary are copies, so that the JSON need not live on. */
static enum status read_all(struct vocab **vocab, const struct sources *sources)
{
    const char *template = sources->chat_template;
    const struct tokenizer_files files = {
        .tokenizer = file_of(sources->tokenizer, "tokenizer.json", 0),
        .tokenizer_config = file_of(sources->tokenizer_config, "tokenizer_config.json", 1),
        .generation_config = file_of(sources->generation_config, "generation_config.json", 2),
        .config = file_of(sources->config, "config.json", 3),
        .chat_template = {template ? "chat_template.jinja" : NULL, template,
                          template ? strlen(template) : 0},
    };
    enum status status = tokenizer_json_read(vocab, &files, shape.vocab);
    for (int i = 0; i < 4; i++) {
        free((void *)texts[i]);
        texts[i] = NULL;
    }
    return status;
}

static json_t *tiny(void)
{
    return tiny_directory_tokenizer(model_vocab(model));
}

static struct vocab *read_or_fail(const struct sources *sources)
{
    struct vocab *vocab = NULL;
    if (read_all(&vocab, sources) != STATUS_OK)
        fail_msg("%s", status_message());
    return vocab;
}

/* Sets the value at "a.b.c" or "list.1.c". */
static void set_at(json_t *root, const char *path, json_t *value)
{
    char copy[128];
    snprintf(copy, sizeof copy, "%s", path);
    json_t *at = root;
    char *rest = copy;
    for (char *point = strchr(rest, '.'); point; point = strchr(rest, '.')) {
        *point = 0;
        at = json_is_array(at) ? json_array_get(at, (size_t)atoi(rest)) : json_object_get(at, rest);
        assert_non_null(at);
        rest = point + 1;
    }
    if (json_is_array(at))
        json_array_set_new(at, (size_t)atoi(rest), value);
    else
        json_object_set_new(at, rest, value);
}

static json_t *changed(const char *path, const char *value)
{
    json_t *root = tiny();
    json_t *parsed = json_loads(value, JSON_DECODE_ANY, NULL);
    assert_non_null(parsed);
    set_at(root, path, parsed);
    return root;
}

static void expect_same_ids(const struct tokenizer *a, const struct tokenizer *b, const char *text,
                            size_t bytes)
{
    struct id_list left = {0};
    struct id_list right = {0};
    const unsigned flags = TOKENIZER_CONTROL | TOKENIZER_BOS;
    assert_int_equal(tokenizer_encode(a, &left, text, bytes, flags), STATUS_OK);
    assert_int_equal(tokenizer_encode(b, &right, text, bytes, flags), STATUS_OK);
    assert_int_equal(left.count, right.count);
    if (left.count > 0)
        assert_memory_equal(left.ids, right.ids, left.count * sizeof *left.ids);
    id_list_deinit(&left);
    id_list_deinit(&right);
}

static void compare_tokenizers(json_t *json)
{
    static const char *const samples[] = {
        "",
        "the other in the end",
        "  the\n\n the 12 345 'll don't",
        "<|im_start|>user\nhi<|im_end|><|endoftext|>",
        "\u00e9\u4e00 \U0001f642 \u0660",
    };
    static const char *const parts[] = {"the", " ",  "he", " in", "er", "<|im_end|>", "\u00e9",
                                        "7",   "\n", "'s", "a",   "t",  "\u2003",     "!"};
    struct tokenizer *from_gguf;
    struct tokenizer *from_json;
    const struct sources sources = {
        .tokenizer = json, .tokenizer_config = tiny_directory_tokenizer_config(model_vocab(model))};
    struct vocab *vocab = read_or_fail(&sources);
    assert_int_equal(tokenizer_create(&from_gguf, model_vocab(model)), STATUS_OK);
    assert_int_equal(tokenizer_create(&from_json, vocab), STATUS_OK);
    for (size_t i = 0; i < sizeof samples / sizeof samples[0]; i++)
        expect_same_ids(from_gguf, from_json, samples[i], strlen(samples[i]));
    struct random random = {11};
    printf("seed 11, 2000 texts\n");
    for (int round = 0; round < 2000; round++) {
        char text[256];
        size_t used = 0;
        for (int64_t left = random_between(&random, 0, 12); left > 0; left--)
            used +=
                (size_t)snprintf(text + used, sizeof text - used, "%s",
                                 parts[random_between(&random, 0, sizeof parts / sizeof parts[0])]);
        assert_true(used < sizeof text);
        expect_same_ids(from_gguf, from_json, text, used);
    }
    size_t stop_count;
    size_t other_count;
    const int32_t *stops = tokenizer_stop_ids(from_json, &stop_count);
    const int32_t *others = tokenizer_stop_ids(from_gguf, &other_count);
    assert_int_equal(stop_count, other_count);
    assert_memory_equal(stops, others, stop_count * sizeof *stops);
    tokenizer_destroy(from_gguf);
    tokenizer_destroy(from_json);
    vocab_destroy(vocab);
}

static void ids_are_those_of_the_gguf_vocabulary(void **state)
{
    (void)state;
    compare_tokenizers(tiny());
}

static void merges_may_be_pairs(void **state)
{
    (void)state;
    json_t *json = tiny();
    json_t *merges = json_object_get(json_object_get(json, "model"), "merges");
    for (size_t i = 0; i < json_array_size(merges); i++) {
        const char *text = json_string_value(json_array_get(merges, i));
        const char *space = strchr(text, ' ');
        json_array_set_new(merges, i, json_pack("[s%s]", text, (size_t)(space - text), space + 1));
    }
    compare_tokenizers(json);
}

static void every_token_is_that_of_the_gguf_vocabulary(void **state)
{
    (void)state;
    const struct sources sources = {.tokenizer = tiny()};
    struct vocab *vocab = read_or_fail(&sources);
    const struct vocab *other = model_vocab(model);
    assert_int_equal(vocab_count(vocab), vocab_count(other));
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        struct vocab_token token = vocab_token(vocab, id);
        struct vocab_token wanted = vocab_token(other, id);
        assert_int_equal(token.type, wanted.type);
        assert_int_equal(token.bytes, token.type == VOCAB_UNUSED ? 0 : wanted.bytes);
        assert_memory_equal(token.text, wanted.text, token.bytes);
    }
    assert_true(text_view_is(vocab_pre(vocab), "smollm"));
    assert_int_equal(vocab_add_bos(vocab), VOCAB_FLAG_OFF);
    vocab_destroy(vocab);
}

#define BYTE_LEVEL "{\"type\":\"ByteLevel\",\"add_prefix_space\":false,\"trim_offsets\":true"
#define LLAMA3_WITH(numbers)                                                                       \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\\\r\\\\n\\\\p{L}\\\\p{N}]?\\\\p{L}+|" numbers "| "           \
    "?[^\\\\s\\\\p{L}\\\\p{N}]+[\\\\r\\\\n]*|\\\\s*[\\\\r\\\\n]+|\\\\s+(?!\\\\S)|\\\\s+"
#define LLAMA3 LLAMA3_WITH("\\\\p{N}{1,3}")
#define QWEN2 LLAMA3_WITH("\\\\p{N}")
#define SPLIT(regex, behavior)                                                                     \
    "{\"type\":\"Sequence\",\"pretokenizers\":[{\"type\":\"Split\",\"pattern\":{\"Regex\":"        \
    "\"" regex "\"},\"behavior\":\"" behavior "\",\"invert\":false}," BYTE_LEVEL                   \
    ",\"use_regex\":false}]}"

static void pre_tokenizers_are_known_by_their_form(void **state)
{
    (void)state;
    static const struct {
        const char *form;
        const char *ignores_merges;
        const char *name;
    } cases[] = {
        {BYTE_LEVEL ",\"use_regex\":true}", "false", "gpt-2"},
        {BYTE_LEVEL "}", "false", "gpt-2"},
        {"{\"type\":\"Sequence\",\"pretokenizers\":[" BYTE_LEVEL "}]}", "false", "gpt-2"},
        {SPLIT(LLAMA3, "Isolated"), "true", "llama-bpe"},
        {SPLIT(QWEN2, "Isolated"), "false", "qwen2"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *json = changed("pre_tokenizer", cases[i].form);
        set_at(json, "model.ignore_merges",
               json_loads(cases[i].ignores_merges, JSON_DECODE_ANY, NULL));
        const struct sources sources = {.tokenizer = json};
        struct vocab *vocab = read_or_fail(&sources);
        assert_true(text_view_is(vocab_pre(vocab), cases[i].name));
        assert_int_equal(vocab_nfc(vocab), VOCAB_FLAG_OFF);
        vocab_destroy(vocab);
    }
}

/* Asked for by the file, with any pre-tokenizer; without, not even where GGUF means it. */
static void a_normalizer_of_nfc_is_followed(void **state)
{
    (void)state;
    static const char *const pre_tokenizers[] = {BYTE_LEVEL "}", SPLIT(QWEN2, "Isolated")};
    for (int i = 0; i < 4; i++) {
        bool normalises = i % 2 == 1;
        json_t *json = changed("pre_tokenizer", pre_tokenizers[i / 2]);
        if (normalises)
            set_at(json, "normalizer", json_loads("{\"type\":\"NFC\"}", 0, NULL));
        const struct sources sources = {.tokenizer = json};
        struct vocab *vocab = read_or_fail(&sources);
        struct tokenizer *tokenizer;
        struct id_list ids = {0};
        assert_int_equal(vocab_nfc(vocab), normalises ? VOCAB_FLAG_ON : VOCAB_FLAG_OFF);
        assert_int_equal(tokenizer_create(&tokenizer, vocab), STATUS_OK);
        assert_int_equal(tokenizer_encode(tokenizer, &ids, "e\u0301", 3, 0), STATUS_OK);
        assert_int_equal(ids.count, normalises ? 2 : 3);
        id_list_deinit(&ids);
        tokenizer_destroy(tokenizer);
        vocab_destroy(vocab);
    }
}

static void expect_refusal(const struct sources *sources, enum status expected, const char *words)
{
    struct vocab *vocab = NULL;
    enum status status = read_all(&vocab, sources);
    if (status != expected || !strstr(status_message(), words))
        print_error("wanted %s: %s, got %s: %s\n", status_name(expected), words,
                    status_name(status), status_message());
    assert_int_equal(status, expected);
    assert_non_null(strstr(status_message(), words));
    assert_null(vocab);
}

static void steps_that_are_not_known_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *value;
        const char *words;
    } cases[] = {
        {"normalizer", "{\"type\":\"NFKD\"}",
         "normalizer: NFKD is not supported; known: null, NFC"},
        {"normalizer", "{\"type\":\"Replace\",\"pattern\":{\"Regex\":\"a+\"},\"content\":\"\"}",
         "normalizer: Replace is"},
        {"normalizer", "{\"type\":\"Replace\",\"pattern\":{\"String\":\"\"},\"content\":\"a\"}",
         "normalizer: Replace is"},
        {"normalizer", "{\"type\":\"NFC\",\"more\":1}", "normalizer: NFC is not supported"},
        {"normalizer", "{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Prepend\"}]}",
         "normalizer: Sequence[Prepend] is"},
        {"pre_tokenizer", "null", "pre_tokenizer: (no type) is"},
        {"pre_tokenizer", "{\"type\":\"Metaspace\"}", "pre_tokenizer: Metaspace is"},
        {"pre_tokenizer.pretokenizers.0.individual_digits", "false",
         "pre_tokenizer: Sequence[Digits, ByteLevel] is"},
        {"pre_tokenizer.pretokenizers.1.add_prefix_space", "true", "Sequence[Digits, ByteLevel]"},
        {"pre_tokenizer.pretokenizers.1.use_regex", "false", "Sequence[Digits, ByteLevel]"},
        {"pre_tokenizer.pretokenizers.1.more", "1", "Sequence[Digits, ByteLevel]"},
        {"pre_tokenizer", SPLIT("\\\\p{L}+", "Isolated"), "Sequence[Split, ByteLevel] is"},
        {"pre_tokenizer", SPLIT(LLAMA3, "Removed"), "Sequence[Split, ByteLevel] is"},
        {"post_processor", "{\"type\":\"BertProcessing\"}", "post_processor: BertProcessing is"},
        {"post_processor", "{\"type\":\"TemplateProcessing\",\"single\":[]}",
         "post_processor: TemplateProcessing is"},
        {"decoder", "null", "decoder: (no type) is"},
        {"decoder", "{\"type\":\"Metaspace\"}", "decoder: Metaspace is"},
        {"model.type", "\"Unigram\"", "model.type: model Unigram is not supported"},
        {"model.byte_fallback", "true",
         "model.byte_fallback: is true, which is not supported with this decoder"},
        {"model.dropout", "0.1", "model.dropout: is not supported"},
        {"model.continuing_subword_prefix", "\"##\"", "model.continuing_subword_prefix"},
        {"model.end_of_word_suffix", "\"</w>\"", "model.end_of_word_suffix"},
        {"model.some_new_key", "1", "model.some_new_key: is not supported"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        json_t *json = tiny();
        set_at(json, cases[i].path, json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        const struct sources sources = {.tokenizer = json};
        expect_refusal(&sources, STATUS_UNIMPLEMENTED, cases[i].words);
    }
}

/* "A" stands for the added token; each other character for one id. */
static void flags_of_added_tokens_are_followed(void **state)
{
    (void)state;
    static const struct {
        const char *flag;
        const char *text;
        const char *ids;
    } cases[] = {
        {"special", "x <|im_start|> y", "x A y"},
        {"lstrip", "x \t\u3000<|im_start|> y", "xA y"},
        {"rstrip", "x <|im_start|> \n\u2003y", "x Ay"},
        {"lstrip", "<|im_start|> <|im_start|>", "AA"},
        {"single_word", "x <|im_start|> y<|im_start|>!<|im_start|>", "x A y~!A"},
        {"single_word", "<|im_start|>\u0301<|im_start|>", "~\u0301~"},
        {"single_word", "<|im_start|>_", "~_"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char path[64];
        snprintf(path, sizeof path, "added_tokens.1.%s", cases[i].flag);
        const struct sources sources = {.tokenizer = changed(path, "true")};
        struct vocab *vocab = read_or_fail(&sources);
        struct tokenizer *tokenizer;
        struct id_list ids = {0};
        assert_int_equal(tokenizer_create(&tokenizer, vocab), STATUS_OK);
        assert_int_equal(tokenizer_encode(tokenizer, &ids, cases[i].text, strlen(cases[i].text),
                                          TOKENIZER_CONTROL),
                         STATUS_OK);
        /* What is not the token is written out by bytes: ~ is its text as plain text. */
        char told[128];
        size_t used = 0;
        for (size_t k = 0; k < ids.count; k++) {
            size_t bytes;
            const char *text = tokenizer_token(tokenizer, ids.ids[k], &bytes);
            used +=
                (size_t)snprintf(told + used, sizeof told - used, "%.*s",
                                 ids.ids[k] == 1 ? 1 : (int)bytes, ids.ids[k] == 1 ? "A" : text);
        }
        char wanted[128];
        used = 0;
        for (const char *c = cases[i].ids; *c; c++)
            used += (size_t)snprintf(wanted + used, sizeof wanted - used, "%.*s",
                                     *c == '~' ? 12 : 1, *c == '~' ? "<|im_start|>" : c);
        assert_string_equal(told, wanted);
        id_list_deinit(&ids);
        tokenizer_destroy(tokenizer);
        vocab_destroy(vocab);
    }
}

/* Where the text is brought into normal form first, such a token is looked for in that. */
static void an_added_token_in_normal_form_is_found_there(void **state)
{
    (void)state;
    for (int normalized = 0; normalized < 2; normalized++) {
        json_t *json = changed("normalizer", "{\"type\":\"NFC\"}");
        json_array_append_new(json_object_get(json, "added_tokens"),
                              json_pack("{s:i, s:s, s:b, s:b}", "id", 268, "content", "caf\u00e9",
                                        "normalized", normalized, "special", 0));
        const struct sources sources = {.tokenizer = json};
        struct vocab *vocab = read_or_fail(&sources);
        struct tokenizer *tokenizer;
        struct id_list ids = {0};
        assert_int_equal(tokenizer_create(&tokenizer, vocab), STATUS_OK);
        assert_int_equal(tokenizer_encode(tokenizer, &ids, "cafe\u0301", 6, 0), STATUS_OK);
        assert_int_equal(ids.count == 1 && ids.ids[0] == 268, normalized);
        id_list_deinit(&ids);
        tokenizer_destroy(tokenizer);
        vocab_destroy(vocab);
    }
}

static void vocabularies_that_contradict_themselves_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *path;
        const char *value;
        const char *words;
    } cases[] = {
        {"model", "[]", "tokenizer.json: model: is a list, it must be an object"},
        {"model.vocab", "null", "model.vocab: is missing"},
        {"model.vocab.!", "-1", "model.vocab.!: is -1, it must lie in 0 .. 269"},
        {"model.vocab.!", "270", "model.vocab.!: is 270"},
        {"model.vocab.!", "1.5", "model.vocab.!: is 1.5, it must be an integer"},
        {"model.vocab.!", "0", "model.vocab."},
        {"model.merges", "{}", "model.merges: is an object, it must be a list"},
        {"model.merges.2", "\"he\"", "model.merges: merge 2 is not two parts"},
        {"model.merges.2", "\"h e r\"", "model.merges: merge 2 is not two parts"},
        {"model.merges.2", "\" he\"", "model.merges: merge 2 is not two parts"},
        {"model.merges.2", "[\"h\"]", "model.merges: merge 2 is not two parts"},
        {"model.merges.2", "[\"h\",\"\"]", "model.merges: merge 2 is not two parts"},
        {"model.merges.2", "7", "model.merges: merge 2 is not two parts"},
        {"added_tokens", "{}", "added_tokens: is an object, it must be a list"},
        {"added_tokens.1", "7", "added_tokens[1]: must be an object"},
        {"added_tokens.1.id", "270", "added_tokens[1].id: is 270"},
        {"added_tokens.1.id", "9", "added_tokens[1].content: \"<|im_start|>\" as token 9 contra"},
        {"added_tokens.1.content", "\"\"", "added_tokens[1].content: \"\" as token 1"},
        {"added_tokens.1.content", "\"other\"", "added_tokens[1].content: \"other\" as token 1"},
        {"added_tokens.1.special", "1", "added_tokens[1].special: is an integer"},
        {"post_processor",
         "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"x\"}},"
         "{\"Sequence\":{\"id\":\"A\"}}],\"special_tokens\":{\"x\":{\"ids\":[270]}}}",
         "post_processor: adds token 270"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const struct sources sources = {.tokenizer = changed(cases[i].path, cases[i].value)};
        expect_refusal(&sources, STATUS_DATA_LOSS, cases[i].words);
    }
}

static void special_tokens_come_from_the_files_beside(void **state)
{
    (void)state;
    const struct sources plain = {
        .tokenizer = tiny(),
        .config = json_pack("{s:i, s:[ii]}", "bos_token_id", 1, "eos_token_id", 2, 0),
    };
    struct vocab *vocab = read_or_fail(&plain);
    struct vocab_special special = vocab_special(vocab);
    assert_true(special.bos == 1 && special.eos == 2 && special.padding == -1);
    assert_true(special.end_count == 2 && special.ends[0] == 2 && special.ends[1] == 0);
    assert_int_equal(vocab_chat_template(vocab).bytes, 0);
    vocab_destroy(vocab);
    const struct sources all = {
        .tokenizer = tiny(),
        .tokenizer_config =
            json_pack("{s:s, s:{s:s}, s:s, s:b, s:[{s:s,s:s},{s:s,s:s}]}", "bos_token",
                      "<|endoftext|>", "eos_token", "content", "<|im_start|>", "pad_token",
                      "[no such]", "add_bos_token", 1, "chat_template", "name", "tool_use",
                      "template", "T", "name", "default", "template", "D"),
        .generation_config = json_pack("{s:[ii]}", "eos_token_id", 7, 2),
        .config = json_pack("{s:i, s:i}", "bos_token_id", 2, "eos_token_id", 2),
    };
    vocab = read_or_fail(&all);
    special = vocab_special(vocab);
    assert_true(special.bos == 0 && special.eos == 1 && special.padding == -1);
    assert_true(special.end_count == 3 && special.ends[0] == 1 && special.ends[2] == 7);
    assert_int_equal(vocab_add_bos(vocab), VOCAB_FLAG_ON);
    assert_true(text_view_is(vocab_chat_template(vocab), "D"));
    vocab_destroy(vocab);
}

static void a_template_file_goes_before_the_one_in_the_configuration(void **state)
{
    (void)state;
    const struct sources sources = {
        .tokenizer = tiny(),
        .tokenizer_config = json_pack("{s:s}", "chat_template", "old"),
        .chat_template = "new",
    };
    struct vocab *vocab = read_or_fail(&sources);
    assert_true(text_view_is(vocab_chat_template(vocab), "new"));
    vocab_destroy(vocab);
}

static void bos_comes_from_the_post_processor(void **state)
{
    (void)state;
    static const char template[] =
        "{\"type\":\"TemplateProcessing\",\"single\":[{\"SpecialToken\":{\"id\":\"<|im_start|>\","
        "\"type_id\":0}},{\"Sequence\":{\"id\":\"A\",\"type_id\":0}}],\"pair\":[],"
        "\"special_tokens\":{\"<|im_start|>\":{\"id\":\"<|im_start|>\",\"ids\":[1],\"tokens\":"
        "[\"<|im_start|>\"]}}}";
    char sequence[1024];
    snprintf(sequence, sizeof sequence, "{\"type\":\"Sequence\",\"processors\":[%s},%s]}",
             BYTE_LEVEL, template);
    const char *const forms[] = {template, sequence};
    for (int i = 0; i < 2; i++) {
        const struct sources sources = {.tokenizer = changed("post_processor", forms[i])};
        struct vocab *vocab = read_or_fail(&sources);
        struct tokenizer *tokenizer;
        struct id_list ids = {0};
        assert_int_equal(vocab_special(vocab).bos, 1);
        assert_int_equal(tokenizer_create(&tokenizer, vocab), STATUS_OK);
        assert_int_equal(tokenizer_encode(tokenizer, &ids, "a", 1, TOKENIZER_BOS), STATUS_OK);
        assert_true(ids.count == 2 && ids.ids[0] == 1);
        id_list_deinit(&ids);
        tokenizer_destroy(tokenizer);
        vocab_destroy(vocab);
    }
}

static void special_tokens_outside_the_vocabulary_are_refused(void **state)
{
    (void)state;
    const struct sources named = {.tokenizer = tiny(),
                                  .tokenizer_config = json_pack("{s:s}", "eos_token", "</s>")};
    expect_refusal(&named, STATUS_DATA_LOSS,
                   "tokenizer_config.json: eos_token: names </s>, which is not in the vocabulary");
    const struct sources numbered = {.tokenizer = tiny(),
                                     .config = json_pack("{s:[ii]}", "eos_token_id", 2, 270)};
    expect_refusal(&numbered, STATUS_DATA_LOSS,
                   "config.json: eos_token_id: must be one or several of 0 .. 269");
    const struct sources negative = {.tokenizer = tiny(),
                                     .config = json_pack("{s:i}", "bos_token_id", -1)};
    expect_refusal(&negative, STATUS_DATA_LOSS, "config.json: bos_token_id: is -1");
    const struct sources broken = {.tokenizer = tiny(), .chat_template = "\xff"};
    expect_refusal(&broken, STATUS_DATA_LOSS, "the chat template is not UTF-8");
}

static void an_unknown_token_needs_every_byte(void **state)
{
    (void)state;
    json_t *json = changed("model.unk_token", "\"<|endoftext|>\"");
    const struct sources whole = {.tokenizer = json_deep_copy(json)};
    vocab_destroy(read_or_fail(&whole));
    json_object_del(json_object_get(json_object_get(json, "model"), "vocab"), "!");
    const struct sources sources = {.tokenizer = json};
    expect_refusal(&sources, STATUS_UNIMPLEMENTED, "model.unk_token: is not supported where");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ids_are_those_of_the_gguf_vocabulary),
        cmocka_unit_test(merges_may_be_pairs),
        cmocka_unit_test(every_token_is_that_of_the_gguf_vocabulary),
        cmocka_unit_test(pre_tokenizers_are_known_by_their_form),
        cmocka_unit_test(a_normalizer_of_nfc_is_followed),
        cmocka_unit_test(flags_of_added_tokens_are_followed),
        cmocka_unit_test(an_added_token_in_normal_form_is_found_there),
        cmocka_unit_test(steps_that_are_not_known_are_refused_by_name),
        cmocka_unit_test(vocabularies_that_contradict_themselves_are_refused),
        cmocka_unit_test(special_tokens_come_from_the_files_beside),
        cmocka_unit_test(a_template_file_goes_before_the_one_in_the_configuration),
        cmocka_unit_test(bos_comes_from_the_post_processor),
        cmocka_unit_test(special_tokens_outside_the_vocabulary_are_refused),
        cmocka_unit_test(an_unknown_token_needs_every_byte),
    };
    return cmocka_run_group_tests(tests, open_model, close_model);
}
