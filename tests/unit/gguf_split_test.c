/* A model whose GGUF file is split, against the same model in one file. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/model/gguf.h"
#include "proto/model/model.h"
#include "tests/support/tiny_model.h"

enum { PARTS = 3, ALIGNMENT = 32, PATH_BYTES = 128 };

static const struct tiny_model_shape shape = {.layers = 3,
                                              .hidden = 64,
                                              .heads = 4,
                                              .kv_heads = 2,
                                              .head_dim = 16,
                                              .ffn = 96,
                                              .untied = true,
                                              .rope_factors = true};

static char folder[] = "/tmp/longhaul-split.XXXXXX";
static struct gguf_writer whole;

/* What a test does to the parts before they are written. */
struct fault {
    int count, number;  /* what part 2 says; 0: the truth */
    int tensors;        /* what part 1 says of all; 0: the truth */
    int repeated;       /* part 2 has the tensors of part 1: their number */
    bool spoils;        /* a factor of frequencies, in the first tensors, which the last part has */
    const char *suffix; /* of all names; NULL: ".gguf" */
};

static void name_part(char path[PATH_BYTES], int part, const char *suffix)
{
    snprintf(path, PATH_BYTES, "%s/m-%05d-of-%05d%s", folder, part + 1, PARTS,
             suffix ? suffix : ".gguf");
}

static void put_u16(struct gguf_writer *file, const char *key, int value)
{
    gguf_writer_key(file, key, GGUF_U16);
    gguf_writer_u8(file, (uint8_t)value);
    gguf_writer_u8(file, (uint8_t)(value >> 8));
}

/* The keys that say which part it is; the first has those of the model, too. */
static void write_pairs(struct gguf_writer *file, const struct gguf *gguf, int part, int tensors,
                        const struct fault *fault)
{
    const int own = part == 0 ? gguf_pair_count(gguf) + 1 : 0;
    const bool lies = part == 1;
    gguf_writer_header(file, (uint64_t)tensors, (uint64_t)(own + 2));
    put_u16(file, "split.no", lies && fault->number ? fault->number : part);
    put_u16(file, "split.count", lies && fault->count ? fault->count : PARTS);
    if (part > 0)
        return;
    gguf_writer_pair_u32(file, "split.tensors.count",
                         (uint32_t)(fault->tensors ? fault->tensors : gguf_tensor_count(gguf)));
    for (int i = 0; i < gguf_pair_count(gguf); i++) {
        const struct gguf_pair *pair = gguf_pair(gguf, i);
        char key[128];
        snprintf(key, sizeof key, "%.*s", (int)pair->key.bytes, pair->key.text);
        gguf_writer_key(file, key, pair->type);
        gguf_writer_bytes(file, pair->value, pair->bytes);
    }
}

/* Tensors [first, end) of the whole. */
static void write_part(const struct gguf *gguf, int part, int first, int end,
                       const struct fault *fault)
{
    struct gguf_writer file = {0};
    char path[PATH_BYTES];
    uint64_t offset = 0;
    write_pairs(&file, gguf, part, end - first, fault);
    for (int i = first; i < end; i++) {
        const struct gguf_tensor *tensor = gguf_tensor(gguf, i);
        char name[MODEL_ROLE_NAME_BYTES];
        snprintf(name, sizeof name, "%.*s", (int)tensor->name.bytes, tensor->name.text);
        gguf_writer_tensor(&file, name, (uint64_t)tensor->dims[0],
                           tensor->dims_count > 1 ? (uint64_t)tensor->dims[1] : 0,
                           (uint32_t)tensor->type, offset);
        offset += (tensor->bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
    }
    gguf_writer_pad(&file, ALIGNMENT);
    for (int i = first; i < end; i++) {
        const struct gguf_tensor *tensor = gguf_tensor(gguf, i);
        const size_t begin = file.bytes;
        gguf_writer_bytes(&file, tensor->data, tensor->bytes);
        if (fault->spoils && text_view_is(tensor->name, "rope_freqs.weight"))
            memset(file.data + begin, 0, sizeof(float));
        gguf_writer_pad(&file, ALIGNMENT);
    }
    name_part(path, part, fault->suffix);
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(file.data, 1, file.bytes, out), file.bytes);
    assert_int_equal(fclose(out), 0);
    gguf_writer_free(&file);
}

static void write_parts(const struct fault *fault)
{
    struct gguf *gguf;
    assert_int_equal(gguf_parse(&gguf, whole.data, whole.bytes, "whole"), STATUS_OK);
    const int count = gguf_tensor_count(gguf);
    for (int part = 0; part < PARTS; part++) {
        const int third = fault->spoils ? PARTS - 1 - part : part;
        const int first = part == 1 && fault->repeated ? 0 : third * count / PARTS;
        write_part(gguf, part, first, (third + 1) * count / PARTS, fault);
    }
    gguf_close(gguf);
}

static void remove_parts(const char *suffix)
{
    for (int part = 0; part < PARTS; part++) {
        char path[PATH_BYTES];
        name_part(path, part, suffix);
        unlink(path);
    }
}

static void parts_are_one_model(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    struct model *parts, *one;
    write_parts(&(struct fault){0});
    name_part(path, 0, NULL);
    if (model_open(&parts, path) != STATUS_OK)
        fail_msg("%s", status_message());
    assert_int_equal(model_parse(&one, whole.data, whole.bytes, "whole"), STATUS_OK);
    const struct model_spec *of_parts = model_spec(parts), *of_one = model_spec(one);
    assert_int_equal(of_parts->rope_scaling, MODEL_ROPE_FACTORS);
    assert_memory_equal(of_parts->inv_freq, of_one->inv_freq, sizeof of_one->inv_freq);
    assert_false(of_parts->tied_output);
    assert_int_equal(checkpoint_file_count(model_checkpoint(parts)), PARTS);
    for (int layer = 0; layer < shape.layers; layer++)
        for (int role = 0; role < MODEL_ROLE_COUNT; role++) {
            const struct model_tensor a = model_tensor(parts, (enum model_role)role, layer);
            const struct model_tensor b = model_tensor(one, (enum model_role)role, layer);
            assert_int_equal(a.rows, b.rows);
            if (b.data)
                assert_memory_equal(a.data, b.data,
                                    (size_t)b.rows * dtype_row_bytes(b.dtype, b.columns));
        }
    model_close(parts);
    model_close(one);
    remove_parts(NULL);
}

static void expect_refusal(const struct fault *fault, int given, const char *words)
{
    char path[PATH_BYTES];
    struct model *model;
    write_parts(fault);
    name_part(path, given, fault->suffix);
    assert_int_not_equal(model_open(&model, path), STATUS_OK);
    if (!strstr(status_message(), words))
        print_error("wanted %s, got %s\n", words, status_message());
    assert_non_null(strstr(status_message(), words));
    remove_parts(fault->suffix);
}

static void parts_that_do_not_belong_together_are_refused(void **state)
{
    (void)state;
    expect_refusal(&(struct fault){.count = 2}, 0,
                   "the file says that it is part 2 of 2, its name part 2 of 3");
    expect_refusal(&(struct fault){.number = 2}, 0, "says that it is part 3 of 3, its name part 2");
    expect_refusal(&(struct fault){.tensors = 5}, 0, "split.tensors.count is 5, the 3 parts have");
    expect_refusal(&(struct fault){.repeated = 1}, 0, "is there twice");
    expect_refusal(&(struct fault){0}, 1, "is part 2 of 3 of a model; give its first part, /tmp/");
    expect_refusal(&(struct fault){.suffix = ".bin"}, 0,
                   "its name does not end in -NNNNN-of-00003");
}

/* Not by the name of the first part, which is the one that was opened. */
static void the_part_of_a_tensor_that_is_no_good_is_named(void **state)
{
    (void)state;
    expect_refusal(&(struct fault){.spoils = true}, 0, "m-00003-of-00003.gguf: offset");
    assert_non_null(strstr(status_message(), "rope_freqs.weight has 0 at 0"));
}

static void a_part_that_is_missing_is_named(void **state)
{
    (void)state;
    char path[PATH_BYTES];
    struct model *model;
    write_parts(&(struct fault){0});
    name_part(path, 2, NULL);
    unlink(path);
    name_part(path, 0, NULL);
    assert_int_equal(model_open(&model, path), STATUS_NOT_FOUND);
    assert_non_null(strstr(status_message(), "m-00003-of-00003.gguf"));
    remove_parts(NULL);
}

static int make_whole(void **state)
{
    (void)state;
    assert_non_null(mkdtemp(folder));
    tiny_model_build(&whole, &shape, 3, DTYPE_F32);
    return 0;
}

static int free_whole(void **state)
{
    (void)state;
    gguf_writer_free(&whole);
    return rmdir(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parts_are_one_model),
        cmocka_unit_test(parts_that_do_not_belong_together_are_refused),
        cmocka_unit_test(the_part_of_a_tensor_that_is_no_good_is_named),
        cmocka_unit_test(a_part_that_is_missing_is_named),
    };
    return cmocka_run_group_tests(tests, make_whole, free_whole);
}
