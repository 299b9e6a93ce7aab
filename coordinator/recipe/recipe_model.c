/* Owns the model's files while samples are made. */
#include "coordinator/recipe/recipe_model.h"

#include <xxhash.h>

#include "proto/model/byte_vocab.h"
#include "proto/model/model_new.h"

/* Each token with its length, by one digest that takes the one before it as its seed. */
static uint64_t digest_vocabulary(const struct tokenizer *tokenizer)
{
    uint64_t digest = 0;
    for (int32_t id = 0; id < tokenizer_count(tokenizer); id++) {
        size_t bytes;
        const char *text = tokenizer_token(tokenizer, id, &bytes);
        digest = XXH3_64bits_withSeed(text, bytes, digest + bytes);
    }
    return digest;
}

static enum status open_all(struct recipe_model *model, const struct train_config *config)
{
    if (config->model.path[0]) {
        TRY(model_open(&model->model, config->model.path));
        model->spec = *model_spec(model->model);
        model->vocab = model_vocab(model->model);
    } else {
        TRY(model_new_read_spec(&model->spec, config->model.shape));
        TRY(byte_vocab_create(&model->bytes, model->spec.vocab));
        model->vocab = model->bytes;
    }
    if (!model->vocab)
        return fail(STATUS_UNIMPLEMENTED, "%s has no tokenizer: text cannot be made its tokens",
                    config->model.path);
    model->end = vocab_special(model->vocab).eos;
    TRY(tokenizer_create(&model->tokenizer, model->vocab));
    model->vocabulary = digest_vocabulary(model->tokenizer);
    return STATUS_OK;
}

enum status recipe_model_open(struct recipe_model *model, const struct train_config *config)
{
    struct recipe_model opened = {.end = -1};
    const enum status status = open_all(&opened, config);
    if (status == STATUS_OK)
        *model = opened;
    else
        recipe_model_close(&opened);
    return status;
}

void recipe_model_close(struct recipe_model *model)
{
    tokenizer_destroy(model->tokenizer);
    vocab_destroy(model->bytes);
    model_close(model->model);
    *model = (struct recipe_model){.end = -1};
}
