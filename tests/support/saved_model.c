/* Writes models for tests that other programs read:
 *   saved_model OUT FORMAT DTYPE BASE CONTEXT MODEL [OTHER WEIGHT WEIGHT]
 *   saved_model OUT new CONFIG
 * FORMAT is folder or gguf, DTYPE F32, BF16 or F16; BASE and CONTEXT 0: those of MODEL. With OTHER,
 * the two are merged, and all else is OTHER's. new: a folder of random weights in the shape of a
 * config.json. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "proto/model/model_new.h"
#include "proto/model/model_save.h"
#include "tests/support/random.h"

static const char usage[] = "usage: saved_model OUT folder|gguf F32|BF16|F16 BASE CONTEXT MODEL "
                            "[OTHER WEIGHT WEIGHT] | saved_model OUT new CONFIG\n";

static enum status read_random(void *context, float *out, enum model_role role, int layer,
                               int64_t first, int64_t count)
{
    const struct model_role_shape shape = model_role_shape(context, role);
    struct random random = {.state = ((uint64_t)role * 100 + (uint64_t)layer) << 32};
    random.state += (uint64_t)(first * shape.columns) * RANDOM_STEP;
    for (int64_t i = 0; i < count * shape.columns; i++)
        out[i] = (shape.is_vector ? 1 : 0) + 0.1f * random_float(&random);
    return STATUS_OK;
}

static enum status write_new(const char *out, const char *config)
{
    struct model_spec spec;
    TRY(model_new_read_spec(&spec, config));
    const struct model_values values = {.read = read_random, .context = &spec};
    return model_new_write(out, config, &values);
}

static enum dtype dtype_of(const char *name)
{
    return strcmp(name, "F16") == 0 ? DTYPE_F16
                                    : (strcmp(name, "BF16") == 0 ? DTYPE_BF16 : DTYPE_F32);
}

static enum status write_from(int argc, char **argv)
{
    struct model *model = NULL;
    struct model *other = NULL;
    struct model_values_merge merge;
    struct model_values values;
    enum status status;
    TRY_ELSE(model_open(&model, argv[6]), close_models);
    values = model_values_of(model);
    if (argc == 10) {
        TRY_ELSE(model_open(&other, argv[7]), close_models);
        TRY_ELSE(model_values_check_merge(model, other), close_models);
        merge = (struct model_values_merge){model, other, atof(argv[8]), atof(argv[9])};
        values = model_values_of_merge(&merge);
    }
    const struct model_save save = {
        .source = other ? other : model,
        .values = &values,
        .format = strcmp(argv[2], "gguf") == 0 ? MODEL_SAVE_GGUF : MODEL_SAVE_FOLDER,
        .dtype = dtype_of(argv[3]),
        .rope_base = atof(argv[4]),
        .context_tokens = atoll(argv[5]),
    };
    status = model_save(&save, argv[1]);
close_models:
    model_close(other);
    model_close(model);
    return status;
}

int main(int argc, char **argv)
{
    const bool is_new = argc == 4 && strcmp(argv[2], "new") == 0;
    if (!is_new && argc != 7 && argc != 10) {
        fputs(usage, stderr);
        return 2;
    }
    const enum status status = is_new ? write_new(argv[1], argv[3]) : write_from(argc, argv);
    if (status != STATUS_OK)
        fprintf(stderr, "saved_model: %s\n", status_message());
    return status == STATUS_OK ? 0 : 1;
}
