/* Owns the choice among what several files say of the special tokens. Promises ids inside the
 * vocabulary, and that every token which one of the files takes for an end is one. */
#include "proto/model/tokenizer_special.h"

/* A token by name: a string, or an object whose "content" it is. */
static enum status read_named(int32_t *id, const struct tokenizer_special_args *args,
                              const char *key, bool must_exist)
{
    const struct json_place *config = args->tokenizer_config;
    const json_t *value = config ? json_place_get(config, key) : NULL;
    *id = -1;
    if (!value)
        return STATUS_OK;
    const json_t *text = json_is_object(value) ? json_object_get(value, "content") : value;
    if (!json_is_string(text))
        return json_place_fail(config, key, STATUS_DATA_LOSS, "value-type",
                               "must be a string, or an object with a string in content");
    *id = args->find(args->context, json_string_value(text));
    if (*id < 0 && must_exist)
        return json_place_fail(config, key, STATUS_DATA_LOSS, "special-token",
                               "names %.64s, which is not in the vocabulary",
                               json_string_value(text));
    return STATUS_OK;
}

/* A token by number, or several: each ends an answer. */
static enum status add_ends(struct vocab_parts *parts, const struct json_place *config)
{
    static const char key[] = "eos_token_id";
    const json_t *value = config ? json_place_get(config, key) : NULL;
    size_t count = !value ? 0 : json_is_array(value) ? json_array_size(value) : 1;
    for (size_t i = 0; i < count; i++) {
        const json_t *id = json_is_array(value) ? json_array_get(value, i) : value;
        int64_t end;
        if (!json_place_whole(id, &end) || end < 0 || end >= parts->count)
            return json_place_fail(config, key, STATUS_DATA_LOSS, "special-token",
                                   "must be one or several of 0 .. %d", parts->count - 1);
        if (!vocab_parts_add_end(parts, (int32_t)end))
            return json_place_fail(config, key, STATUS_UNIMPLEMENTED, "special-token",
                                   "more than %d tokens that end an answer", VOCAB_ENDS_MAX);
    }
    return STATUS_OK;
}

static enum status read_bos(struct vocab_parts *parts, const struct tokenizer_special_args *args)
{
    static const char key[] = "bos_token_id";
    const struct tokenizer_pipeline *pipeline = args->pipeline;
    int32_t *bos = &parts->special.bos;
    int64_t id;
    bool adds_bos = pipeline->adds_bos;
    TRY(read_named(bos, args, "bos_token", true));
    if (*bos < 0 && args->config && json_place_get(args->config, key)) {
        TRY(json_place_integer(args->config, &id, key, 0, parts->count - 1));
        *bos = (int32_t)id;
    }
    if (pipeline->adds_bos)
        *bos = (int32_t)pipeline->bos_id;
    if (args->tokenizer_config)
        TRY(json_place_bool_or(args->tokenizer_config, &adds_bos, "add_bos_token", adds_bos));
    parts->add_bos = adds_bos ? VOCAB_FLAG_ON : VOCAB_FLAG_OFF;
    parts->add_eos = pipeline->adds_eos ? VOCAB_FLAG_ON : VOCAB_FLAG_OFF;
    return STATUS_OK;
}

/* A text, or a list of {name, template}, of which "default" is meant. */
static enum status read_chat_template(struct text_view *template, const struct json_place *config)
{
    static const char key[] = "chat_template";
    const json_t *value = json_place_get(config, key);
    size_t index;
    json_t *entry;
    if (!value)
        return STATUS_OK;
    if (json_is_string(value)) {
        *template = json_place_view(value);
        return STATUS_OK;
    }
    if (!json_is_array(value))
        return json_place_fail(config, key, STATUS_DATA_LOSS, "value-type",
                               "must be a string or a list");
    json_array_foreach(value, index, entry)
    {
        const json_t *name = json_object_get(entry, "name");
        const json_t *text = json_object_get(entry, "template");
        if (json_is_string(name) && json_is_string(text) &&
            text_view_is(json_place_view(name), "default"))
            *template = json_place_view(text);
    }
    return STATUS_OK;
}

enum status tokenizer_special_read(struct vocab_parts *parts,
                                   const struct tokenizer_special_args *args)
{
    struct vocab_special *special = &parts->special;
    TRY(read_bos(parts, args));
    TRY(read_named(&special->eos, args, "eos_token", true));
    TRY(read_named(&special->padding, args, "pad_token", false));
    (void)vocab_parts_add_end(parts, special->eos); /* the first one has room */
    TRY(add_ends(parts, args->config));
    TRY(add_ends(parts, args->generation_config));
    if (special->eos < 0 && special->end_count > 0)
        special->eos = special->ends[0];
    if (args->tokenizer_config && parts->chat_template.bytes == 0)
        return read_chat_template(&parts->chat_template, args->tokenizer_config);
    return STATUS_OK;
}
