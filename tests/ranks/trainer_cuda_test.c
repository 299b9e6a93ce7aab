/* The trainer on GPUs, over devices that stand in for them: three steps of a tiny model from
 * scratch are as near to float32 as the CPU's bf16 is (pass_cuda_test.c says how near), on one rank
 * and on two of either axis; and a run that was ended and goes on has the bits of one that was not.
 */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/log.h"
#include "proto/train/sample_file.h"
#include "tests/support/random.h"
#include "tests/support/standin.h"
#include "tests/support/unit.h"
#include "worker/rank_threads.h"
#include "worker/trainer/trainer.h"
#include "worker/engine/transport/transport_loopback.h"

enum { VOCAB = 264, SAMPLES = 8, TOKENS = 210, STEPS = 3, SEED = 20261201, PATH_BYTES = 256 };

#define BUDGET 4.0

static const char shape[] =
    "{\"architectures\": [\"LlamaForCausalLM\"], \"model_type\": \"llama\", \"hidden_size\": 32,"
    " \"intermediate_size\": 48, \"num_hidden_layers\": 2, \"num_attention_heads\": 2,"
    " \"num_key_value_heads\": 1, \"head_dim\": 16, \"vocab_size\": 264,"
    " \"max_position_embeddings\": 256, \"rms_norm_eps\": 1e-5, \"rope_theta\": 10000.0,"
    " \"hidden_act\": \"silu\", \"tie_word_embeddings\": true, \"torch_dtype\": \"float32\"}";

static char folder[] = "/tmp/trainer-cuda-XXXXXX";

static const char *path_of(char path[PATH_BYTES], const char *run, const char *name)
{
    snprintf(path, PATH_BYTES, "%s/%s%s", folder, run, name);
    return path;
}

static void write_text(const char *path, const char *text)
{
    FILE *file = fopen(path, "w");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static enum status write_samples(const char *path)
{
    static int32_t ids[TOKENS], positions[TOKENS];
    static uint8_t counts[TOKENS];
    struct record_writer writer;
    struct random random = {SEED};
    TRY(sample_file_create(&writer, path, VOCAB));
    for (int s = 0; s < SAMPLES; s++) {
        for (int t = 0; t < TOKENS; t++) {
            ids[t] = (int32_t)random_between(&random, 0, VOCAB);
            positions[t] = t;
            counts[t] = t > 0;
        }
        TRY(sample_file_add(&writer, &(struct sample){TOKENS - s, ids, positions, counts}));
    }
    return record_writer_close(&writer);
}

struct wanted {
    const char *run, *compute, *device;
    int data, sequence;
    int64_t last_step;
};

static enum status find_cuda(const struct cuda_runtime **runtime,
                             const struct kernels_cuda **kernels)
{
    *runtime = standin_runtime();
    *kernels = standin_kernels();
    return STATUS_OK;
}

static enum status find_nccl(const struct nccl_api **api)
{
    *api = standin_nccl();
    return STATUS_OK;
}

static enum status play_rank(struct transport *transport, void *context)
{
    return trainer_play(transport, context);
}

static enum status train(const struct wanted *wanted)
{
    static struct train_config config;
    const int ranks = wanted->data * wanted->sequence;
    struct transport *transports[RANK_THREADS_MAX];
    char path[PATH_BYTES], text[1024], to[PATH_BYTES];
    struct trainer_options options = {.config = &config,
                                      .last_step = wanted->last_step,
                                      .find_cuda = find_cuda,
                                      .find_nccl = find_nccl};
    snprintf(text, sizeof text,
             "model: {shape: %s/shape.json, initialise: 1}\n"
             "data: {files: none}\n"
             "training: {batch: 2, steps: %d, learning_rate: 1e-3, checkpoint_steps: 1, threads: 1,"
             " warmup_steps: 1, compute: %s, device: %s, method: 'string:shift=80,local=16'}\n"
             "mesh: {data: %d, sequence: %d}\n"
             "output: {folder: %s/%s, dtype: float32}\n",
             folder, STEPS, wanted->compute, wanted->device, wanted->data, wanted->sequence, folder,
             wanted->run);
    write_text(path_of(path, wanted->run, ".yaml"), text);
    mkdir(path_of(to, wanted->run, ""), 0700);
    mkdir(path_of(to, wanted->run, "/extend"), 0700);
    if (access(path_of(to, wanted->run, "/extend/samples"), F_OK) != 0)
        TRY(write_samples(to));
    TRY(train_config_read(&config, path));
    TRY(train_stage_named(&options.stage, "extend"));
    TRY(transport_loopback_create_group(transports, ranks, NULL));
    return rank_threads_run(transports, ranks, play_rank, &options);
}

/* Of the last step; the number of floats in *count. */
static float *weights_of(const char *run, size_t *count)
{
    char path[PATH_BYTES];
    FILE *file = fopen(path_of(path, run, "/extend/step-000000003/weights"), "rb");
    assert_non_null(file);
    assert_int_equal(fseek(file, 0, SEEK_END), 0);
    *count = (size_t)ftell(file) / sizeof(float);
    rewind(file);
    float *weights = malloc(*count * sizeof *weights);
    assert_non_null(weights);
    assert_int_equal(fread(weights, sizeof *weights, *count, file), *count);
    assert_int_equal(fclose(file), 0);
    return weights;
}

static double distance(const char *run, const char *other)
{
    size_t count, other_count;
    float *a = weights_of(run, &count), *b = weights_of(other, &other_count);
    double squares = 0;
    assert_int_equal(count, other_count);
    for (size_t i = 0; i < count; i++)
        squares += ((double)a[i] - (double)b[i]) * ((double)a[i] - (double)b[i]);
    free(a);
    free(b);
    return sqrt(squares);
}

static void expect_trains(const struct wanted *wanted)
{
    assert_int_equal(train(wanted), STATUS_OK);
}

static void three_steps_are_as_near_as_bf16_on_the_cpu(void **unused)
{
    (void)unused;
    static const struct wanted gpus[] = {
        {"alone", "bf16", "cuda", 1, 1, 0},
        {"data", "bf16", "cuda", 2, 1, 0},
        {"sequence", "bf16", "cuda", 1, 2, 0},
    };
    expect_trains(&(struct wanted){"exact", "float32", "cpu", 1, 1, 0});
    expect_trains(&(struct wanted){"bf16", "bf16", "cpu", 1, 1, 0});
    const double measure = distance("bf16", "exact");
    for (size_t g = 0; g < sizeof gpus / sizeof gpus[0]; g++) {
        expect_trains(&gpus[g]);
        const double apart = distance(gpus[g].run, "exact");
        printf("%s: %.3g from float32, the CPU's bf16 %.3g\n", gpus[g].run, apart, measure);
        assert_true(apart > 0 && apart <= BUDGET * measure);
    }
}

static void a_run_in_pieces_has_the_bits_of_one_in_one(void **unused)
{
    (void)unused;
    expect_trains(&(struct wanted){"whole", "bf16", "cuda", 2, 1, 0});
    expect_trains(&(struct wanted){"pieces", "bf16", "cuda", 2, 1, 2});
    expect_trains(&(struct wanted){"pieces", "bf16", "cuda", 2, 1, 0});
    assert_true(distance("whole", "pieces") == 0);
}

static void float32_is_refused_with_what_to_say(void **unused)
{
    (void)unused;
    assert_int_equal(train(&(struct wanted){"refused", "float32", "cuda", 1, 1, 0}),
                     STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "training.compute: bf16"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(three_steps_are_as_near_as_bf16_on_the_cpu),
        cmocka_unit_test(a_run_in_pieces_has_the_bits_of_one_in_one),
        cmocka_unit_test(float32_is_refused_with_what_to_say),
    };
    char path[PATH_BYTES], command[PATH_BYTES];
    printf("seed %d\n", SEED);
    standin_seed(SEED);
    log_configure(LOG_WARN, -1);
    if (!mkdtemp(folder))
        return 1;
    write_text(path_of(path, "shape.json", ""), shape);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    snprintf(command, sizeof command, "rm -r %s", folder);
    return system(command) == 0 ? failed : 1;
}
