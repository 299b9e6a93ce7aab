/* Owns a SentencePiece model together with what the files beside it add. Promises that what they
 * leave out is as the model says it. */
#include "proto/model/tokenizer_model.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/model/json_place.h"
#include "proto/model/sentencepiece.h"
#include "proto/model/spec.h"
#include "proto/model/tokenizer_added.h"
#include "proto/model/tokenizer_beside.h"

enum { CONFIG_BYTES_MAX = 16 << 20 };

/* Rows that no file names have no text, so that none is what an empty text names. */
static int32_t find_token(const void *context, const char *text)
{
    const struct vocab_parts *parts = context;
    for (int32_t id = 0; text[0] && id < parts->count; id++)
        if (text_view_is((struct text_view){parts->tokens[id].text, parts->tokens[id].bytes}, text))
            return id;
    return -1;
}

/* The number in a key of added_tokens_decoder. */
static enum status read_id(int64_t *id, const struct json_place *place, const char *key)
{
    char *end;
    *id = strtoll(key, &end, 10);
    if (end == key || *end || *id < 0 || *id >= MODEL_VOCAB_MAX)
        return json_place_fail(place, key, STATUS_DATA_LOSS, "added-token",
                               "is no id; 0 .. %d are allowed", MODEL_VOCAB_MAX - 1);
    return STATUS_OK;
}

/* What added_tokens_decoder holds: `at_least` grows to one more than its largest id. */
static enum status count_added(int32_t *at_least, const struct json_place *added)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)added->json, key, value)
    {
        int64_t id;
        TRY(read_id(&id, added, key));
        if (id >= *at_least)
            *at_least = (int32_t)id + 1;
    }
    return STATUS_OK;
}

/* Of these tokens, "normalized" is about what SentencePiece does not do. */
static enum status take_added(struct vocab_parts *parts, const struct json_place *added)
{
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)added->json, key, value)
    {
        struct json_place entry;
        int64_t id;
        TRY(read_id(&id, added, key));
        TRY(json_place_object(added, &entry, key));
        if (id >= parts->count)
            return json_place_fail(added, key, STATUS_DATA_LOSS, "added-token",
                                   "the model has %d rows", parts->count);
        TRY(tokenizer_added_read(parts, &entry, (int32_t)id));
        parts->tokens[id].match &= ~(unsigned)(VOCAB_IN_STEPPED | VOCAB_STEPPED);
    }
    return STATUS_OK;
}

static enum status read_beside(struct vocab_parts *parts, const struct tokenizer_files *files)
{
    const struct vocab_special special = parts->special;
    const struct tokenizer_pipeline pipeline = {.adds_bos = special.bos >= 0,
                                                .bos_id = special.bos};
    TRY(tokenizer_beside_read(parts, files,
                              &(struct tokenizer_beside_args){&pipeline, find_token, parts}));
    if (parts->special.padding < 0)
        parts->special.padding = special.padding;
    if (parts->special.eos >= 0 || special.eos < 0)
        return STATUS_OK;
    parts->special.eos = special.eos;
    (void)vocab_parts_add_end(parts, special.eos); /* no file named one: there is room */
    return STATUS_OK;
}

static enum status read_all(struct vocab_parts *parts, const struct tokenizer_files *files,
                            int32_t count, const json_t *config)
{
    const struct tokenizer_file *model = &files->tokenizer;
    const struct json_place root = json_place_root(config, files->tokenizer_config.path);
    struct json_place added = {0};
    int32_t at_least = 0;
    if (config && json_place_get(&root, "added_tokens_decoder")) {
        TRY(json_place_object(&root, &added, "added_tokens_decoder"));
        TRY(count_added(&at_least, &added));
    }
    TRY(sentencepiece_read(parts, model->data, model->bytes, model->path, count, at_least));
    if (added.json)
        TRY(take_added(parts, &added));
    return read_beside(parts, files);
}

enum status tokenizer_model_read(struct vocab **vocab, const struct tokenizer_files *files,
                                 int32_t count)
{
    struct vocab_parts parts;
    json_t *config = NULL;
    const struct tokenizer_file *file = &files->tokenizer_config;
    enum status status = STATUS_OK;
    vocab_parts_init(&parts);
    /* What is kept of tokenizer_config.json is never longer than its spelling there: its added
     * tokens, and its template. */
    parts.texts = malloc(file->bytes + 1);
    if (!parts.texts)
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a vocabulary");
    if (status == STATUS_OK && file->path)
        status = json_place_parse(&config, file->data, file->bytes, CONFIG_BYTES_MAX, file->path);
    if (status == STATUS_OK)
        status = read_all(&parts, files, count, config);
    if (status == STATUS_OK)
        status = vocab_create(vocab, &parts);
    vocab_parts_deinit(&parts);
    json_decref(config);
    return status;
}
