/* The stages of a run that train, and which files each of them reads and writes: so that a stage
 * can be started by itself, by whoever has the configuration.
 *
 *   FOLDER/analyze/samples  FOLDER/analyze/scores
 *   FOLDER/extend/samples   FOLDER/extend/model[.gguf]   and what the trainer keeps there
 *   FOLDER/replay/samples   FOLDER/replay/model[.gguf]   likewise
 *   FOLDER/merge/model[.gguf]
 */
#pragma once

#include <stdint.h>

#include "proto/model/spec.h"
#include "proto/status.h"
#include "proto/train/train_config.h"

enum { TRAIN_STAGE_PATH_BYTES = TRAIN_CONFIG_TEXT_BYTES + 64 };

enum train_stage_name { TRAIN_STAGE_EXTEND, TRAIN_STAGE_REPLAY };

struct train_stage {
    enum train_stage_name name;
    char folder[TRAIN_STAGE_PATH_BYTES];  /* of the stage: checkpoints, losses */
    char samples[TRAIN_STAGE_PATH_BYTES]; /* sample_file.h */
    char model[TRAIN_STAGE_PATH_BYTES];   /* it goes on from; "": from scratch, of model.shape */
    char output_folder[TRAIN_STAGE_PATH_BYTES];   /* the trained model; "": not wanted */
    char output_gguf[TRAIN_STAGE_PATH_BYTES];     /* the same as GGUF; "": not wanted */
    const struct train_config_training *training; /* of the configuration */
};

/* "extend", "replay". */
const char *train_stage_word(enum train_stage_name name);

/* INVALID_ARGUMENT for a word that is none. */
MUST_CHECK enum status train_stage_named(enum train_stage_name *name, const char *word);

/* Borrows `config`. */
void train_stage_make(struct train_stage *stage, const struct train_config *config,
                      enum train_stage_name name);

/* A file of another part of the run: FOLDER/part/name. */
void train_stage_path(char path[TRAIN_STAGE_PATH_BYTES], const struct train_config *config,
                      const char *part, const char *name);

/* The window that a model was trained for: model.window, else what the model says. */
int64_t train_stage_window(const struct train_config *config, const struct model_spec *spec);

/* RoPE's base and the tokens of the window that this stage trains with and writes into its model,
 * given the facts of the model that it goes on from. Replay keeps what extend wrote. */
void train_stage_rope(double *base, int64_t *context_tokens, const struct train_stage *stage,
                      const struct train_config *config, const struct model_spec *spec);
