/* The file of a training run: what is read, what is refused with its line, and what follows. */
#include "tests/support/unit.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/train/train_config.h"
#include "proto/train/train_stage.h"

static const char least[] = "model: {path: m.gguf}\ndata: {files: a.txt b.jsonl}\n"
                            "output: {folder: out}\n";

static enum status read(struct train_config *config, const char *text)
{
    return train_config_read_bytes(config, "run.yaml", text, strlen(text));
}

static void what_is_not_said_has_its_default(void **state)
{
    (void)state;
    struct train_config config;
    assert_int_equal(read(&config, least), STATUS_OK);
    assert_string_equal(config.model.path, "m.gguf");
    assert_string_equal(config.data.files, "a.txt b.jsonl");
    assert_string_equal(config.data.field, "text");
    assert_int_equal(config.setting, TRAIN_SETTING_PLAIN);
    assert_true(config.right_points);
    assert_true(config.training.learning_rate == 5e-5);
    assert_true(config.replay.learning_rate == 5e-6);
    assert_int_equal(config.training.keep, 2);
    assert_int_equal(config.replay.batch, 8);
    assert_int_equal(config.mesh.data, 1);
    assert_true(config.output.merge_original == 0.5 && config.output.merge_trained == 0.5);
    assert_int_equal(train_config_sample_tokens(&config, 2048), 2048);
}

static void what_is_said_is_taken(void **state)
{
    (void)state;
    struct train_config config;
    assert_int_equal(read(&config,
                          "model: {path: m, rope_base: 1e6, window: 8k}\ndata:\n  files: x\n"
                          "  selection: digits\n  replay: {files: r.jsonl, loss: response}\n"
                          "positions: {setting: recipe, target: 80000, right_points: false}\n"
                          "training: {batch: 96, decay: cosine, weight_decay: 0.2, compute: bf16,\n"
                          "  replay: {steps: 30, decay: linear}}\n"
                          "mesh: {data: 2, sequence: 3}\noutput: {folder: o, format: both}\n"),
                     STATUS_OK);
    assert_int_equal(config.model.rope_base, TRAIN_ROPE_GIVEN);
    assert_true(config.model.rope_base_given == 1e6);
    assert_int_equal(config.model.window, 8192);
    assert_int_equal(config.data.selection, TRAIN_SELECTION_DIGITS);
    assert_int_equal(config.replay_data.loss, TRAIN_LOSS_RESPONSE);
    assert_int_equal(config.setting, TRAIN_SETTING_RECIPE);
    assert_false(config.right_points);
    assert_int_equal(config.training.compute, TRAIN_COMPUTE_BF16);
    assert_int_equal(config.training.decay, TRAIN_DECAY_COSINE);
    assert_int_equal(config.training.steps, 0);
    assert_int_equal(config.replay.steps, 30);
    assert_int_equal(config.replay.decay, TRAIN_DECAY_LINEAR);
    assert_int_equal(config.replay.compute, TRAIN_COMPUTE_BF16);
    assert_int_equal(config.replay.batch, 96);
    assert_true(config.replay.weight_decay == 0.2);
    assert_int_equal(config.mesh.sequence, 3);
    assert_int_equal(config.output.format, TRAIN_FORMAT_BOTH);
    assert_int_equal(train_config_sample_tokens(&config, 8192), 24000);
    config.setting = TRAIN_SETTING_FULL;
    assert_int_equal(train_config_sample_tokens(&config, 8192), 80000);
}

static void what_is_wrong_is_named_with_its_line(void **state)
{
    (void)state;
    static const struct wrong {
        const char *text, *words;
    } wrongs[] = {
        {"model: {path: m}\ntraining:\n  lerning_rate: 1\n",
         "run.yaml:3: there is no key \"training.lerning_rate\"; did you mean "
         "training.learning_rate?"},
        {"modle:\n  path: m\n", "run.yaml:1: there is no section \"modle\""},
        {"training: {decay: fast}\n",
         "run.yaml:1: training.decay is \"fast\", must be constant, linear or cosine"},
        {"training:\n  batch: 0\n",
         ":2: training.batch is \"0\", must be a whole number from 1 to 1048576"},
        {"training: {beta1: 1}\n", "training.beta1 is \"1\""},
        {"training: {clip: nan}\n", "training.clip is \"nan\""},
        {"training: {steps: 1.5}\n", "training.steps is \"1.5\""},
        {"training: {keep: 1}\n", "training.keep is \"1\""},
        {"mesh: {tensor: 2}\n", "mesh.tensor is \"2\""},
        {"positions: {right_points: yes}\n", "must be true or false"},
        {"model: {rope_base: big}\n", "must be keep, auto or a number from 1"},
        {"model: {path: a}\nmodel: {path: b}\n", ":2: model.path is there twice"},
        {"data: {files: [a, b]}\n", "data.files: takes one value, not a list"},
        {"data: {files: x}\noutput: {folder: o}\n", "model.path is missing"},
        {"model: {path: m, shape: s}\ndata: {files: x}\noutput: {folder: o}\n",
         "contradict each other"},
        {"model: {shape: s}\ndata: {files: x}\noutput: {folder: o}\n", "output.dtype float32"},
        {"model: {shape: s}\ndata: {files: x}\noutput: {folder: o, dtype: float32, format: both}\n",
         "written as safetensors"},
        {"model: {shape: s, rope_base: 5e5}\ndata: {files: x}\noutput: {folder: o, dtype: "
         "float32}\n",
         "leave model.rope_base at keep"},
        {"training: {micro_batch: 2}\n", "training.micro_batch is \"2\""},
        {"model: {path: m}\noutput: {folder: o}\n", "data.files is missing"},
        {"model: {path: m}\ndata: {files: x}\n", "output.folder is missing"},
        {"model: {path: m}\ndata: {files: x}\noutput: {folder: o}\npositions: {setting: pose}\n",
         "positions.target is missing"},
        {"model: {path: m, rope_base: auto}\ndata: {files: x}\noutput: {folder: o}\n",
         "positions.target, which is missing"},
        {"model: {path: m}\ndata: {files: x, sample_tokens: 9}\noutput: {folder: o}\n"
         "positions: {setting: rpes, target: 8}\n",
         "data.sample_tokens is more than positions.target"},
        {"model: {path: m}\ndata: {files: x, selection: tags}\noutput: {folder: o}\n",
         "needs data.tags"},
        {"model: {\n", "not YAML"},
    };
    for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
        struct train_config config = {.target = -7};
        assert_int_equal(read(&config, wrongs[i].text), STATUS_INVALID_ARGUMENT);
        if (!strstr(status_message(), wrongs[i].words))
            fail_msg("\"%s\" lacks \"%s\"", status_message(), wrongs[i].words);
        assert_int_equal(config.target, -7);
    }
}

static void a_stage_knows_its_files_and_its_base(void **state)
{
    (void)state;
    struct train_config config;
    struct train_stage stage;
    const struct model_spec spec = {.rope_base = 5e5, .head_dim = 128, .trained_tokens = 8192};
    double base;
    int64_t context;
    assert_int_equal(read(&config, "model: {path: m, rope_base: auto}\ndata: {files: x}\n"
                                   "positions: {setting: recipe, target: 80k}\n"
                                   "output: {folder: out, format: both}\n"),
                     STATUS_OK);
    train_stage_make(&stage, &config, TRAIN_STAGE_EXTEND);
    assert_string_equal(stage.samples, "out/extend/samples");
    assert_string_equal(stage.model, "m");
    assert_string_equal(stage.output_gguf, "out/extend/model.gguf");
    assert_ptr_equal(stage.training, &config.training);
    /* The published base of Llama-3 at 80k: methods.md 3.4. */
    train_stage_rope(&base, &context, &stage, &config, &spec);
    assert_true(base > 48.87e6 && base < 48.885e6);
    assert_int_equal(context, 81920);
    train_stage_make(&stage, &config, TRAIN_STAGE_REPLAY);
    assert_string_equal(stage.model, "out/extend/model");
    assert_string_equal(stage.output_folder, "out/replay/model");
    assert_ptr_equal(stage.training, &config.replay);
    train_stage_rope(&base, &context, &stage, &config, &spec);
    assert_true(base == 5e5);
    assert_int_equal(context, 8192);
}

static void every_key_is_listed(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    assert_non_null(file);
    train_config_print_keys(file);
    fclose(file);
    assert_non_null(strstr(text, "data.selection "));
    assert_non_null(strstr(text, "none, digits, impact or tags; default none"));
    assert_non_null(strstr(text, "default as in training"));
    free(text);
}

static void values_are_printed_in_one_spelling(void **state)
{
    (void)state;
    struct train_config config;
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    assert_non_null(file);
    assert_int_equal(read(&config,
                          "model: {path: m, rope_base: 5e5, window: 8k}\ndata: {files: x}\n"
                          "output: {folder: out}\n"),
                     STATUS_OK);
    train_config_print_values(file, &config, "model.", "model.tuned model.initialise");
    train_config_print_values(file, &config, "positions.", "");
    train_config_print_values(file, &config, "mesh.", "mesh.sequence mesh.t");
    train_config_print_values(file, &config, "data.replay.", "data.replay.");
    fclose(file);
    assert_string_equal(text, "model.path = m\nmodel.shape = \nmodel.window = 8192\n"
                              "model.rope_base = 500000\npositions.setting = plain\n"
                              "positions.target = 0\npositions.right_points = true\n"
                              "mesh.data = 1\nmesh.tensor = 1\n");
    free(text);
}

static void examples_can_be_read(void **state)
{
    (void)state;
    struct train_config config;
    assert_int_equal(train_config_read(&config, "deploy/train.example.yaml"), STATUS_OK);
    assert_int_equal(train_config_sample_tokens(&config, 2048), 1024);
    assert_int_equal(train_config_read(&config, "deploy/recipe.example.yaml"), STATUS_OK);
    assert_int_equal(config.setting, TRAIN_SETTING_RECIPE);
    assert_true(config.replay.learning_rate == 5e-6);
    assert_int_equal(train_config_read(&config, "deploy/none.yaml"), STATUS_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_not_said_has_its_default),
        cmocka_unit_test(what_is_said_is_taken),
        cmocka_unit_test(what_is_wrong_is_named_with_its_line),
        cmocka_unit_test(a_stage_knows_its_files_and_its_base),
        cmocka_unit_test(every_key_is_listed),
        cmocka_unit_test(examples_can_be_read),
        cmocka_unit_test(values_are_printed_in_one_spelling),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
