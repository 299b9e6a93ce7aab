/* Owns the parsing of the files beside a tokenizer's own. Promises that what is kept of them does
 * not need their JSON any more. */
#include "proto/model/tokenizer_beside.h"

#include "proto/model/cursor.h"

enum { CONFIG_BYTES_MAX = 16 << 20 };

/* NULL where the file is absent. */
static enum status parse(json_t **root, struct json_place *place, const struct tokenizer_file *file)
{
    if (!file->path)
        return STATUS_OK;
    TRY(json_place_parse(root, file->data, file->bytes, CONFIG_BYTES_MAX, file->path));
    *place = json_place_root(*root, file->path);
    return STATUS_OK;
}

enum status tokenizer_beside_read(struct vocab_parts *parts, const struct tokenizer_files *files,
                                  const struct tokenizer_beside_args *args)
{
    const struct tokenizer_file *const sources[] = {&files->tokenizer_config,
                                                    &files->generation_config, &files->config};
    json_t *roots[3] = {NULL};
    struct json_place places[3];
    enum status status;
    const struct tokenizer_file *jinja = &files->chat_template;
    if (jinja->path && !cursor_is_utf8(jinja->data, jinja->bytes))
        return fail(STATUS_DATA_LOSS, "%s: the chat template is not UTF-8 [utf8]", jinja->path);
    if (jinja->path)
        parts->chat_template = (struct text_view){jinja->data, jinja->bytes};
    for (int i = 0; i < 3; i++)
        TRY_ELSE(parse(&roots[i], &places[i], sources[i]), free_roots);
    const struct tokenizer_special_args special = {
        .pipeline = args->pipeline,
        .tokenizer_config = roots[0] ? &places[0] : NULL,
        .generation_config = roots[1] ? &places[1] : NULL,
        .config = roots[2] ? &places[2] : NULL,
        .find = args->find,
        .context = args->context,
    };
    TRY_ELSE(tokenizer_special_read(parts, &special), free_roots);
    if (!jinja->path)
        parts->chat_template.text = vocab_parts_keep(parts, parts->chat_template);
free_roots:
    for (int i = 0; i < 3; i++)
        json_decref(roots[i]);
    return status;
}
