/* SentencePiece's BPE from tokenizer.model, GGUF and tokenizer.json, tekken.json, and the
 * pre-tokenizers that stand on them, against PyPI `sentencepiece`, `tokenizers` and `tiktoken`
 * (tests/unit/data/families.json, made by tests/unit/data/make-families). */
#include "tests/support/unit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "coordinator/text/chat.h"
#include "coordinator/text/detokenizer.h"
#include "coordinator/text/tokenizer.h"
#include "proto/model/model_save.h"
#include "proto/model/tekken.h"
#include "proto/model/tokenizer_json.h"
#include "proto/model/tokenizer_model.h"
#include "proto/model/vocab_gguf.h"
#include "proto/utf8_check.h"
#include "tests/support/gguf_writer.h"
#include "tests/support/tiny_directory.h"

enum { TEXTS = 71, MODEL_BYTES_MAX = 16384, FORMS = 5, LISTS = 4, VOCAB = 1024 };

static json_t *data;
static uint8_t model[MODEL_BYTES_MAX];
static size_t model_bytes;

static int digit_of(char c)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    const char *found = strchr(digits, c);
    return found && c ? (int)(found - digits) : -1;
}

static void read_model(const char *text)
{
    uint32_t bits = 0;
    int held = 0;
    for (; digit_of(*text) >= 0; text++) {
        bits = bits << 6 | (uint32_t)digit_of(*text);
        held += 6;
        if (held < 8)
            continue;
        held -= 8;
        assert_true(model_bytes < MODEL_BYTES_MAX);
        model[model_bytes++] = (uint8_t)(bits >> held);
    }
}

static int load(void **state)
{
    (void)state;
    data = json_load_file("tests/unit/data/families.json", JSON_ALLOW_NUL, NULL);
    if (!data)
        return -1;
    read_model(json_string_value(json_object_get(data, "model")));
    return json_array_size(json_object_get(data, "texts")) == TEXTS ? 0 : -1;
}

static int unload(void **state)
{
    (void)state;
    json_decref(data);
    return 0;
}

static const json_t *text_at(size_t i)
{
    return json_array_get(json_object_get(data, "texts"), i);
}

static struct tokenizer *made_of(struct vocab *vocab)
{
    struct tokenizer *tokenizer = NULL;
    if (tokenizer_create(&tokenizer, vocab) != STATUS_OK)
        fail_msg("%s", status_message());
    vocab_destroy(vocab);
    return tokenizer;
}

static bool ids_equal(const struct id_list *ids, const json_t *wanted)
{
    if (ids->count != json_array_size(wanted))
        return false;
    for (size_t i = 0; i < ids->count; i++)
        if (ids->ids[i] != json_integer_value(json_array_get(wanted, i)))
            return false;
    return true;
}

/* Every text's ids are those of `wanted`. */
static void expect_ids(const struct tokenizer *tokenizer, const json_t *wanted, unsigned flags,
                       const char *what)
{
    assert_int_equal(json_array_size(wanted), TEXTS);
    size_t differing = 0;
    for (size_t i = 0; i < TEXTS; i++) {
        struct id_list ids = {0};
        const json_t *text = text_at(i);
        if (tokenizer_encode(tokenizer, &ids, json_string_value(text), json_string_length(text),
                             flags) != STATUS_OK)
            fail_msg("%s: %s", what, status_message());
        if (!ids_equal(&ids, json_array_get(wanted, i))) {
            print_message("%s: text %zu comes out otherwise: \"%s\"\n", what, i,
                          json_string_value(text));
            differing++;
        }
        id_list_deinit(&ids);
    }
    assert_int_equal(differing, 0);
}

static struct tokenizer *of_model(void)
{
    const struct tokenizer_files files = {.tokenizer = {"tokenizer.model", model, model_bytes}};
    struct vocab *vocab = NULL;
    if (tokenizer_model_read(&vocab, &files, 0) != STATUS_OK)
        fail_msg("%s", status_message());
    return made_of(vocab);
}

static void a_sentencepiece_model_gives_its_ids(void **state)
{
    (void)state;
    struct tokenizer *tokenizer = of_model();
    expect_ids(tokenizer, json_object_get(data, "sentencepiece"), 0, "tokenizer.model");
    assert_int_equal(tokenizer_bos(tokenizer), 1);
    tokenizer_destroy(tokenizer);
}

static void put_vocab(struct gguf_writer *file, const struct vocab *vocab)
{
    const uint64_t count = (uint64_t)vocab_count(vocab);
    gguf_writer_header(file, 0, 5);
    gguf_writer_pair_text(file, "tokenizer.ggml.model", "llama");
    gguf_writer_array(file, "tokenizer.ggml.tokens", GGUF_STRING, count);
    for (int32_t id = 0; id < vocab_count(vocab); id++) {
        char text[64];
        struct vocab_token token = vocab_token(vocab, id);
        snprintf(text, sizeof text, "%.*s", (int)token.bytes, token.text);
        gguf_writer_string(file, text);
    }
    gguf_writer_array(file, "tokenizer.ggml.scores", GGUF_F32, count);
    for (int32_t id = 0; id < vocab_count(vocab); id++)
        gguf_writer_f32(file, vocab_scores(vocab)[id]);
    gguf_writer_array(file, "tokenizer.ggml.token_type", GGUF_I32, count);
    for (int32_t id = 0; id < vocab_count(vocab); id++)
        gguf_writer_u32(file, vocab_token(vocab, id).type);
    gguf_writer_pair_u32(file, "tokenizer.ggml.bos_token_id", 1);
    gguf_writer_pad(file, 32);
}

static void a_gguf_file_of_it_gives_the_same(void **state)
{
    (void)state;
    const struct tokenizer_files files = {.tokenizer = {"tokenizer.model", model, model_bytes}};
    struct gguf_writer file = {0};
    struct gguf *gguf = NULL;
    struct vocab *vocab = NULL;
    assert_int_equal(tokenizer_model_read(&vocab, &files, 0), STATUS_OK);
    put_vocab(&file, vocab);
    vocab_destroy(vocab);
    assert_int_equal(gguf_parse(&gguf, file.data, file.bytes, "vocabulary"), STATUS_OK);
    assert_int_equal(vocab_gguf_read(&vocab, gguf), STATUS_OK);
    struct tokenizer *tokenizer = made_of(vocab);
    expect_ids(tokenizer, json_object_get(data, "sentencepiece"), 0, "GGUF");
    struct id_list ids = {0};
    assert_int_equal(tokenizer_encode(tokenizer, &ids, "", 0, TOKENIZER_BOS), STATUS_OK);
    assert_int_equal(ids.count, 1);
    id_list_deinit(&ids);
    tokenizer_destroy(tokenizer);
    gguf_close(gguf);
    gguf_writer_free(&file);
}

static struct vocab *read_json(json_t *json, enum status wanted)
{
    char *text = json_dumps(json, 0);
    struct vocab *vocab = NULL;
    assert_non_null(text);
    const struct tokenizer_files files = {.tokenizer = {"tokenizer.json", text, strlen(text)}};
    if (tokenizer_json_read(&vocab, &files, 0) != wanted)
        fail_msg("%s", status_message());
    free(text);
    return vocab;
}

static struct vocab *vocab_of_form(const json_t *form)
{
    static const char *const steps[] = {"normalizer", "pre_tokenizer", "decoder"};
    json_t *json = json_deep_copy(json_object_get(data, "tokenizer"));
    for (int i = 0; i < 3; i++)
        json_object_set(json, steps[i], json_object_get(form, steps[i]));
    struct vocab *vocab = read_json(json, STATUS_OK);
    json_decref(json);
    return vocab;
}

static struct tokenizer *of_form(const json_t *form)
{
    return made_of(vocab_of_form(form));
}

static void forms_of_tokenizer_json_give_their_ids(void **state)
{
    (void)state;
    const char *name;
    json_t *form;
    size_t forms = 0;
    json_object_foreach(json_object_get(data, "forms"), name, form)
    {
        struct tokenizer *tokenizer = of_form(form);
        expect_ids(tokenizer, json_object_get(form, "ids"), TOKENIZER_CONTROL, name);
        tokenizer_destroy(tokenizer);
        forms++;
    }
    assert_int_equal(forms, FORMS);
}

/* A chat is the text of its parts, for all that those are encoded one by one. */
static void a_chat_has_the_ids_of_its_text(void **state)
{
    (void)state;
    static const char template[] = "<s>i{{ messages[0].content }}</s> j<s>i";
    static const char text[] = "<s>ia b</s> j<s>i";
    const struct chat_message user = {"user", 4, "a b", 3};
    char path[] = "/tmp/longhaul-template-XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, template, sizeof template - 1), sizeof template - 1);
    close(file);
    const char *name;
    json_t *form;
    json_object_foreach(json_object_get(data, "forms"), name, form)
    {
        struct id_list parts = {0};
        struct id_list whole = {0};
        struct chat *chat = NULL;
        struct vocab *vocab = vocab_of_form(form);
        struct tokenizer *tokenizer = NULL;
        assert_int_equal(tokenizer_create(&tokenizer, vocab), STATUS_OK);
        assert_int_equal(chat_create(&chat, tokenizer, vocab, path), STATUS_OK);
        assert_int_equal(chat_render(chat, &parts, &user, 1), STATUS_OK);
        assert_int_equal(
            tokenizer_encode(tokenizer, &whole, text, sizeof text - 1, TOKENIZER_CONTROL),
            STATUS_OK);
        if (parts.count != whole.count ||
            memcmp(parts.ids, whole.ids, whole.count * sizeof *whole.ids) != 0)
            fail_msg("%s: a chat has other ids than its text", name);
        chat_destroy(chat);
        tokenizer_destroy(tokenizer);
        vocab_destroy(vocab);
        id_list_deinit(&parts);
        id_list_deinit(&whole);
    }
    unlink(path);
}

static int32_t *copy_ids(const json_t *list)
{
    int32_t *ids = calloc(json_array_size(list) + 1, sizeof *ids);
    assert_non_null(ids);
    for (size_t i = 0; i < json_array_size(list); i++)
        ids[i] = (int32_t)json_integer_value(json_array_get(list, i));
    return ids;
}

/* NUL, which would end a message's text, comes out as U+FFFD. */
static void expect_text(const char *told, const json_t *wanted)
{
    const char *text = json_string_value(wanted);
    for (size_t i = 0; i < json_string_length(wanted); i++) {
        const char *expected = text[i] ? text + i : "\xEF\xBF\xBD";
        size_t bytes = text[i] ? 1 : 3;
        assert_memory_equal(told, expected, bytes);
        told += bytes;
    }
    assert_int_equal(*told, 0);
}

static void ids_become_the_text_that_the_oracle_makes_of_them(void **state)
{
    (void)state;
    const char *name;
    json_t *form;
    json_object_foreach(json_object_get(data, "forms"), name, form)
    {
        struct tokenizer *tokenizer = of_form(form);
        for (size_t i = 0; i < TEXTS; i++) {
            const json_t *list = json_array_get(json_object_get(form, "ids"), i);
            const json_t *wanted = json_array_get(json_object_get(form, "texts"), i);
            if (json_is_null(wanted))
                continue;
            int32_t *ids = copy_ids(list);
            char *text = NULL;
            assert_int_equal(
                detokenizer_text(&text, tokenizer, ids, json_array_size(list), 1 << 16), STATUS_OK);
            expect_text(text ? text : "", wanted);
            free(text);
            free(ids);
        }
        tokenizer_destroy(tokenizer);
    }
}

/* A character that is no token comes byte by byte, and is shown once it is whole. */
static void bytes_are_shown_as_whole_characters(void **state)
{
    (void)state;
    static const char text[] = "a\U0001F642b\u0E01";
    struct tokenizer *tokenizer = of_model();
    struct id_list ids = {0};
    struct detokenizer detokenizer;
    struct detokenizer_piece piece;
    char told[32] = "";
    size_t silent = 0;
    assert_int_equal(tokenizer_encode(tokenizer, &ids, text, sizeof text - 1, 0), STATUS_OK);
    assert_int_equal(detokenizer_init(&detokenizer, tokenizer, NULL, 0), STATUS_OK);
    for (size_t i = 0; i < ids.count; i++) {
        assert_int_equal(detokenizer_feed(&detokenizer, &piece, ids.ids[i]), STATUS_OK);
        assert_int_equal(utf8_check(piece.text, piece.bytes, "a piece"), STATUS_OK);
        silent += piece.bytes == 0;
        snprintf(told + strlen(told), sizeof told - strlen(told), "%.*s", (int)piece.bytes,
                 piece.text);
    }
    assert_int_equal(silent, 3 + 2); /* all but the last of 4 bytes and of 3 */
    assert_string_equal(told, " a\U0001F642b\u0E01");
    assert_int_equal(detokenizer_feed(&detokenizer, &piece, ids.ids[1]), STATUS_OK);
    assert_int_equal(piece.bytes, 0);
    assert_int_equal(detokenizer_end(&detokenizer, &piece), STATUS_OK);
    assert_int_equal(piece.bytes, 3);
    assert_memory_equal(piece.text, "\xEF\xBF\xBD", 3);
    detokenizer_deinit(&detokenizer);
    id_list_deinit(&ids);
    tokenizer_destroy(tokenizer);
}

static enum status read_tekken(struct vocab **vocab, const json_t *json)
{
    char *text = json_dumps(json, 0);
    assert_non_null(text);
    const struct tokenizer_files files = {.tokenizer = {"tekken.json", text, strlen(text)}};
    enum status status = tekken_read(vocab, &files, 0);
    free(text);
    return status;
}

static void tekken_gives_its_ids(void **state)
{
    (void)state;
    struct vocab *vocab = NULL;
    const json_t *tekken = json_object_get(data, "tekken");
    if (read_tekken(&vocab, json_object_get(tekken, "file")) != STATUS_OK)
        fail_msg("%s", status_message());
    struct tokenizer *tokenizer = made_of(vocab);
    expect_ids(tokenizer, json_object_get(tekken, "ids"), 0, "tekken.json");
    assert_int_equal(tokenizer_control_id(tokenizer, "[INST]"), 3);
    assert_int_equal(tokenizer_control_id(tokenizer, "<SPECIAL_20>"), 20);
    assert_int_equal(tokenizer_bos(tokenizer), 1);
    tokenizer_destroy(tokenizer);
}

static void put_words(struct gguf_writer *file, const json_t *words, const char *pre)
{
    const char *const keys[] = {"tokens", "control", "merges"};
    const json_t *lists[3];
    for (int i = 0; i < 3; i++)
        lists[i] = json_object_get(words, keys[i]);
    const size_t normal = json_array_size(lists[0]);
    const size_t count = normal + json_array_size(lists[1]);
    gguf_writer_header(file, 0, 5);
    gguf_writer_pair_text(file, "tokenizer.ggml.model", "gpt2");
    gguf_writer_pair_text(file, "tokenizer.ggml.pre", pre);
    for (int i = 0; i < 3; i++) {
        if (i != 1)
            gguf_writer_array(file, i == 0 ? "tokenizer.ggml.tokens" : "tokenizer.ggml.merges",
                              GGUF_STRING, i == 0 ? count : json_array_size(lists[i]));
        for (size_t k = 0; k < json_array_size(lists[i]); k++)
            gguf_writer_string(file, json_string_value(json_array_get(lists[i], k)));
    }
    gguf_writer_array(file, "tokenizer.ggml.token_type", GGUF_I32, count);
    for (size_t id = 0; id < count; id++)
        gguf_writer_u32(file, id < normal ? VOCAB_NORMAL : VOCAB_CONTROL);
    gguf_writer_pad(file, 32);
}

/* ---- with a model that is saved ---- */

static void write_bytes(const char *path, const void *bytes, size_t count)
{
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, count, file), count);
    assert_int_equal(fclose(file), 0);
}

/* A folder whose only tokenizer is `name`. */
static void expect_saved(const char *name, const void *bytes, size_t count, int32_t vocab)
{
    char folder[] = "/tmp/longhaul-families-XXXXXX", path[256], saved[256];
    struct tiny_model_shape shape = {
        .layers = 1, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 32, .ffn = 96};
    struct model *source = NULL, *copy = NULL;
    shape.vocab = vocab;
    assert_non_null(mkdtemp(folder));
    tiny_directory_write(folder, &shape, 1, DTYPE_F32, 1);
    snprintf(path, sizeof path, "%s/tokenizer.json", folder);
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/tokenizer_config.json", folder); /* of the other tokenizer */
    assert_int_equal(unlink(path), 0);
    snprintf(path, sizeof path, "%s/%s", folder, name);
    write_bytes(path, bytes, count);
    if (model_open(&source, folder) != STATUS_OK)
        fail_msg("%s", status_message());
    struct model_save save = {.source = source, .dtype = DTYPE_BF16, .format = MODEL_SAVE_FOLDER};
    snprintf(saved, sizeof saved, "%s-saved", folder);
    for (int again = 0; again < 2; again++) /* the second one replaces the first */
        if (model_save(&save, saved) != STATUS_OK)
            fail_msg("%s", status_message());
    assert_int_equal(model_open(&copy, saved), STATUS_OK);
    assert_non_null(model_vocab(source));
    assert_non_null(model_vocab(copy));
    assert_int_equal(vocab_count(model_vocab(copy)), vocab_count(model_vocab(source)));
    model_close(copy);
    model_close(source);
    tiny_directory_remove(saved);
    tiny_directory_remove(folder);
}

static void tokenizers_are_saved_with_their_model(void **state)
{
    (void)state;
    char *text = json_dumps(json_object_get(json_object_get(data, "tekken"), "file"), 0);
    assert_non_null(text);
    expect_saved("tekken.json", text, strlen(text), VOCAB);
    expect_saved("tokenizer.model", model, model_bytes, VOCAB);
    free(text);
}

/* ---- hostile texts ---- */

/* Of this test's own time; what grew with the square of the text would take hours. */
enum { HOSTILE_BYTES = 1 << 20, HOSTILE_SECONDS_MAX = 10 };

static double cpu_seconds(void)
{
    struct timespec now;
    assert_int_equal(clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now), 0);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* A MiB of one unit over and over. */
static void expect_soon(const struct tokenizer *tokenizer, const char *what)
{
    static const char *const units[] = {"a", " ", "the", "A", "<|user|"};
    static char text[HOSTILE_BYTES + 16];
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        struct id_list ids = {0};
        size_t bytes = 0;
        for (; bytes < HOSTILE_BYTES; bytes += strlen(units[i]))
            memcpy(text + bytes, units[i], strlen(units[i]));
        double began = cpu_seconds();
        if (tokenizer_encode(tokenizer, &ids, text, bytes, TOKENIZER_CONTROL) != STATUS_OK)
            fail_msg("%s: %s", what, status_message());
        double seconds = cpu_seconds() - began;
        if (seconds > HOSTILE_SECONDS_MAX)
            fail_msg("%s: a MiB of \"%s\" took %.1f s", what, units[i], seconds);
        assert_true(ids.count > 0);
        id_list_deinit(&ids);
    }
}

static void hostile_texts_take_seconds(void **state)
{
    (void)state;
    struct vocab *vocab = NULL;
    struct tokenizer *tokenizers[] = {of_model(), NULL, NULL, NULL};
    const json_t *forms = json_object_get(data, "forms");
    assert_int_equal(read_tekken(&vocab, json_object_get(json_object_get(data, "tekken"), "file")),
                     STATUS_OK);
    tokenizers[1] = made_of(vocab);
    tokenizers[2] = of_form(json_object_get(forms, "legacy"));
    tokenizers[3] = of_form(json_object_get(forms, "split"));
    static const char *const names[] = {"tokenizer.model", "tekken.json", "legacy", "split"};
    for (int i = 0; i < 4; i++) {
        expect_soon(tokenizers[i], names[i]);
        tokenizer_destroy(tokenizers[i]);
    }
}

/* ---- pre-tokenizers ---- */

/* deepseek-v3 leaves a word that is a token to the merges, as gpt-4o does. */
static void pre_tokenizers_cut_as_the_oracle_cuts(void **state)
{
    (void)state;
    const char *pre;
    json_t *ids;
    size_t lists = 0;
    json_t *words = json_load_file("tests/unit/data/bpe.json", JSON_ALLOW_NUL, NULL);
    assert_non_null(words);
    json_object_foreach(json_object_get(data, "lists"), pre, ids)
    {
        struct gguf_writer file = {0};
        struct gguf *gguf = NULL;
        struct vocab *vocab = NULL;
        put_words(&file, words, pre);
        assert_int_equal(gguf_parse(&gguf, file.data, file.bytes, "vocabulary"), STATUS_OK);
        assert_int_equal(vocab_gguf_read(&vocab, gguf), STATUS_OK);
        struct tokenizer *tokenizer = made_of(vocab);
        expect_ids(tokenizer, ids, TOKENIZER_CONTROL, pre);
        expect_soon(tokenizer, pre);
        tokenizer_destroy(tokenizer);
        gguf_close(gguf);
        gguf_writer_free(&file);
        lists++;
    }
    json_decref(words);
    assert_int_equal(lists, LISTS);
}

/* ---- refusals ---- */

static void expect_model_refusal(const uint8_t *bytes, size_t count, enum status wanted,
                                 const char *words)
{
    const struct tokenizer_files files = {.tokenizer = {"tokenizer.model", bytes, count}};
    struct vocab *vocab = NULL;
    enum status status = tokenizer_model_read(&vocab, &files, 0);
    if (status != wanted || !strstr(status_message(), words))
        fail_msg("wanted %s: %s, got %s: %s", status_name(wanted), words, status_name(status),
                 status_message());
}

static void models_that_are_not_followed_are_refused_by_name(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[32];
        size_t count;
        enum status status;
        const char *words;
    } cases[] = {
        {"IQ== 0\n", 7, STATUS_UNIMPLEMENTED, "is no SentencePiece model"},
        {"\x0A\x03\x0A\x01\x61", 5, STATUS_UNIMPLEMENTED, "other than BPE"},
        {"\x0A\x03\x0A\x01\x61\x12\x02\x18\x02", 9, STATUS_UNIMPLEMENTED, "byte fallback"},
        {"\x0A\x03\x0A\x01\x61\x12\x05\x18\x02\x98\x02\x01", 12, STATUS_UNIMPLEMENTED,
         "remove_extra_whitespaces"},
        {"\x0A\x03\x0A\x01\x61\x12\x05\x18\x02\x98\x02\x01\x1A\x06\x0A\x01n\x12\x01x", 20,
         STATUS_UNIMPLEMENTED, "normalization \"n\""},
        {"\x0A\x03\x0A\x01\x61\x12\x05\x18\x02\x98\x02\x01\x2A\x03\x12\x01x", 17,
         STATUS_UNIMPLEMENTED, "a map in denormalizer_spec"},
        {"\x0A\x09\x61", 3, STATUS_DATA_LOSS, "offset 2"},
        {"\x0A\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80", 12, STATUS_DATA_LOSS, "has no end"},
        {"\x0A\x00\x07", 3, STATUS_DATA_LOSS, "no such field"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        expect_model_refusal(cases[i].bytes, cases[i].count, cases[i].status, cases[i].words);
    for (size_t bytes = 1; bytes < model_bytes; bytes += 7) {
        const struct tokenizer_files files = {.tokenizer = {"tokenizer.model", model, bytes}};
        struct vocab *vocab = NULL;
        assert_int_not_equal(tokenizer_model_read(&vocab, &files, 0), STATUS_OK);
        assert_null(vocab);
    }
}

static void a_row_without_a_text_is_not_what_an_empty_name_means(void **state)
{
    (void)state;
    enum { ROWS = 4096 };
    static const char config[] = "{\"eos_token\":\"\"}";
    const struct tokenizer_files files = {
        .tokenizer = {"tokenizer.model", model, model_bytes},
        .tokenizer_config = {"tokenizer_config.json", config, sizeof config - 1}};
    struct vocab *vocab = NULL;
    assert_int_equal(tokenizer_model_read(&vocab, &files, ROWS), STATUS_DATA_LOSS);
    assert_non_null(strstr(status_message(), "eos_token"));
    assert_null(vocab);
}

static void tekken_files_that_contradict_themselves_are_refused(void **state)
{
    (void)state;
    static const struct {
        const char *list;
        const char *key;
        const char *value;
        enum status status;
        const char *words;
    } cases[] = {
        {"config", "pattern", "\"\\\\w+\"", STATUS_UNIMPLEMENTED, "config.pattern"},
        {"config", "default_vocab_size", "100000", STATUS_DATA_LOSS, "vocab: "},
        {"config", "default_vocab_size", "30", STATUS_DATA_LOSS, "the 256 single bytes"},
        {"config", "default_num_special_tokens", "-1", STATUS_DATA_LOSS,
         "config.default_num_special_tokens"},
        {"vocab", "rank", "3", STATUS_DATA_LOSS, "vocab[1].rank"},
        {"vocab", "token_bytes", "\"A\"", STATUS_DATA_LOSS, "must be base64"},
        {"vocab", "token_bytes", "\"====\"", STATUS_DATA_LOSS, "must be base64"},
        {"vocab", "token_bytes", "\"AAAA\"", STATUS_DATA_LOSS, "the first 256 tokens"},
        {"vocab", "token_bytes", "\"AA==\"", STATUS_DATA_LOSS, "the first 256 tokens"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct vocab *vocab = NULL;
        json_t *json = json_deep_copy(json_object_get(json_object_get(data, "tekken"), "file"));
        json_t *place = json_object_get(json, cases[i].list);
        json_object_set_new(json_is_array(place) ? json_array_get(place, 1) : place, cases[i].key,
                            json_loads(cases[i].value, JSON_DECODE_ANY, NULL));
        enum status status = read_tekken(&vocab, json);
        if (status != cases[i].status || !strstr(status_message(), cases[i].words))
            fail_msg("wanted %s, got %s: %s", cases[i].words, status_name(status),
                     status_message());
        json_decref(json);
    }
}

static void a_vocabulary_without_a_byte_is_refused(void **state)
{
    (void)state;
    json_t *json = json_deep_copy(json_object_get(data, "tokenizer"));
    struct tokenizer *tokenizer = NULL;
    json_t *vocabulary = json_object_get(json_object_get(json, "model"), "vocab");
    json_t *id = json_incref(json_object_get(vocabulary, "<0x41>"));
    json_object_del(vocabulary, "<0x41>");
    json_object_set_new(vocabulary, "<0x4g>", id);
    struct vocab *vocab = read_json(json, STATUS_OK);
    assert_int_equal(tokenizer_create(&tokenizer, vocab), STATUS_UNIMPLEMENTED);
    assert_non_null(strstr(status_message(), "no token <0x41>"));
    vocab_destroy(vocab);
    json_decref(json);
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_sentencepiece_model_gives_its_ids),
        cmocka_unit_test(a_gguf_file_of_it_gives_the_same),
        cmocka_unit_test(forms_of_tokenizer_json_give_their_ids),
        cmocka_unit_test(a_chat_has_the_ids_of_its_text),
        cmocka_unit_test(ids_become_the_text_that_the_oracle_makes_of_them),
        cmocka_unit_test(bytes_are_shown_as_whole_characters),
        cmocka_unit_test(tekken_gives_its_ids),
        cmocka_unit_test(tokenizers_are_saved_with_their_model),
        cmocka_unit_test(hostile_texts_take_seconds),
        cmocka_unit_test(pre_tokenizers_cut_as_the_oracle_cuts),
        cmocka_unit_test(models_that_are_not_followed_are_refused_by_name),
        cmocka_unit_test(a_row_without_a_text_is_not_what_an_empty_name_means),
        cmocka_unit_test(tekken_files_that_contradict_themselves_are_refused),
        cmocka_unit_test(a_vocabulary_without_a_byte_is_refused),
    };
    return cmocka_run_group_tests(tests, load, unload);
}
