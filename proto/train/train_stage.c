/* Owns nothing: names of files, and what follows from a configuration and a model's facts. */
#include "proto/train/train_stage.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proto/model/rope_base.h"

static const char *const words[] = {"extend", "replay"};

const char *train_stage_word(enum train_stage_name name)
{
    return words[name];
}

enum status train_stage_named(enum train_stage_name *name, const char *word)
{
    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++)
        if (strcmp(words[i], word) == 0) {
            *name = (enum train_stage_name)i;
            return STATUS_OK;
        }
    return fail(STATUS_INVALID_ARGUMENT, "there is no stage \"%s\"; there are extend and replay",
                word);
}

void train_stage_path(char path[TRAIN_STAGE_PATH_BYTES], const struct train_config *config,
                      const char *part, const char *name)
{
    const int bytes = snprintf(path, TRAIN_STAGE_PATH_BYTES, "%s/%s%s%s", config->output.folder,
                               part, name[0] ? "/" : "", name);
    assert(bytes < TRAIN_STAGE_PATH_BYTES);
}

void train_stage_make(struct train_stage *stage, const struct train_config *config,
                      enum train_stage_name name)
{
    const char *word = words[name];
    *stage = (struct train_stage){
        .name = name,
        .training = name == TRAIN_STAGE_EXTEND ? &config->training : &config->replay,
    };
    train_stage_path(stage->folder, config, word, "");
    train_stage_path(stage->samples, config, word, "samples");
    if (config->output.format != TRAIN_FORMAT_GGUF)
        train_stage_path(stage->output_folder, config, word, "model");
    if (config->output.format != TRAIN_FORMAT_SAFETENSORS)
        train_stage_path(stage->output_gguf, config, word, "model.gguf");
    if (name == TRAIN_STAGE_REPLAY)
        train_stage_path(stage->model, config, "extend",
                         config->output.format == TRAIN_FORMAT_GGUF ? "model.gguf" : "model");
    else
        memcpy(stage->model, config->model.path, sizeof config->model.path);
}

int64_t train_stage_window(const struct train_config *config, const struct model_spec *spec)
{
    return config->model.window > 0 ? config->model.window : spec->trained_tokens;
}

void train_stage_rope(double *base, int64_t *context_tokens, const struct train_stage *stage,
                      const struct train_config *config, const struct model_spec *spec)
{
    const int64_t window = train_stage_window(config, spec);
    *base = spec->rope_base;
    *context_tokens = spec->trained_tokens;
    if (stage->name != TRAIN_STAGE_EXTEND)
        return;
    if (config->target > spec->trained_tokens)
        *context_tokens = config->target;
    if (config->model.rope_base == TRAIN_ROPE_GIVEN)
        *base = (double)(float)config->model.rope_base_given; /* which model files hold */
    if (config->model.rope_base == TRAIN_ROPE_AUTO && config->target > window)
        *base = rope_base_stretched(spec->rope_base, spec->head_dim, window,
                                    (double)config->target / (double)window, config->target);
}
