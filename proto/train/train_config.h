/* A training run as its user writes it down: one YAML file of the sections model, data, positions,
 * training, mesh and output, which `longhaul` and `longhaul-trainer` both read. docs/training.md
 * tells every key; `longhaul recipe keys` prints them. Paths are as seen from where the programs
 * run.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include "proto/status.h"

enum { TRAIN_CONFIG_TEXT_BYTES = 1024 };

enum train_rope_base { TRAIN_ROPE_KEEP, TRAIN_ROPE_AUTO, TRAIN_ROPE_GIVEN };
enum train_selection {
    TRAIN_SELECTION_NONE,
    TRAIN_SELECTION_DIGITS,
    TRAIN_SELECTION_IMPACT,
    TRAIN_SELECTION_TAGS
};
enum train_form { TRAIN_FORM_PLAIN, TRAIN_FORM_CHAT };
enum train_loss { TRAIN_LOSS_ALL, TRAIN_LOSS_RESPONSE };
enum train_setting {
    TRAIN_SETTING_PLAIN,
    TRAIN_SETTING_RECIPE,
    TRAIN_SETTING_FULL,
    TRAIN_SETTING_RPES,
    TRAIN_SETTING_POSE
};
enum train_decay { TRAIN_DECAY_CONSTANT, TRAIN_DECAY_LINEAR, TRAIN_DECAY_COSINE };
enum train_compute { TRAIN_COMPUTE_FLOAT32, TRAIN_COMPUTE_BF16 };
enum train_device { TRAIN_DEVICE_CPU, TRAIN_DEVICE_CUDA };
enum train_recompute { TRAIN_RECOMPUTE_LAYER, TRAIN_RECOMPUTE_NONE };
enum train_format { TRAIN_FORMAT_SAFETENSORS, TRAIN_FORMAT_GGUF, TRAIN_FORMAT_BOTH };
enum train_dtype { TRAIN_DTYPE_FLOAT32, TRAIN_DTYPE_BFLOAT16, TRAIN_DTYPE_FLOAT16 };

struct train_config_model {
    char path[TRAIN_CONFIG_TEXT_BYTES];  /* the model to go on from; "": none, from scratch */
    char shape[TRAIN_CONFIG_TEXT_BYTES]; /* a config.json, where there is no path */
    char tuned[TRAIN_CONFIG_TEXT_BYTES]; /* H' of the token impact analysis */
    int64_t initialise;                  /* seed of weights from scratch */
    int64_t window;                      /* it was trained for; 0: what the model says */
    enum train_rope_base rope_base;
    double rope_base_given; /* of TRAIN_ROPE_GIVEN */
};

struct train_config_data {
    char files[TRAIN_CONFIG_TEXT_BYTES];      /* paths and patterns, apart by blanks */
    char field[64];                           /* of a JSON line: its text */
    int64_t sample_tokens;                    /* 0: as train_config_sample_tokens has it */
    int64_t samples;                          /* at most; 0: what there is */
    int64_t seed;                             /* of order, selection and positions */
    char delimiters[TRAIN_CONFIG_TEXT_BYTES]; /* "auto", or ids apart by blanks */
    enum train_selection selection;
    double ratio;                            /* of digits */
    char scores[TRAIN_CONFIG_TEXT_BYTES];    /* what analyze wrote; "": where it writes */
    double impact_top, impact_share;         /* of impact: docs/training.md */
    char tags[TRAIN_CONFIG_TEXT_BYTES];      /* a tagger's output */
    char tag_types[TRAIN_CONFIG_TEXT_BYTES]; /* those that keep a sentence, apart by blanks */
    int64_t analysis_samples;                /* of analyze */
};

struct train_config_replay_data {
    char files[TRAIN_CONFIG_TEXT_BYTES]; /* JSON lines; "": no replay */
    char prompt[64], response[64];       /* their fields */
    enum train_form form;
    enum train_loss loss;
    int64_t sample_tokens; /* 0: the window */
    int64_t samples;       /* at most; 0: what there is */
};

struct train_config_training {
    char method[TRAIN_CONFIG_TEXT_BYTES]; /* as proto/plan/method.h spells it */
    int64_t steps;                        /* 0: once through the samples */
    int64_t batch;                        /* samples a step, of all ranks */
    int64_t micro_batch;                  /* of one rank at once */
    double learning_rate;
    int64_t warmup_steps;
    enum train_decay decay;
    double final_rate; /* at the last step, as a part of learning_rate; not of constant */
    double beta1, beta2, epsilon, weight_decay;
    double clip; /* of the norm of all gradients; 0: none */
    enum train_compute compute;
    enum train_device device;
    enum train_recompute recompute;
    int64_t seed;             /* of the order of later epochs */
    int64_t checkpoint_steps; /* between checkpoints; 0: at the end only */
    int64_t keep;             /* checkpoints, at least 2 */
    int64_t threads;          /* of a rank; 0: its cores */
    int64_t retries;          /* starts again from the last checkpoint after lost ranks */
};

struct train_config_mesh {
    int64_t data, sequence, tensor; /* ranks are their product */
};

struct train_config_output {
    char folder[TRAIN_CONFIG_TEXT_BYTES]; /* everything that the run writes */
    enum train_format format;
    enum train_dtype dtype;
    double merge_original, merge_trained; /* weights of a merge */
};

struct train_config {
    struct train_config_model model;
    struct train_config_data data;
    struct train_config_replay_data replay_data;
    enum train_setting setting;
    int64_t target;    /* tokens of the window to be; 0: the model's */
    bool right_points; /* of TRAIN_SETTING_RECIPE */
    struct train_config_training training;
    struct train_config_training replay; /* `training`, but for what training.replay says */
    struct train_config_mesh mesh;
    struct train_config_output output;
};

/* INVALID_ARGUMENT, with file, line and what is wrong: unknown keys (with the nearest one), values
 * that cannot be, keys that are missing or contradict each other. */
MUST_CHECK enum status train_config_read(struct train_config *config, const char *path);

/* For tests: the same over bytes in memory; `name` stands for the path. */
MUST_CHECK enum status train_config_read_bytes(struct train_config *config, const char *name,
                                               const void *data, size_t bytes);

/* Tokens of a sample: as the file says, else the target where the setting trains at full length,
 * three tenths of it where it does not, and the window where positions are plain. `window` is the
 * model's. */
int64_t train_config_sample_tokens(const struct train_config *config, int64_t window);

/* Every key with its default, its range or words, and a line of help; for docs/training.md too. */
void train_config_print_keys(FILE *file);

/* The keys that begin with `prefix` as "key = value" lines, in one spelling for one meaning, but
 * for those of `without`, apart by blanks, of which one that ends in a dot stands for all that
 * begin so: what a stage was made of. */
void train_config_print_values(FILE *file, const struct train_config *config, const char *prefix,
                               const char *without);
