/* No key of a model's files is read without an effect, or forgotten: each one that is known is
 * changed in a small model of every architecture. Either a text's log-probabilities change then, or
 * the file is refused by a name; where neither happens, the row says so. Reference kernels. */
#include "tests/support/unit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/model/architecture.h"
#include "proto/model/model.h"
#include "proto/model/spec_config_known.h"
#include "proto/model/spec_config_rope.h"
#include "proto/model/spec_gguf_keys.h"
#include "proto/model/spec_key.h"
#include "tests/ranks/model_key_rows.h"
#include "tests/support/engine_ranks.h"
#include "tests/support/tiny_directory.h"

enum { TOKENS = 40, TRAINED = 24, VOCAB = 40, LAYERS = 4, PATH_BYTES = 96, FILE_BYTES = 128 };

/* What a file gives: scores, or a refusal. */
struct outcome {
    enum status status;
    char message[512];
    float scores[TOKENS];
};

/* As the coordinator asks, by what the model says of a text of this length. */
static void spell_method(char *method, size_t room, const struct model_spec *spec)
{
    const struct frequencies frequencies = spec_frequencies(spec, TOKENS);
    if (frequencies.kind == FREQUENCIES_NTK)
        snprintf(method, room, "rope+ntk:factor=%g", frequencies.factor);
    else
        snprintf(method, room, "rope%s", frequencies.kind == FREQUENCIES_LONG ? "+long" : "");
}

static void try_model(struct outcome *outcome, const char *path)
{
    int32_t ids[TOKENS];
    char method[64];
    struct model *model = NULL;
    struct engine_outcome scored = {0};
    memset(outcome, 0, sizeof *outcome);
    for (int i = 0; i < TOKENS; i++)
        ids[i] = (i * 17 + i * i % 7) % VOCAB;
    outcome->status = model_open(&model, path);
    if (outcome->status == STATUS_OK) {
        spell_method(method, sizeof method, model_spec(model));
        const struct engine_case wanted = {.model_path = path,
                                           .kernels = "reference",
                                           .method = method,
                                           .kind = ENGINE_SCORE,
                                           .ids = ids,
                                           .count = TOKENS};
        outcome->status = engine_ranks_run(&scored, &wanted);
        if (outcome->status == STATUS_OK)
            memcpy(outcome->scores, scored.logprobs, (TOKENS - 1) * sizeof *outcome->scores);
    }
    if (outcome->status != STATUS_OK)
        snprintf(outcome->message, sizeof outcome->message, "%s", status_message());
    engine_outcome_free(&scored);
    model_close(model);
}

/* ---- what is expected ---- */

/* Whether a list of names that have spaces between them has this one; "*" has all. */
static bool lists(const char *names, const char *name)
{
    const size_t bytes = strlen(name);
    if (!names)
        return false;
    for (const char *at = names; *at; at += strcspn(at, " ") + (at[strcspn(at, " ")] != 0))
        if (*at == '*' || (strncmp(at, name, bytes) == 0 && (at[bytes] == ' ' || !at[bytes])))
            return true;
    return false;
}

static bool is_refusal(const struct outcome *outcome)
{
    return outcome->status == STATUS_UNIMPLEMENTED || outcome->status == STATUS_DATA_LOSS;
}

/* A refusal names the key, or what contradicts it. */
static void judge(const struct model_key_row *row, const char *name, const struct outcome *before,
                  const struct outcome *after)
{
    const bool differs = after->status == STATUS_OK &&
                         (before->status != STATUS_OK ||
                          memcmp(before->scores, after->scores, sizeof after->scores) != 0);
    const bool named = is_refusal(after) && (strstr(after->message, row->key) ||
                                             (row->names && strstr(after->message, row->names)));
    const bool same = after->status == STATUS_OK && !differs && before->status == STATUS_OK;
    const bool right = lists(row->changes, name) ? differs : lists(row->same, name) ? same : named;
    if (!right)
        print_error("%s of %s, %s: %s; before: %s\n", row->key, name, row->flipped,
                    after->status == STATUS_OK
                        ? differs ? "changes what is computed" : "changes nothing"
                        : after->message,
                    before->status == STATUS_OK ? "a model" : before->message);
    assert_true(right);
}

static bool has_row(const struct model_key_row *rows, const char *kind, const char *key)
{
    for (size_t r = 0; rows[r].key; r++)
        if (strcmp(rows[r].key, key) == 0 &&
            (!kind || (rows[r].kind && strcmp(rows[r].kind, kind) == 0)))
            return true;
    return false;
}

static void expect_row(const struct model_key_row *rows, const char *kind, const char *key)
{
    if (!has_row(rows, kind, key))
        print_error("%s%s%s has no row\n", kind ? kind : "", kind ? "." : "", key);
    assert_true(has_row(rows, kind, key));
}

/* A row may say of few keys that they change nothing though their names say that they may. */
static void check_quiet_rows(const struct model_key_row *rows)
{
    for (size_t r = 0; rows[r].key; r++)
        if (rows[r].same && spec_key_may_matter(text_view_of(rows[r].key)))
            assert_true(rows[r].why_same != NULL);
}

/* ---- the models ---- */

static struct tiny_model_shape shape_of(const struct architecture *architecture)
{
    return (struct tiny_model_shape){
        .architecture = architecture->gguf ? architecture->gguf : "llama",
        .model_type = architecture->model_type,
        .layers = architecture->window_period > LAYERS ? architecture->window_period + 1 : LAYERS,
        .hidden = 32,
        .heads = 4,
        .kv_heads = 2,
        .head_dim = 16,
        .ffn = 32,
        .vocab = VOCAB,
        .context = TRAINED,
        .qkv_bias = architecture->qkv_bias == ARCHITECTURE_ALWAYS,
        .qk_norm = architecture->qk_norm == ARCHITECTURE_ALWAYS,
        .no_tokenizer = true,
    };
}

/* A value of a row, in which "odd" stands for a list by layer that has the odd ones. */
static json_t *value_of(const char *text, int layers, bool gguf)
{
    json_t *list = json_array();
    if (strcmp(text, "odd") != 0) {
        json_decref(list);
        list = json_loads(text, JSON_DECODE_ANY, NULL);
        assert_non_null(list);
        return list;
    }
    for (int layer = 0; layer < layers; layer++) {
        const char *type = layer % 2 ? "sliding_attention" : "full_attention";
        json_array_append_new(list, gguf ? json_boolean(layer % 2) : json_string(type));
    }
    return list;
}

/* ---- config.json ---- */

static json_t *config_of(const struct architecture *architecture)
{
    const struct tiny_model_shape shape = shape_of(architecture);
    json_t *config =
        json_pack("{s:[s], s:s, s:s, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:i, s:f, s:b}",
                  "architectures", architecture->class, "model_type", architecture->model_type,
                  "hidden_act", architecture->gelu ? "gelu_pytorch_tanh" : "silu", "hidden_size",
                  shape.hidden, "intermediate_size", shape.ffn, "num_hidden_layers", shape.layers,
                  "num_attention_heads", shape.heads, "num_key_value_heads", shape.kv_heads,
                  "head_dim", shape.head_dim, "vocab_size", shape.vocab, "max_position_embeddings",
                  shape.context, "rms_norm_eps", 1e-5, "tie_word_embeddings", 1);
    assert_non_null(config);
    if (architecture->config_window != ARCHITECTURE_WINDOW_REFUSED)
        json_object_set_new(config, "sliding_window", json_integer(9));
    if (architecture->config_window == ARCHITECTURE_WINDOW_LISTED) {
        json_t *types = json_array();
        for (int layer = 0; layer < shape.layers; layer++)
            json_array_append_new(types, json_string("sliding_attention"));
        json_object_set_new(config, "layer_types", types);
    }
    return config;
}

struct config_case {
    const struct architecture *architecture;
    const char *folder;
    const char *beside; /* of `before` */
    struct outcome before;
};

/* Keys that change nothing anywhere are changed at once. */
static bool is_quiet(const struct model_key_row *row)
{
    return lists(row->same, "*") && !row->kind && !row->beside;
}

/* With what a row changes, which may be nothing; quiet rows follow each other. */
static void try_config(struct outcome *outcome, const struct config_case *one, const char *beside,
                       const struct model_key_row *row)
{
    char path[FILE_BYTES];
    json_t *config = config_of(one->architecture);
    json_t *others = json_loads(beside, 0, NULL);
    assert_non_null(others);
    json_object_update(config, others);
    const struct model_key_row *end = row ? row + 1 : NULL;
    while (row && is_quiet(row) && end->key && is_quiet(end))
        end++;
    for (; row != end; row++) {
        json_t *value = value_of(row->flipped, shape_of(one->architecture).layers, false);
        const char *of = json_object_iter_key(json_object_iter(others)); /* rope_parameters */
        json_object_set_new(row->kind ? json_object_get(config, of) : config, row->key, value);
    }
    snprintf(path, sizeof path, "%s/config.json", one->folder);
    assert_int_equal(json_dump_file(config, path, 0), 0);
    json_decref(others);
    json_decref(config);
    try_model(outcome, one->folder);
}

static void check_configs(struct config_case *one, const struct model_key_row *rows)
{
    for (size_t r = 0; rows[r].key; r++) {
        const char *beside = rows[r].beside ? rows[r].beside : "{}";
        struct outcome after;
        if (r > 0 && is_quiet(&rows[r]) && is_quiet(&rows[r - 1]))
            continue; /* it was changed with the one before */
        if (!one->beside || strcmp(one->beside, beside) != 0)
            try_config(&one->before, one, beside, NULL);
        one->beside = beside;
        try_config(&after, one, beside, &rows[r]);
        judge(&rows[r], one->architecture->model_type, &one->before, &after);
    }
}

static void every_key_of_config_json_changes_the_result_or_is_refused(void **state)
{
    (void)state;
    const char *key, *kind;
    for (int k = 0; (key = spec_config_known_key(k)); k++)
        expect_row(model_key_rows_config, NULL, key);
    for (int k = 0; (key = spec_config_rope_key(&kind, k)); k++)
        expect_row(model_key_rows_rope, kind, key);
    check_quiet_rows(model_key_rows_config);
    check_quiet_rows(model_key_rows_rope);
    for (size_t t = 0; model_key_types[t]; t++) {
        char folder[PATH_BYTES] = "/tmp/longhaul-keys.XXXXXX";
        struct config_case one = {
            .architecture = architecture_of_config(text_view_of(model_key_types[t])),
            .folder = folder,
        };
        assert_non_null(one.architecture);
        const struct tiny_model_shape shape = shape_of(one.architecture);
        assert_non_null(mkdtemp(folder));
        tiny_directory_write(folder, &shape, 5, DTYPE_F32, 1);
        check_configs(&one, model_key_rows_config);
        check_configs(&one, model_key_rows_rope);
        tiny_directory_remove(folder);
    }
}

/* ---- GGUF ---- */

/* A key that a file has is spoilt, so that it is no key of the architecture's. */
static void take_away(struct gguf_writer *file, const char *key)
{
    struct gguf_writer wanted = {0};
    gguf_writer_string(&wanted, key);
    uint8_t *place = memmem(file->data, file->bytes, wanted.data, wanted.bytes);
    if (place)
        place[8] = 'z';
    gguf_writer_free(&wanted);
}

static void add_pair(struct gguf_writer *pairs, const char *key, const json_t *value)
{
    if (json_is_integer(value))
        gguf_writer_pair_u32(pairs, key, (uint32_t)json_integer_value(value));
    else if (json_is_real(value))
        gguf_writer_pair_f32(pairs, key, (float)json_real_value(value));
    else if (json_is_boolean(value))
        gguf_writer_pair_bool(pairs, key, json_is_true(value));
    else if (json_is_string(value))
        gguf_writer_pair_text(pairs, key, json_string_value(value));
    else
        gguf_writer_array(pairs, key, GGUF_BOOL, json_array_size(value));
    for (size_t i = 0; i < json_array_size(value); i++)
        gguf_writer_u8(pairs, json_is_true(json_array_get(value, i)));
}

static void try_gguf(struct outcome *outcome, const struct architecture *architecture,
                     const char *path, const struct model_key_row *row, bool flipped)
{
    const struct tiny_model_shape shape = shape_of(architecture);
    struct gguf_writer file = {0}, pairs = {0};
    json_t *keys = json_loads(row->beside ? row->beside : "{}", 0, NULL);
    const char *rest;
    json_t *value;
    assert_non_null(keys);
    tiny_model_build(&file, &shape, 5, DTYPE_F32);
    if (flipped)
        json_object_set_new(keys, row->key, value_of(row->flipped, shape.layers, true));
    json_object_foreach(keys, rest, value)
    {
        char key[PATH_BYTES];
        snprintf(key, sizeof key, "%s.%s", architecture->gguf, rest);
        take_away(&file, key);
        add_pair(&pairs, key, value);
    }
    gguf_writer_insert_pairs(&file, &pairs, json_object_size(keys));
    FILE *out = fopen(path, "wb");
    assert_non_null(out);
    assert_int_equal(fwrite(file.data, 1, file.bytes, out), file.bytes);
    assert_int_equal(fclose(out), 0);
    gguf_writer_free(&file);
    json_decref(keys);
    try_model(outcome, path);
}

static void every_key_of_a_gguf_file_changes_the_result_or_is_refused(void **state)
{
    (void)state;
    const char *key;
    char path[PATH_BYTES] = "/tmp/longhaul-keys-XXXXXX.gguf";
    const int file = mkstemps(path, 5);
    assert_true(file >= 0);
    close(file);
    for (int k = 0; (key = spec_gguf_keys_known(k)); k++)
        expect_row(model_key_rows_gguf, NULL, key);
    check_quiet_rows(model_key_rows_gguf);
    for (size_t t = 0; model_key_types[t]; t++) {
        const struct architecture *architecture =
            architecture_of_config(text_view_of(model_key_types[t]));
        const char *beside = NULL;
        struct outcome before, after;
        for (size_t r = 0; architecture->gguf && model_key_rows_gguf[r].key; r++) {
            const struct model_key_row *row = &model_key_rows_gguf[r];
            const char *needed = row->beside ? row->beside : "{}";
            if (!beside || strcmp(beside, needed) != 0)
                try_gguf(&before, architecture, path, row, false);
            beside = needed;
            try_gguf(&after, architecture, path, row, true);
            judge(row, architecture->gguf, &before, &after);
        }
    }
    unlink(path);
}

/* A new architecture comes into the list of names by which these tests go. */
static void every_architecture_is_tried(void **state)
{
    (void)state;
    char known[ARCHITECTURE_NAMES_BYTES], tried[ARCHITECTURE_NAMES_BYTES] = "";
    architecture_config_names(known);
    for (size_t t = 0; model_key_types[t]; t++) {
        const size_t used = strlen(tried);
        snprintf(tried + used, sizeof tried - used, "%s%s", t ? ", " : "", model_key_types[t]);
    }
    assert_string_equal(tried, known);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_architecture_is_tried),
        cmocka_unit_test(every_key_of_config_json_changes_the_result_or_is_refused),
        cmocka_unit_test(every_key_of_a_gguf_file_changes_the_result_or_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
