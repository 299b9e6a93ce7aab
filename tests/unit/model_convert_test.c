/* Models that are converted: what keeps its type keeps its bytes, in files of any size and through
 * the other format and back; quantised types; and that nothing half is left by whatever ends it. */
#include "tests/support/unit.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "kernels/dtype_encode.h"
#include "proto/model/model_save.h"
#include "tests/support/tiny_directory.h"

enum { PATH_BYTES = 256 };

static const struct tiny_model_shape plain = {
    .layers = 2, .hidden = 64, .heads = 4, .kv_heads = 2, .head_dim = 32, .ffn = 96};

static char folder[] = "/tmp/longhaul-model-convert-XXXXXX";

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

static struct model *make_gguf(const struct tiny_model_shape *shape, enum dtype dtype)
{
    tiny_model_write(path_of("source.gguf"), shape, 7, dtype);
    return open_model(path_of("source.gguf"));
}

static struct model *make_directory(const struct tiny_model_shape *shape, enum dtype dtype)
{
    assert_int_equal(mkdir(path_of("source"), 0777), 0);
    tiny_directory_write(path_of("source"), shape, 7, dtype, 2);
    return open_model(path_of("source"));
}

static struct model_save conversion(const struct model *source, enum model_save_format format,
                                    enum dtype dtype)
{
    return (struct model_save){
        .source = source, .format = format, .dtype = dtype, .keeps_existing = true};
}

/* How many names there are in the test's folder, but for its source. */
static int outputs(void)
{
    DIR *listing = opendir(folder);
    int count = 0;
    assert_non_null(listing);
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing))
        count += entry->d_name[0] != '.' && strncmp(entry->d_name, "source", 6) != 0;
    closedir(listing);
    return count;
}

/* How many folders lie beside places. */
static int left_beside(void)
{
    DIR *listing = opendir(folder);
    int count = 0;
    assert_non_null(listing);
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing))
        count += strstr(entry->d_name, ".part-") || strstr(entry->d_name, ".old-");
    closedir(listing);
    return count;
}

static void save_to(const struct model_save *save, const char *name)
{
    const int before = left_beside();
    if (model_save(save, path_of(name)) != STATUS_OK)
        fail_msg("%s", status_message());
    assert_int_equal(left_beside(), before);
}

static void expect_refusal(const struct model_save *save, const char *name, enum status wanted,
                           const char *words)
{
    const int before = outputs();
    assert_int_equal(model_save(save, path_of(name)), wanted);
    if (!strstr(status_message(), words))
        fail_msg("%s", status_message());
    assert_int_equal(outputs(), before);
}

static void expect_same_tensors(const struct model *found, const struct model *wanted)
{
    const struct checkpoint *a = model_checkpoint(found);
    const struct checkpoint *b = model_checkpoint(wanted);
    assert_int_equal(checkpoint_tensor_count(a), checkpoint_tensor_count(b));
    for (int i = 0; i < checkpoint_tensor_count(b); i++) {
        char name[256];
        const struct checkpoint_tensor *right = checkpoint_tensor(b, i);
        snprintf(name, sizeof name, "%.*s", (int)right->name.bytes, right->name.text);
        const int at = checkpoint_find_tensor(a, name);
        assert_true(at >= 0);
        const struct checkpoint_tensor *left = checkpoint_tensor(a, at);
        assert_string_equal(left->type, right->type);
        assert_int_equal(left->dims_count, right->dims_count);
        assert_memory_equal(left->dims, right->dims, sizeof left->dims);
        assert_int_equal(left->bytes, right->bytes);
        assert_memory_equal(left->data, right->data, left->bytes);
    }
}

/* ---- round trips ---- */

static void there_and_back(const struct model *source, enum model_save_format format)
{
    const bool is_gguf = format == MODEL_SAVE_GGUF;
    const char *there = is_gguf ? "out" : "out.gguf";
    const char *back = is_gguf ? "back.gguf" : "back";
    struct model_save save =
        conversion(source, is_gguf ? MODEL_SAVE_FOLDER : MODEL_SAVE_GGUF, DTYPE_COUNT);
    save_to(&save, there);
    struct model *other = open_model(path_of(there));
    save = conversion(other, format, DTYPE_COUNT);
    save_to(&save, back);
    struct model *returned = open_model(path_of(back));
    expect_same_tensors(returned, source);
    assert_int_equal(vocab_count(model_vocab(returned)), vocab_count(model_vocab(source)));
    model_close(returned);
    model_close(other);
}

/* Llama's files have rows of queries and keys in the order of pairs, Qwen's do not. */
static const struct tiny_model_shape *shape_of(int number)
{
    static const struct tiny_model_shape shapes[] = {
        {.layers = 2,
         .hidden = 64,
         .heads = 4,
         .kv_heads = 2,
         .head_dim = 32,
         .ffn = 96,
         .untied = true},
        {.layers = 2,
         .hidden = 64,
         .heads = 4,
         .kv_heads = 2,
         .head_dim = 32,
         .ffn = 96,
         .architecture = "qwen3",
         .qk_norm = true},
        {.layers = 2,
         .hidden = 64,
         .heads = 4,
         .kv_heads = 2,
         .head_dim = 32,
         .ffn = 96,
         .architecture = "qwen2",
         .qkv_bias = true},
    };
    return number < 3 ? &shapes[number] : NULL;
}

static void gguf_files_come_back_bit_for_bit(void **state)
{
    static const enum dtype types[] = {DTYPE_F32, DTYPE_F16, DTYPE_BF16};
    for (int s = 0; shape_of(s); s++)
        for (size_t t = 0; t < sizeof types / sizeof types[0]; t++) {
            struct model *source = make_gguf(shape_of(s), types[t]);
            there_and_back(source, MODEL_SAVE_GGUF);
            model_close(source);
            remove_folder(state);
            make_folder(state);
        }
}

static void float32_folders_come_back_bit_for_bit(void **state)
{
    for (int s = 0; shape_of(s); s++) {
        struct model *source = make_directory(shape_of(s), DTYPE_F32);
        there_and_back(source, MODEL_SAVE_FOLDER);
        model_close(source);
        remove_folder(state);
        make_folder(state);
    }
}

/* ---- files of another size ---- */

static void every_type_is_copied_into_parts_and_joined_again(void **state)
{
    (void)state;
    struct tiny_model_shape mixed = plain;
    int files = 0;
    mixed.hidden = mixed.ffn = 256;
    mixed.head_dim = 64;
    mixed.mixed = true;
    mixed.rope_factors = true;
    struct model *source = make_gguf(&mixed, DTYPE_F32);
    struct model_save save = conversion(source, MODEL_SAVE_GGUF, DTYPE_COUNT);
    save.shard_bytes = 200000;
    save.files = &files;
    save_to(&save, "out.gguf");
    assert_true(files > 2);
    assert_int_equal(outputs(), files);
    char first[64];
    snprintf(first, sizeof first, "out-00001-of-%05d.gguf", files);
    struct model *parts = open_model(path_of(first));
    expect_same_tensors(parts, source);
    assert_int_equal(checkpoint_file_count(model_checkpoint(parts)), files);
    save = conversion(parts, MODEL_SAVE_GGUF, DTYPE_COUNT);
    save_to(&save, "out.gguf");
    struct model *joined = open_model(path_of("out.gguf"));
    expect_same_tensors(joined, source);
    model_close(joined);
    model_close(parts);
    model_close(source);
}

static void folders_are_cut_into_shards_with_an_index(void **state)
{
    (void)state;
    int files = 0;
    struct model *source = make_directory(&plain, DTYPE_BF16);
    struct model_save save = conversion(source, MODEL_SAVE_FOLDER, DTYPE_COUNT);
    save.shard_bytes = 20000;
    save.files = &files;
    save_to(&save, "out");
    assert_true(files > 2);
    assert_int_equal(access(path_of("out/model.safetensors.index.json"), F_OK), 0);
    struct model *shards = open_model(path_of("out"));
    expect_same_tensors(shards, source);
    model_close(shards);
    save.shard_bytes = 0;
    save.keeps_existing = false;
    save_to(&save, "out");
    assert_int_equal(files, 1);
    assert_int_not_equal(access(path_of("out/model.safetensors.index.json"), F_OK), 0);
    shards = open_model(path_of("out"));
    expect_same_tensors(shards, source);
    model_close(shards);
    model_close(source);
}

/* A model that the other format is not written for is copied in its own, norms and all. */
static void what_is_special_is_copied_and_not_translated(void **state)
{
    (void)state;
    struct tiny_model_shape half = plain;
    half.architecture = "phi3";
    half.rotated_dim = 16;
    struct model *source = make_gguf(&half, DTYPE_F16);
    assert_non_null(spec_special_part(model_spec(source)));
    struct model_save save = conversion(source, MODEL_SAVE_FOLDER, DTYPE_COUNT);
    expect_refusal(&save, "out", STATUS_UNIMPLEMENTED, "cannot be written in the other format");
    save.format = MODEL_SAVE_GGUF;
    save_to(&save, "out.gguf");
    struct model *copy = open_model(path_of("out.gguf"));
    expect_same_tensors(copy, source);
    model_close(copy);
    save.dtype = DTYPE_Q8_0;
    save.keeps_existing = false;
    save_to(&save, "out.gguf");
    copy = open_model(path_of("out.gguf"));
    assert_int_equal(model_tensor(copy, MODEL_ATTN_Q, 0).dtype, DTYPE_Q8_0);
    assert_int_equal(model_tensor(copy, MODEL_ATTN_NORM, 0).dtype, DTYPE_F32);
    model_close(copy);
    model_close(source);
}

/* ---- other types ---- */

/* What `from` rounds to, row by row. */
static void expect_encoded(const struct model *found, const struct model *from, enum dtype dtype,
                           enum model_role role)
{
    const struct model_values left = model_values_of(found);
    const struct model_values right = model_values_of(from);
    const struct model_tensor tensor = model_tensor(found, role, 0);
    assert_int_equal(tensor.dtype, dtype);
    for (int64_t row = 0; row < tensor.rows; row++) {
        float got[256], wanted[256], packed[256];
        assert_int_equal(left.read(left.context, got, role, 0, row, 1), STATUS_OK);
        assert_int_equal(right.read(right.context, wanted, role, 0, row, 1), STATUS_OK);
        dtype_encode_row(packed, wanted, dtype, tensor.columns);
        dtype_dequantize_row(wanted, packed, dtype, tensor.columns);
        assert_memory_equal(got, wanted, (size_t)tensor.columns * sizeof got[0]);
    }
}

static void matrices_are_rounded_to_every_type_that_is_written(void **state)
{
    (void)state;
    struct model *gguf = make_gguf(&plain, DTYPE_F32);
    struct model *directory = make_directory(&plain, DTYPE_F32);
    struct model *const sources[] = {gguf, directory};
    for (int d = 0; d < DTYPE_COUNT; d++)
        for (int s = 0; s < 2 && dtype_encode_knows((enum dtype)d); s++) {
            struct model_save save = conversion(sources[s], MODEL_SAVE_GGUF, (enum dtype)d);
            save.keeps_existing = false;
            save_to(&save, "out.gguf");
            struct model *found = open_model(path_of("out.gguf"));
            expect_encoded(found, sources[s], (enum dtype)d, MODEL_TOKEN_EMBD);
            expect_encoded(found, sources[s], (enum dtype)d, MODEL_ATTN_K);
            expect_encoded(found, sources[s], (enum dtype)d, MODEL_FFN_DOWN);
            assert_int_equal(model_tensor(found, MODEL_FFN_NORM, 0).dtype, DTYPE_F32);
            model_close(found);
        }
    model_close(directory);
    model_close(gguf);
}

static void what_cannot_be_is_refused_by_name(void **state)
{
    (void)state;
    struct model *source = make_gguf(&plain, DTYPE_Q4_1);
    struct model_save save = conversion(source, MODEL_SAVE_GGUF, DTYPE_Q4_K);
    expect_refusal(&save, "out.gguf", STATUS_INVALID_ARGUMENT,
                   "weights of type Q4_K are read but not written");
    save = conversion(source, MODEL_SAVE_FOLDER, DTYPE_Q8_0);
    expect_refusal(&save, "out", STATUS_INVALID_ARGUMENT,
                   "safetensors files are written in F32, BF16 or F16, not in Q8_0");
    save = conversion(source, MODEL_SAVE_FOLDER, DTYPE_COUNT);
    expect_refusal(&save, "out", STATUS_UNIMPLEMENTED,
                   "the tensor model.embed_tokens.weight has type Q4_1, which safetensors files do "
                   "not have");
    save = conversion(source, MODEL_SAVE_GGUF, DTYPE_COUNT);
    save.shard_bytes = 10000;
    expect_refusal(&save, "out", STATUS_INVALID_ARGUMENT, "does not end in .gguf");
    save_to(&save, "out.gguf");
    expect_refusal(&save, "out.gguf", STATUS_ALREADY_EXISTS, "is there already");
    save.keeps_existing = false;
    save.shard_bytes = 0;
    expect_refusal(&save, "source.gguf", STATUS_INVALID_ARGUMENT,
                   "is the model that the new one is made of");
    model_close(source);
}

static void rows_that_do_not_fill_blocks_are_refused_with_the_numbers(void **state)
{
    (void)state;
    struct tiny_model_shape odd = plain;
    odd.ffn = 72;
    struct model *source = make_gguf(&odd, DTYPE_F32);
    struct model_save save = conversion(source, MODEL_SAVE_GGUF, DTYPE_Q4_0);
    expect_refusal(&save, "out.gguf", STATUS_INVALID_ARGUMENT,
                   "blk.0.ffn_down.weight has rows of 72 numbers, which do not fill whole Q4_0 "
                   "blocks of 32");
    model_close(source);
}

/* Adds a tensor of F32 to the one safetensors file of a folder. */
static void add_empty_tensor(const char *name, const char *shape)
{
    const char *path = path_of("source/model.safetensors");
    static char data[1 << 20];
    uint64_t bytes;
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    assert_int_equal(fread(&bytes, sizeof bytes, 1, file), 1);
    char *text = calloc(1, bytes + 1);
    assert_non_null(text);
    assert_int_equal(fread(text, 1, bytes, file), bytes);
    const size_t data_bytes = fread(data, 1, sizeof data, file);
    assert_true(data_bytes > 0 && data_bytes < sizeof data);
    fclose(file);
    json_t *header = json_loads(text, 0, NULL);
    json_object_set_new(header, name,
                        json_pack("{s:s, s:o, s:[II]}", "dtype", "F32", "shape",
                                  json_loads(shape, 0, NULL), "data_offsets",
                                  (json_int_t)data_bytes, (json_int_t)data_bytes));
    free(text);
    text = json_dumps(header, JSON_COMPACT);
    json_decref(header);
    assert_non_null(text);
    bytes = strlen(text);
    file = fopen(path, "wb");
    assert_non_null(file);
    fwrite(&bytes, sizeof bytes, 1, file);
    fwrite(text, 1, bytes, file);
    fwrite(data, 1, data_bytes, file);
    assert_int_equal(fclose(file), 0);
    free(text);
}

static void tensors_without_numbers_are_listed(void **state)
{
    (void)state;
    assert_int_equal(mkdir(path_of("source"), 0777), 0);
    tiny_directory_write(path_of("source"), &plain, 7, DTYPE_F32, 1);
    add_empty_tensor("a.rotary_emb.inv_freq", "[0]");
    add_empty_tensor("b.rotary_emb.inv_freq", "[0, 4]");
    add_empty_tensor("c.rotary_emb.inv_freq", "[4, 0]");
    struct model *source = open_model(path_of("source"));
    struct model_save save = conversion(source, MODEL_SAVE_FOLDER, DTYPE_BF16);
    save_to(&save, "out");
    struct model *found = open_model(path_of("out"));
    for (const char *name = "abc"; *name; name++) {
        char text[] = "a.rotary_emb.inv_freq"; /* other names are refused */
        text[0] = *name;
        const struct checkpoint *files = model_checkpoint(found);
        const int at = checkpoint_find_tensor(files, text);
        assert_true(at >= 0);
        assert_int_equal(checkpoint_tensor(files, at)->dtype, DTYPE_BF16);
        assert_int_equal(checkpoint_tensor(files, at)->bytes, 0);
    }
    model_close(found);
    model_close(source);
}

/* ---- whose files they are ---- */

static void put_text(const char *name, const char *text)
{
    FILE *file = fopen(path_of(name), "wb");
    assert_non_null(file);
    fputs(text, file);
    assert_int_equal(fclose(file), 0);
}

static void expect_text(const char *name, const char *text)
{
    char found[64] = "";
    FILE *file = fopen(path_of(name), "rb");
    assert_non_null(file);
    const size_t bytes = fread(found, 1, sizeof found - 1, file);
    fclose(file);
    assert_int_equal(bytes, strlen(text));
    assert_memory_equal(found, text, bytes);
}

/* Also the source itself. */
static void a_file_that_is_called_like_a_part_stays(void **state)
{
    (void)state;
    tiny_model_write(path_of("out.gguf.part"), &plain, 7, DTYPE_F32);
    put_text("out-00001-of-00002.gguf.part", "mine");
    assert_int_equal(mkdir(path_of("out.part"), 0777), 0);
    put_text("out.part/model.safetensors", "mine");
    struct model *source = open_model(path_of("out.gguf.part"));
    struct model_save save = conversion(source, MODEL_SAVE_GGUF, DTYPE_F16);
    save_to(&save, "out.gguf");
    save.format = MODEL_SAVE_FOLDER;
    save_to(&save, "out");
    save.format = MODEL_SAVE_GGUF;
    save.shard_bytes = 150000;
    save_to(&save, "out.gguf");
    expect_text("out-00001-of-00002.gguf.part", "mine");
    expect_text("out.part/model.safetensors", "mine");
    struct model *again = open_model(path_of("out.gguf.part"));
    expect_same_tensors(again, source);
    model_close(again);
    model_close(source);
}

static void no_file_of_the_source_is_replaced(void **state)
{
    (void)state;
    int files = 0;
    struct model *whole = make_gguf(&plain, DTYPE_F32);
    struct model_save save = conversion(whole, MODEL_SAVE_GGUF, DTYPE_COUNT);
    save.shard_bytes = 150000;
    save.files = &files;
    save_to(&save, "source.gguf");
    assert_true(files > 1);
    char first[64], last[64];
    snprintf(first, sizeof first, "source-00001-of-%05d.gguf", files);
    snprintf(last, sizeof last, "source-%05d-of-%05d.gguf", files, files);
    struct model *parts = open_model(path_of(first));
    save.source = parts;
    save.keeps_existing = false;
    expect_refusal(&save, "source.gguf", STATUS_INVALID_ARGUMENT, "is the model that the new one");
    save.shard_bytes = 0;
    expect_refusal(&save, last, STATUS_INVALID_ARGUMENT, "is the model that the new one");
    model_close(parts);
    struct model *directory = make_directory(&plain, DTYPE_F32);
    save = conversion(directory, MODEL_SAVE_GGUF, DTYPE_F16);
    save.keeps_existing = false;
    expect_refusal(&save, "source/model-00002-of-00002.safetensors", STATUS_INVALID_ARGUMENT,
                   "is the model that the new one");
    assert_int_equal(mkdir(path_of("out"), 0777), 0); /* whose weights the source links to */
    assert_int_equal(rename(path_of("source/model-00001-of-00002.safetensors"),
                            path_of("out/model-00001-of-00002.safetensors")),
                     0);
    assert_int_equal(symlink("../out/model-00001-of-00002.safetensors",
                             path_of("source/model-00001-of-00002.safetensors")),
                     0);
    save.format = MODEL_SAVE_FOLDER;
    expect_refusal(&save, "out", STATUS_INVALID_ARGUMENT, "holds a part of it");
    model_close(directory);
    model_close(whole);
}

/* Somebody writes to the same place meanwhile. */
static enum status come_between(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    const struct model_save *other = context;
    return done_bytes == all_bytes
               ? model_save(other, path_of(other->format == MODEL_SAVE_GGUF ? "out.gguf" : "out"))
               : STATUS_OK;
}

static void what_came_while_it_was_written_stays(void **state)
{
    (void)state;
    struct model *source = make_gguf(&plain, DTYPE_F32);
    for (int format = MODEL_SAVE_FOLDER; format <= MODEL_SAVE_GGUF; format++) {
        const char *name = format == MODEL_SAVE_GGUF ? "out.gguf" : "out";
        struct model_save other = conversion(source, (enum model_save_format)format, DTYPE_F16);
        const struct model_save_watch watch = {come_between, &other};
        struct model_save save = conversion(source, (enum model_save_format)format, DTYPE_BF16);
        save.watch = &watch;
        assert_int_equal(model_save(&save, path_of(name)), STATUS_ALREADY_EXISTS);
        assert_int_equal(left_beside(), 0);
        struct model *found = open_model(path_of(name));
        assert_int_equal(model_tensor(found, MODEL_ATTN_Q, 0).dtype, DTYPE_F16);
        model_close(found);
    }
    model_close(source);
}

static char first_part[64];

static enum status put_first_part(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    (void)context;
    if (done_bytes == all_bytes)
        put_text(first_part, "mine");
    return STATUS_OK;
}

/* The first part is renamed last: the others are taken back. */
static void parts_that_cannot_all_be_placed_are_taken_back(void **state)
{
    (void)state;
    int files = 0;
    struct model *source = make_gguf(&plain, DTYPE_F32);
    struct model_save save = conversion(source, MODEL_SAVE_GGUF, DTYPE_F16);
    save.shard_bytes = 50000;
    save.files = &files;
    save_to(&save, "back.gguf");
    assert_true(files > 2);
    snprintf(first_part, sizeof first_part, "out-00001-of-%05d.gguf", files);
    const struct model_save_watch watch = {put_first_part, NULL};
    save.watch = &watch;
    const int before = outputs();
    assert_int_equal(model_save(&save, path_of("out.gguf")), STATUS_ALREADY_EXISTS);
    assert_int_equal(outputs(), before + 1);
    expect_text(first_part, "mine");
    model_close(source);
}

static void a_file_that_parts_do_not_replace_is_no_hindrance(void **state)
{
    (void)state;
    struct model *source = make_gguf(&plain, DTYPE_F32);
    struct model_save save = conversion(source, MODEL_SAVE_GGUF, DTYPE_COUNT);
    save.shard_bytes = 50000;
    save_to(&save, "source.gguf");
    expect_refusal(&save, "source.gguf", STATUS_ALREADY_EXISTS, ".gguf is there already");
    model_close(source);
}

static enum status block_second_part(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    if (done_bytes < all_bytes)
        return STATUS_OK;
    assert_int_equal(unlink(path_of(context)), 0);
    assert_int_equal(mkdir(path_of(context), 0777), 0);
    return STATUS_OK;
}

static void parts_of_two_models_are_never_opened_together(void **state)
{
    (void)state;
    int files = 0;
    char second_part[64];
    struct model *source = make_gguf(&plain, DTYPE_F32), *found = NULL;
    struct model_save save = conversion(source, MODEL_SAVE_GGUF, DTYPE_F16);
    save.shard_bytes = 50000;
    save.files = &files;
    save_to(&save, "out.gguf");
    assert_true(files > 2);
    snprintf(first_part, sizeof first_part, "out-00001-of-%05d.gguf", files);
    snprintf(second_part, sizeof second_part, "out-00002-of-%05d.gguf", files);
    const struct model_save_watch watch = {block_second_part, second_part};
    save.watch = &watch;
    save.keeps_existing = false;
    assert_int_equal(model_save(&save, path_of("out.gguf")), STATUS_IO);
    assert_int_equal(left_beside(), 0);
    assert_int_equal(model_open(&found, path_of(first_part)), STATUS_NOT_FOUND);
    model_close(source);
}

static void files_beside_that_are_not_read_are_copied_as_they_are(void **state)
{
    (void)state;
    static const char pointer[] = "version https://git-lfs.github.com/spec/v1\n";
    model_close(make_directory(&plain, DTYPE_F32));
    put_text("source/merges.txt", "");
    put_text("source/vocab.json", pointer);
    struct model *source = open_model(path_of("source"));
    const struct model_save save = conversion(source, MODEL_SAVE_FOLDER, DTYPE_F16);
    save_to(&save, "out");
    expect_text("out/merges.txt", "");
    expect_text("out/vocab.json", pointer);
    assert_int_equal(unlink(path_of("source/vocab.json")), 0);
    assert_int_equal(mkfifo(path_of("source/vocab.json"), 0666), 0);
    expect_refusal(&save, "back", STATUS_INVALID_ARGUMENT, "vocab.json is not a regular file");
    model_close(source);
}

/* ---- what ends it ---- */

struct seen {
    uint64_t done, all;
    uint64_t end_at;
    int signal_number; /* 0: a refusal */
};

static enum status look(void *context, uint64_t done_bytes, uint64_t all_bytes)
{
    struct seen *seen = context;
    assert_true(done_bytes > seen->done && done_bytes <= all_bytes);
    seen->done = done_bytes;
    seen->all = all_bytes;
    if (seen->end_at == 0 || done_bytes < seen->end_at)
        return STATUS_OK;
    if (seen->signal_number != 0)
        (void)raise(seen->signal_number);
    return fail(STATUS_CANCELLED, "seen enough");
}

static void a_watch_sees_all_bytes_and_can_end_the_writing(void **state)
{
    (void)state;
    struct model *source = make_gguf(&plain, DTYPE_F32);
    for (int format = MODEL_SAVE_FOLDER; format <= MODEL_SAVE_GGUF; format++) {
        const char *name = format == MODEL_SAVE_GGUF ? "out.gguf" : "out";
        struct seen seen = {0};
        const struct model_save_watch watch = {look, &seen};
        struct model_save save = conversion(source, (enum model_save_format)format, DTYPE_F16);
        save.watch = &watch;
        save.shard_bytes = 20000;
        save_to(&save, name);
        assert_true(seen.all > 0 && seen.done == seen.all);
        save.shard_bytes = 25000;
        save.keeps_existing = false;
        seen = (struct seen){.end_at = seen.all / 2};
        expect_refusal(&save, name, STATUS_CANCELLED, "seen enough");
    }
    model_close(source);
}

/* A file that may not grow stands for a disk that is full. */
static void a_full_disk_leaves_nothing(void **state)
{
    (void)state;
    struct model *source = make_gguf(&plain, DTYPE_F32);
    struct rlimit old;
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &old), 0);
    const struct rlimit small = {.rlim_cur = 100000, .rlim_max = old.rlim_max};
    assert_true(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int format = MODEL_SAVE_FOLDER; format <= MODEL_SAVE_GGUF; format++) {
        const struct model_save save =
            conversion(source, (enum model_save_format)format, DTYPE_F32);
        expect_refusal(&save, format == MODEL_SAVE_GGUF ? "out.gguf" : "out", STATUS_IO,
                       "File too large");
    }
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &old), 0);
    model_close(source);
}

/* What the kill has left beside the place is nobody's business. */
static void a_kill_in_the_middle_leaves_no_model_and_no_obstacle(void **state)
{
    (void)state;
    struct model *source = make_gguf(&plain, DTYPE_F32);
    for (int format = MODEL_SAVE_FOLDER; format <= MODEL_SAVE_GGUF; format++) {
        const char *name = format == MODEL_SAVE_GGUF ? "out.gguf" : "out";
        struct seen seen = {.end_at = 60000, .signal_number = SIGKILL};
        const struct model_save_watch watch = {look, &seen};
        struct model_save save = conversion(source, (enum model_save_format)format, DTYPE_F32);
        save.watch = &watch;
        int ended;
        const pid_t child = fork();
        assert_true(child >= 0);
        if (child == 0)
            _exit(model_save(&save, path_of(name)) == STATUS_OK ? 0 : 1);
        assert_int_equal(waitpid(child, &ended, 0), child);
        assert_true(WIFSIGNALED(ended) && WTERMSIG(ended) == SIGKILL);
        assert_int_not_equal(access(path_of(name), F_OK), 0);
        assert_int_equal(left_beside(), format - MODEL_SAVE_FOLDER + 1);
        save.watch = NULL;
        save_to(&save, name);
        model_close(open_model(path_of(name)));
    }
    model_close(source);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, make_folder, remove_folder)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(gguf_files_come_back_bit_for_bit),
        TEST(float32_folders_come_back_bit_for_bit),
        TEST(every_type_is_copied_into_parts_and_joined_again),
        TEST(folders_are_cut_into_shards_with_an_index),
        TEST(what_is_special_is_copied_and_not_translated),
        TEST(matrices_are_rounded_to_every_type_that_is_written),
        TEST(what_cannot_be_is_refused_by_name),
        TEST(rows_that_do_not_fill_blocks_are_refused_with_the_numbers),
        TEST(tensors_without_numbers_are_listed),
        TEST(a_file_that_is_called_like_a_part_stays),
        TEST(no_file_of_the_source_is_replaced),
        TEST(what_came_while_it_was_written_stays),
        TEST(parts_that_cannot_all_be_placed_are_taken_back),
        TEST(a_file_that_parts_do_not_replace_is_no_hindrance),
        TEST(parts_of_two_models_are_never_opened_together),
        TEST(files_beside_that_are_not_read_are_copied_as_they_are),
        TEST(a_watch_sees_all_bytes_and_can_end_the_writing),
        TEST(a_full_disk_leaves_nothing),
        TEST(a_kill_in_the_middle_leaves_no_model_and_no_obstacle),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
