/* Models that are written: every format from every format, in every number format, read back
 * number by number; merges; what is refused, and that nothing is lost by a refusal. */
#include "tests/support/unit.h"

#include <dirent.h>
#include <errno.h>
#include <float.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "proto/model/model_save.h"
#include "tests/support/random.h"
#include "tests/support/tiny_directory.h"

enum { PATH_BYTES = 256 };

/* The linker gives us the call: NFS and others cannot exchange two folders. */
int __real_renameat2(int old_folder, const char *old, int new_folder, const char *new,
                     unsigned flags);
int __wrap_renameat2(int old_folder, const char *old, int new_folder, const char *new,
                     unsigned flags);

static bool exchanges = true;

int __wrap_renameat2(int old_folder, const char *old, int new_folder, const char *new,
                     unsigned flags)
{
    if (exchanges)
        return __real_renameat2(old_folder, old, new_folder, new, flags);
    errno = EINVAL;
    return -1;
}

static const struct tiny_model_shape plain = {
    .layers = 2, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 32, .ffn = 96};

static char folder[] = "/tmp/longhaul-model-save-XXXXXX";

static const char *path_of(const char *name)
{
    static char paths[4][PATH_BYTES];
    static int next;
    char *path = paths[next++ % 4];
    snprintf(path, PATH_BYTES, "%s/%.200s", folder, name);
    return path;
}

static int make_folder(void **state)
{
    (void)state;
    memcpy(folder + strlen(folder) - 6, "XXXXXX", 6);
    return mkdtemp(folder) ? 0 : -1;
}

static int remove_folder(void **state)
{
    (void)state;
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing))
        if (entry->d_name[0] != '.' && checkpoint_is_directory(path_of(entry->d_name)))
            tiny_directory_remove(path_of(entry->d_name));
    closedir(listing);
    tiny_directory_remove(folder);
    return 0;
}

static struct model *open_model(const char *path)
{
    struct model *model = NULL;
    if (model_open(&model, path) != STATUS_OK)
        fail_msg("%s", status_message());
    return model;
}

static struct model *make_gguf(const char *name, const struct tiny_model_shape *shape,
                               uint64_t seed, enum dtype dtype)
{
    tiny_model_write(path_of(name), shape, seed, dtype);
    return open_model(path_of(name));
}

static struct model *make_directory(const struct tiny_model_shape *shape, uint64_t seed,
                                    enum dtype dtype)
{
    if (checkpoint_is_directory(path_of("source")))
        tiny_directory_remove(path_of("source"));
    assert_int_equal(mkdir(path_of("source"), 0777), 0);
    tiny_directory_write(path_of("source"), shape, seed, dtype, 1);
    return open_model(path_of("source"));
}

static void expect_nothing_beside(void)
{
    DIR *listing = opendir(folder);
    assert_non_null(listing);
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing))
        if (strstr(entry->d_name, ".part-") || strstr(entry->d_name, ".old-"))
            fail_msg("%s was left", entry->d_name);
    closedir(listing);
}

static void save_to(const struct model_save *save, const char *name)
{
    if (model_save(save, path_of(name)) != STATUS_OK)
        fail_msg("%s", status_message());
    expect_nothing_beside();
}

static float rounded(float value, enum dtype dtype)
{
    if (dtype == DTYPE_BF16)
        return dtype_f32_from_bf16(dtype_bf16_from_f32(value));
    return dtype == DTYPE_F16 ? dtype_f32_from_f16(dtype_f16_from_f32(value)) : value;
}

/* What a tensor of `model` should hold, rounded to `dtype`. */
static void expect_tensor(const struct model *model, const struct model_values *wanted,
                          enum model_role role, int layer, enum dtype dtype)
{
    const struct model_tensor tensor = model_tensor(model, role, layer);
    const struct model_values values = model_values_of(model);
    const size_t elements = (size_t)(tensor.rows * tensor.columns);
    float *found = calloc(elements, sizeof *found);
    float *right = calloc(elements, sizeof *right);
    assert_non_null(found);
    assert_non_null(right);
    assert_int_equal(values.read(values.context, found, role, layer, 0, tensor.rows), STATUS_OK);
    assert_int_equal(wanted->read(wanted->context, right, role, layer, 0, tensor.rows), STATUS_OK);
    for (size_t i = 0; i < elements; i++)
        if (found[i] != rounded(right[i], dtype))
            fail_msg("role %d layer %d element %zu is %.9g, wanted %.9g", (int)role, layer, i,
                     (double)found[i], (double)rounded(right[i], dtype));
    free(found);
    free(right);
}

static void expect_values(const struct model *model, const struct model_values *wanted,
                          enum dtype dtype, enum dtype vector_dtype)
{
    const struct model_spec *spec = model_spec(model);
    for (int layer = 0; layer < spec->layers; layer++)
        for (int role = 0; role < MODEL_ROLE_COUNT; role++) {
            const enum model_role named = (enum model_role)role;
            if (!model_role_is_there(spec, named) || (role < MODEL_ATTN_NORM && layer > 0))
                continue;
            const bool is_vector = model_role_shape(spec, named).is_vector;
            const enum dtype expected = is_vector ? vector_dtype : dtype;
            expect_tensor(model, wanted, named, layer, expected);
            assert_int_equal(model_tensor(model, named, layer).dtype, expected);
        }
}

static void expect_vocab(const struct model *model, const struct model *source)
{
    const struct vocab *found = model_vocab(model);
    const struct vocab *wanted = model_vocab(source);
    assert_non_null(found);
    assert_int_equal(vocab_count(found), vocab_count(wanted));
    for (int32_t id = 0; id < vocab_count(wanted); id++) {
        const struct vocab_token a = vocab_token(found, id);
        const struct vocab_token b = vocab_token(wanted, id);
        assert_int_equal(a.bytes, b.bytes);
        assert_memory_equal(a.text, b.text, a.bytes);
        assert_int_equal(a.type, b.type);
    }
    assert_int_equal(vocab_merge_count(found), vocab_merge_count(wanted));
    for (int32_t i = 0; i < vocab_merge_count(wanted); i++) {
        const struct vocab_merge a = vocab_merge(found, i);
        const struct vocab_merge b = vocab_merge(wanted, i);
        assert_int_equal(a.left_bytes, b.left_bytes);
        assert_int_equal(a.right_bytes, b.right_bytes);
        assert_memory_equal(a.left, b.left, a.left_bytes);
        assert_memory_equal(a.right, b.right, a.right_bytes);
    }
    assert_int_equal(text_view_compare(vocab_pre(found), vocab_pre(wanted)), 0);
    assert_int_equal(text_view_compare(vocab_chat_template(found), vocab_chat_template(wanted)), 0);
    assert_int_equal(vocab_special(found).bos, vocab_special(wanted).bos);
    assert_int_equal(vocab_special(found).eos, vocab_special(wanted).eos);
    assert_true((vocab_add_bos(found) == VOCAB_FLAG_ON) ==
                (vocab_add_bos(wanted) == VOCAB_FLAG_ON));
}

static void expect_facts(const struct model *model, const struct model *source,
                         const struct model_save *save)
{
    const struct model_spec *found = model_spec(model);
    const struct model_spec *wanted = model_spec(source);
    assert_int_equal(model_values_check_merge(model, source), STATUS_OK); /* one shape */
    assert_int_equal(found->trained_tokens,
                     save->context_tokens ? save->context_tokens : wanted->trained_tokens);
    assert_true(found->rope_base == (save->rope_base > 0 ? save->rope_base : wanted->rope_base));
    assert_int_equal(found->window.tokens, wanted->window.tokens);
    for (int layer = 0; found->window.tokens > 0 && layer < wanted->layers; layer++)
        assert_int_equal(model_window_covers(&found->window, layer),
                         model_window_covers(&wanted->window, layer));
    struct model_spec turned = *wanted; /* as a trainer turns it */
    if (save->rope_base > 0)
        assert_int_equal(spec_replace_base(&turned, save->rope_base, "test"), STATUS_OK);
    assert_true(found->rope_mscale == turned.rope_mscale);
    for (int i = 0; i < wanted->head_dim / 2; i++)
        assert_true(fabs(found->inv_freq[i] / turned.inv_freq[i] - 1) < 2e-7);
}

static const char *saved_name(enum model_save_format format)
{
    return format == MODEL_SAVE_GGUF ? "saved.gguf" : "saved";
}

/* Saves `source` in a format, and expects to find all of it there. */
static void expect_saved(struct model *source, enum model_save_format format, enum dtype dtype,
                         double rope_base, int64_t context)
{
    const struct model_values values = model_values_of(source);
    const struct model_save save = {.source = source,
                                    .values = &values,
                                    .format = format,
                                    .dtype = dtype,
                                    .rope_base = rope_base,
                                    .context_tokens = context};
    save_to(&save, saved_name(format));
    struct model *saved = open_model(path_of(saved_name(format)));
    expect_values(saved, &values, dtype, format == MODEL_SAVE_GGUF ? DTYPE_F32 : dtype);
    expect_vocab(saved, source);
    expect_facts(saved, source, &save);
    model_close(saved);
}

static void every_format_is_written_from_every_format(void **state)
{
    (void)state;
    static const enum dtype dtypes[] = {DTYPE_F32, DTYPE_BF16, DTYPE_F16};
    struct model *gguf = make_gguf("source.gguf", &plain, 1, DTYPE_Q4_1);
    struct model *directory = make_directory(&plain, 2, DTYPE_BF16);
    for (size_t i = 0; i < sizeof dtypes / sizeof dtypes[0]; i++)
        for (int format = MODEL_SAVE_FOLDER; format <= MODEL_SAVE_GGUF; format++) {
            expect_saved(gguf, (enum model_save_format)format, dtypes[i], 0, 0);
            expect_saved(directory, (enum model_save_format)format, dtypes[i], 48877000, 16384);
        }
    model_close(gguf);
    model_close(directory);
}

static void expect_both_formats(const struct tiny_model_shape *shape, bool to_folder)
{
    struct model *gguf = make_gguf("source.gguf", shape, 3, DTYPE_F32);
    expect_saved(gguf, MODEL_SAVE_GGUF, DTYPE_F32, 0, 0);
    if (to_folder)
        expect_saved(gguf, MODEL_SAVE_FOLDER, DTYPE_F32, 0, 0);
    model_close(gguf);
    if (shape->rope_factors)
        return;
    struct model *directory = make_directory(shape, 4, DTYPE_F32);
    expect_saved(directory, MODEL_SAVE_GGUF, DTYPE_F32, 0, 0);
    expect_saved(directory, MODEL_SAVE_FOLDER, DTYPE_F32, 0, 0);
    model_close(directory);
}

static void every_part_of_an_architecture_is_written(void **state)
{
    (void)state;
    struct tiny_model_shape shape = plain;
    shape.untied = shape.qkv_bias = shape.output_bias = true;
    expect_both_formats(&shape, true);
    shape.mlp_bias = true;
    expect_both_formats(&shape, true);
    shape = plain;
    shape.rope_factors = true;
    expect_both_formats(&shape, false);
    struct model *factors = make_gguf("source.gguf", &shape, 3, DTYPE_F32);
    expect_saved(factors, MODEL_SAVE_GGUF, DTYPE_F32, 500000, 8192);
    model_close(factors);
    shape = plain;
    shape.architecture = "qwen2";
    shape.qkv_bias = true;
    shape.window = 40;
    shape.window_layers = 2;
    expect_both_formats(&shape, true);
    shape = plain;
    shape.architecture = "qwen3";
    shape.qk_norm = true;
    expect_both_formats(&shape, true);
    shape = plain;
    shape.model_type = "mistral";
    shape.window = 40;
    expect_both_formats(&shape, true);
}

/* A GGUF file with three more keys. */
static struct model *make_yarn(double factor)
{
    struct gguf_writer file = {0};
    struct gguf_writer pairs = {0};
    tiny_model_build(&file, &plain, 7, DTYPE_F32);
    gguf_writer_pair_text(&pairs, "llama.rope.scaling.type", "yarn");
    gguf_writer_pair_f32(&pairs, "llama.rope.scaling.factor", (float)factor);
    gguf_writer_pair_f32(&pairs, "llama.rope.scaling.yarn_beta_fast", 20);
    gguf_writer_insert_pairs(&file, &pairs, 3);
    FILE *out = fopen(path_of("source.gguf"), "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(file.data, 1, file.bytes, out), file.bytes);
    assert_int_equal(fclose(out), 0);
    gguf_writer_free(&file);
    return open_model(path_of("source.gguf"));
}

static struct model *make_scaled(const char *key, const char *scaling)
{
    model_close(make_directory(&plain, 8, DTYPE_F32));
    json_t *config = json_load_file(path_of("source/config.json"), 0, NULL);
    json_object_del(config, "rope_scaling");
    assert_int_equal(json_object_set_new(config, key, json_loads(scaling, 0, NULL)), 0);
    assert_int_equal(json_dump_file(config, path_of("source/config.json"), 0), 0);
    json_decref(config);
    return open_model(path_of("source"));
}

/* A folder of which one value of a file is another. */
static struct model *make_changed(const char *name, const char *key, const char *value)
{
    model_close(make_directory(&plain, 8, DTYPE_F32));
    char file[64];
    snprintf(file, sizeof file, "source/%s", name);
    json_t *root = json_load_file(path_of(file), 0, NULL);
    assert_int_equal(json_object_set_new(root, key, json_loads(value, JSON_DECODE_ANY, NULL)), 0);
    assert_int_equal(json_dump_file(root, path_of(file), 0), 0);
    json_decref(root);
    return open_model(path_of("source"));
}

/* What a GGUF file has no key for is refused; three ends of an answer have one each. */
static void a_tokenizer_that_gguf_cannot_say_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *file, *key, *value, *words;
    } cases[] = {
        {"config.json", "eos_token_id", "[1, 2, 3, 4]", "more than three tokens that end"},
        {"tokenizer.json", "normalizer", "{\"type\": \"NFC\"}", "such an NFC"},
        {"tokenizer.json", "normalizer", "{\"type\": \"Lowercase\"}", "such a normalizer"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct model *model = make_changed(cases[i].file, cases[i].key, cases[i].value);
        struct model_save save = {.source = model, .format = MODEL_SAVE_GGUF, .dtype = DTYPE_F32};
        assert_int_equal(model_save_check(&save, path_of("saved.gguf")), STATUS_UNIMPLEMENTED);
        assert_non_null(strstr(status_message(), cases[i].words));
        model_close(model);
    }
    struct model *model = make_changed("config.json", "eos_token_id", "[1, 2, 3]");
    const struct model_values values = model_values_of(model);
    const struct model_save save = {
        .source = model, .values = &values, .format = MODEL_SAVE_GGUF, .dtype = DTYPE_F32};
    assert_int_equal(model_save(&save, path_of("saved.gguf")), STATUS_OK);
    struct model *saved = open_model(path_of("saved.gguf"));
    const struct vocab_special wanted = vocab_special(model_vocab(model));
    const struct vocab_special found = vocab_special(model_vocab(saved));
    assert_int_equal(wanted.end_count, 3);
    assert_int_equal(found.end_count, 3);
    assert_memory_equal(found.ends, wanted.ends, 3 * sizeof found.ends[0]);
    model_close(saved);
    model_close(model);
}

static void expect_unwritable(struct model *model, enum model_save_format format)
{
    const struct model_save save = {.source = model, .format = format, .dtype = DTYPE_F32};
    assert_int_equal(model_save_check(&save, path_of(saved_name(format))), STATUS_UNIMPLEMENTED);
    assert_non_null(strstr(status_message(), "yarn"));
}

/* The frequencies of a model with another base and another context are those that it was trained
 * with, whatever scales them. */
static void rope_scaling_is_kept_with_a_new_base(void **state)
{
    (void)state;
    static const char llama3[] =
        "{\"rope_type\":\"llama3\",\"factor\":8.0,\"low_freq_factor\":1.0,"
        "\"high_freq_factor\":4.0,\"original_max_position_embeddings\":512}";
    static const char yarn[] = "{\"type\":\"yarn\",\"factor\":4.0}";
    static const char newer[] = "{\"rope_type\":\"yarn\",\"factor\":4.0,\"rope_theta\":50000.0}";
    static const char odd[] = "{\"rope_type\":\"default\",\"rope_theta\":131461001.0}";
    struct model *model = make_yarn(4);
    for (int format = MODEL_SAVE_FOLDER; format <= MODEL_SAVE_GGUF; format++) {
        expect_saved(model, (enum model_save_format)format, DTYPE_F32, 0, 0);
        expect_saved(model, (enum model_save_format)format, DTYPE_F32, 500000, 8192);
    }
    model_close(model);
    model = make_scaled("rope_scaling", llama3);
    for (int format = MODEL_SAVE_FOLDER; format <= MODEL_SAVE_GGUF; format++)
        expect_saved(model, (enum model_save_format)format, DTYPE_F32, 500000, 8192);
    model_close(model);
    model = make_scaled("rope_scaling", yarn);
    expect_saved(model, MODEL_SAVE_FOLDER, DTYPE_F32, 500000, 8192);
    expect_unwritable(model, MODEL_SAVE_GGUF);
    model_close(model);
    model = make_scaled("rope_parameters", odd); /* a base that is not replaced may be any */
    expect_saved(model, MODEL_SAVE_FOLDER, DTYPE_F32, 131461001, 8192);
    model_close(model);
    model = make_scaled("rope_parameters", newer);
    expect_saved(model, MODEL_SAVE_FOLDER, DTYPE_F32, 0, 0);
    expect_saved(model, MODEL_SAVE_FOLDER, DTYPE_F32, 500000, 8192);
    model_close(model);
}

static void merged_numbers_are_rounded_once(void **state)
{
    (void)state;
    struct model *gguf = make_gguf("source.gguf", &plain, 5, DTYPE_Q4_1);
    struct model *directory = make_directory(&plain, 6, DTYPE_F32);
    const struct model_values of_a = model_values_of(gguf);
    const struct model_values of_b = model_values_of(directory);
    static const double weights[][2] = {{0.5, 0.5}, {0.25, 0.75}, {1, 0}, {0.3, 0.7}};
    assert_int_equal(model_values_check_merge(gguf, directory), STATUS_OK);
    for (size_t w = 0; w < sizeof weights / sizeof weights[0]; w++) {
        const struct model_values_merge merge = {gguf, directory, weights[w][0], weights[w][1]};
        const struct model_values values = model_values_of_merge(&merge);
        float a[64], b[64], merged[64];
        assert_int_equal(of_a.read(of_a.context, a, MODEL_ATTN_K, 1, 3, 1), STATUS_OK);
        assert_int_equal(of_b.read(of_b.context, b, MODEL_ATTN_K, 1, 3, 1), STATUS_OK);
        assert_int_equal(values.read(values.context, merged, MODEL_ATTN_K, 1, 3, 1), STATUS_OK);
        for (int i = 0; i < 64; i++)
            assert_true(merged[i] ==
                        (float)(weights[w][0] * (double)a[i] + weights[w][1] * (double)b[i]));
        for (int i = 0; w == 0 && i < 64; i++) /* the mean, as PyTorch computes it in float32 */
            assert_true(merged[i] == (a[i] + b[i]) / 2);
        const struct model_save save = {
            .source = gguf, .values = &values, .format = MODEL_SAVE_GGUF, .dtype = DTYPE_F32};
        save_to(&save, "saved.gguf");
        struct model *saved = open_model(path_of("saved.gguf"));
        expect_values(saved, &values, DTYPE_F32, DTYPE_F32);
        model_close(saved);
    }
    model_close(gguf);
    model_close(directory);
}

static void expect_no_merge(const struct tiny_model_shape *shape, const char *words)
{
    struct model *a = make_gguf("source.gguf", &plain, 1, DTYPE_F32);
    struct model *b = make_gguf("other.gguf", shape, 1, DTYPE_F32);
    assert_int_equal(model_values_check_merge(a, b), STATUS_INVALID_ARGUMENT);
    if (!strstr(status_message(), words))
        fail_msg("wanted \"%s\" in: %s", words, status_message());
    model_close(a);
    model_close(b);
}

static void models_of_different_shapes_are_not_merged(void **state)
{
    (void)state;
    struct tiny_model_shape other = plain;
    other.layers = 3;
    expect_no_merge(&other, "the number of layers is 2 in one and 3 in the other");
    other = plain;
    other.kv_heads = 4;
    expect_no_merge(&other, "key-value heads is 2 in one and 4 in the other");
    other = plain;
    other.untied = true;
    expect_no_merge(&other, "tied to the embedding is 1 in one and 0 in the other");
    other = plain;
    other.vocab = TINY_MODEL_VOCAB_MIN + 3;
    expect_no_merge(&other, "the vocabulary is");
}

static void expect_refusal(const struct model_save *save, const char *path, enum status expected,
                           const char *words)
{
    const enum status status = model_save(save, path);
    if (status != expected || !strstr(status_message(), words))
        fail_msg("wanted %s: %s, got %s: %s", status_name(expected), words, status_name(status),
                 status_message());
}

static void what_cannot_be_written_is_refused(void **state)
{
    (void)state;
    struct tiny_model_shape shape = plain;
    struct model *model = make_gguf("source.gguf", &shape, 1, DTYPE_F32);
    const struct model_values values = model_values_of(model);
    const struct model_save good = {
        .source = model, .values = &values, .format = MODEL_SAVE_FOLDER, .dtype = DTYPE_F32};
    struct model_save save = good;
    save.dtype = DTYPE_Q4_1;
    expect_refusal(&save, path_of("saved"), STATUS_INVALID_ARGUMENT, "not in Q4_1");
    save = good;
    save.rope_base = 0.5;
    expect_refusal(&save, path_of("saved"), STATUS_INVALID_ARGUMENT, "a rope base of 0.5");
    save.rope_base = 131461001;
    expect_refusal(&save, path_of("saved"), STATUS_INVALID_ARGUMENT,
                   "the nearest one is 131461000");
    save = good;
    save.context_tokens = -1;
    expect_refusal(&save, path_of("saved"), STATUS_INVALID_ARGUMENT, "-1 tokens");
    save = good;
    save.format = MODEL_SAVE_GGUF;
    expect_refusal(&save, path_of("source.gguf"), STATUS_INVALID_ARGUMENT,
                   "is the model that the new one is made of");
    expect_refusal(&save, folder, STATUS_ALREADY_EXISTS, "is no file");
    expect_refusal(&good, folder, STATUS_INVALID_ARGUMENT, "or holds a part of it");
    assert_int_equal(mkdir(path_of("other"), 0777), 0);
    assert_int_equal(symlink("nowhere", path_of("other/notes.txt")), 0);
    expect_refusal(&good, path_of("other"), STATUS_ALREADY_EXISTS,
                   "notes.txt, which is no file of");
    expect_refusal(&good, path_of("absent/saved"), STATUS_IO, "No such file");
    model_close(model);
    shape.rope_factors = true;
    model = make_gguf("source.gguf", &shape, 1, DTYPE_F32);
    save = good;
    save.source = model;
    expect_refusal(&save, path_of("saved"), STATUS_UNIMPLEMENTED, "scaling (factors");
    model_close(model);
}

/* Values that one element of is not as the model's. */
struct spoilt {
    struct model_values values;
    float spoilt;
};

static enum status read_spoilt(void *context, float *out, enum model_role role, int layer,
                               int64_t first, int64_t count)
{
    const struct spoilt *spoilt = context;
    TRY(spoilt->values.read(spoilt->values.context, out, role, layer, first, count));
    if (role == MODEL_FFN_DOWN && layer == 1)
        out[5] = spoilt->spoilt;
    return STATUS_OK;
}

static void a_failed_save_leaves_the_old_model(void **state)
{
    (void)state;
    struct model *model = make_gguf("source.gguf", &plain, 1, DTYPE_F32);
    struct model *newer = make_gguf("other.gguf", &plain, 2, DTYPE_F32);
    const struct model_values values = model_values_of(model);
    struct spoilt spoilt = {.values = model_values_of(newer), .spoilt = NAN};
    const struct model_values bad = {.read = read_spoilt, .context = &spoilt};
    for (int format = MODEL_SAVE_FOLDER; format <= MODEL_SAVE_GGUF; format++) {
        const char *name = saved_name((enum model_save_format)format);
        struct model_save save = {.source = model,
                                  .values = &values,
                                  .format = (enum model_save_format)format,
                                  .dtype = DTYPE_F16};
        save_to(&save, name);
        save.values = &bad;
        spoilt.spoilt = NAN;
        expect_refusal(&save, path_of(name), STATUS_DATA_LOSS, "layers.1.mlp.down_proj.weight");
        spoilt.spoilt = 65520;
        expect_refusal(&save, path_of(name), STATUS_OUT_OF_RANGE, "write bfloat16 or float32");
        expect_nothing_beside();
        struct model *kept = open_model(path_of(name));
        expect_values(kept, &values, DTYPE_F16, format == MODEL_SAVE_GGUF ? DTYPE_F32 : DTYPE_F16);
        model_close(kept);
        save.dtype = DTYPE_BF16;
        spoilt.spoilt = -FLT_MAX;
        expect_refusal(&save, path_of(name), STATUS_OUT_OF_RANGE,
                       "beyond 3.396e+38, which bfloat16 cannot hold; write float32");
        spoilt.spoilt = 65520;
        save_to(&save, name);
        struct model *replaced = open_model(path_of(name));
        expect_values(replaced, &bad, DTYPE_BF16,
                      format == MODEL_SAVE_GGUF ? DTYPE_F32 : DTYPE_BF16);
        model_close(replaced);
    }
    model_close(model);
    model_close(newer);
}

/* Somebody writes to the same place meanwhile. */
static enum status come_between(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    const struct model_save *other = context;
    return done_bytes == all_bytes ? model_save(other, path_of(saved_name(other->format)))
                                   : STATUS_OK;
}

static void keeps_what_comes(const struct model *model, enum model_save_format format)
{
    struct model_save other = {.source = model, .format = format, .dtype = DTYPE_F16};
    const struct model_save_watch watch = {come_between, &other};
    const struct model_save save = {.source = model,
                                    .format = format,
                                    .dtype = DTYPE_BF16,
                                    .keeps_existing = true,
                                    .watch = &watch};
    if (format == MODEL_SAVE_FOLDER)
        tiny_directory_remove(path_of("saved"));
    assert_int_equal(model_save(&save, path_of(saved_name(format))), STATUS_ALREADY_EXISTS);
    expect_nothing_beside();
    struct model *found = open_model(path_of(saved_name(format)));
    assert_int_equal(model_tensor(found, MODEL_ATTN_Q, 0).dtype, DTYPE_F16);
    model_close(found);
}

static void folders_are_replaced_where_they_cannot_be_exchanged(void **state)
{
    (void)state;
    struct model *model = make_gguf("source.gguf", &plain, 1, DTYPE_F32);
    struct model *newer = make_gguf("other.gguf", &plain, 2, DTYPE_F32);
    exchanges = false;
    expect_saved(model, MODEL_SAVE_FOLDER, DTYPE_F32, 0, 0);
    expect_saved(newer, MODEL_SAVE_FOLDER, DTYPE_F32, 0, 0);
    assert_int_equal(mkdir(path_of("saved.old"), 0777), 0); /* somebody's */
    expect_saved(model, MODEL_SAVE_FOLDER, DTYPE_F32, 0, 0);
    assert_int_equal(access(path_of("saved.old"), F_OK), 0);
    for (int format = MODEL_SAVE_FOLDER; format <= MODEL_SAVE_GGUF; format++)
        keeps_what_comes(model, (enum model_save_format)format);
    exchanges = true;
    model_close(model);
    model_close(newer);
}

static void a_link_to_a_folder_stays(void **state)
{
    (void)state;
    struct model *model = make_gguf("source.gguf", &plain, 1, DTYPE_F32);
    struct stat facts;
    expect_saved(model, MODEL_SAVE_FOLDER, DTYPE_F32, 0, 0);
    assert_int_equal(rename(path_of("saved"), path_of("other")), 0);
    assert_int_equal(symlink("other", path_of("saved")), 0);
    expect_saved(model, MODEL_SAVE_FOLDER, DTYPE_BF16, 0, 0);
    assert_int_equal(lstat(path_of("saved"), &facts), 0);
    assert_true(S_ISLNK(facts.st_mode));
    assert_int_equal(unlink(path_of("saved")), 0);
    model_close(model);
}

/* A file that may not grow stands for a disk that is full. */
static void a_full_disk_leaves_the_old_model(void **state)
{
    (void)state;
    struct model *model = make_gguf("source.gguf", &plain, 1, DTYPE_F32);
    const struct model_values values = model_values_of(model);
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    const struct rlimit small = {.rlim_cur = 100000, .rlim_max = old.rlim_max};
    for (int format = MODEL_SAVE_FOLDER; format <= MODEL_SAVE_GGUF; format++) {
        const char *name = saved_name((enum model_save_format)format);
        struct model_save save = {.source = model,
                                  .values = &values,
                                  .format = (enum model_save_format)format,
                                  .dtype = DTYPE_F32};
        save_to(&save, name);
        save.dtype = DTYPE_BF16;
        assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
        expect_refusal(&save, path_of(name), STATUS_IO, "File too large");
        assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
        expect_nothing_beside();
        struct model *kept = open_model(path_of(name));
        expect_values(kept, &values, DTYPE_F32, DTYPE_F32);
        model_close(kept);
    }
    model_close(model);
}

/* Saves one model, then the other, until it is killed. */
static void save_for_ever(struct model *const models[2], enum model_save_format format)
{
    for (int i = 0;; i++) {
        const struct model_values values = model_values_of(models[i % 2]);
        const struct model_save save = {
            .source = models[i % 2], .values = &values, .format = format, .dtype = DTYPE_F32};
        if (model_save(&save, path_of(saved_name(format))) != STATUS_OK)
            _exit(1);
    }
}

static void kill_a_save(struct model *const models[2], enum model_save_format format,
                        int64_t after_us)
{
    int ended;
    const pid_t child = fork();
    assert_true(child >= 0);
    if (child == 0)
        save_for_ever(models, format);
    const struct timespec pause = {.tv_nsec = after_us * 1000};
    nanosleep(&pause, NULL);
    assert_int_equal(kill(child, SIGKILL), 0);
    assert_int_equal(waitpid(child, &ended, 0), child);
    assert_true(WIFSIGNALED(ended)); /* and no save had failed */
}

static void a_killed_save_leaves_a_whole_model(void **state)
{
    (void)state;
    struct model *const models[2] = {make_gguf("source.gguf", &plain, 1, DTYPE_F32),
                                     make_gguf("other.gguf", &plain, 2, DTYPE_F32)};
    const struct model_values values[2] = {model_values_of(models[0]), model_values_of(models[1])};
    struct random random = {.state = 5};
    for (int format = MODEL_SAVE_FOLDER; format <= MODEL_SAVE_GGUF; format++)
        expect_saved(models[0], (enum model_save_format)format, DTYPE_F32, 0, 0);
    for (int kills = 0; kills < 40; kills++) {
        const enum model_save_format format = (enum model_save_format)(kills % 2);
        const char *name = saved_name(format);
        kill_a_save(models, format, random_between(&random, 0, 12000));
        struct model *found = open_model(path_of(name));
        const float *number = model_tensor(found, MODEL_FFN_UP, 0).data;
        const float *of_first = model_tensor(models[0], MODEL_FFN_UP, 0).data;
        expect_values(found, &values[number[0] != of_first[0]], DTYPE_F32, DTYPE_F32);
        model_close(found);
    }
    model_close(models[0]);
    model_close(models[1]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(every_format_is_written_from_every_format, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(every_part_of_an_architecture_is_written, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(rope_scaling_is_kept_with_a_new_base, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(merged_numbers_are_rounded_once, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(models_of_different_shapes_are_not_merged, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(what_cannot_be_written_is_refused, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_tokenizer_that_gguf_cannot_say_is_refused, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_failed_save_leaves_the_old_model, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(folders_are_replaced_where_they_cannot_be_exchanged,
                                        make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_link_to_a_folder_stays, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(a_full_disk_leaves_the_old_model, make_folder,
                                        remove_folder),
        cmocka_unit_test_setup_teardown(a_killed_save_leaves_a_whole_model, make_folder,
                                        remove_folder),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
