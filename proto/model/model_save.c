/* Owns the writing of a whole model: what goes into its folder or file, and that it is refused
 * before it is begun where it cannot be written. */
#include "proto/model/model_save.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "kernels/dtype_encode.h"
#include "proto/model/model_save_place.h"
#include "proto/model/output_beside.h"
#include "proto/model/output_config.h"
#include "proto/model/output_file.h"
#include "proto/model/output_folder.h"
#include "proto/model/output_gguf.h"
#include "proto/model/output_gguf_keys.h"
#include "proto/model/output_json.h"
#include "proto/model/output_safetensors.h"
#include "proto/model/output_shards.h"
#include "proto/model/output_tokenizer.h"

enum { SHARD_NAME_BYTES = 64 };

/* Of a source in a folder: what says its tokenizer, and how it generates. */
static const char *const carried_names[] = {"generation_config.json",
                                            "tokenizer.json",
                                            "tokenizer_config.json",
                                            "chat_template.jinja",
                                            "special_tokens_map.json",
                                            "added_tokens.json",
                                            "vocab.json",
                                            "merges.txt",
                                            "tokenizer.model",
                                            "tekken.json"};

static const char *source_name(const struct model_save *save)
{
    return checkpoint_name(model_checkpoint(save->source));
}

static bool is_folder(const struct model_save *save)
{
    return checkpoint_directory(model_checkpoint(save->source)) != NULL;
}

static enum status check_numbers(const struct model_save *save)
{
    const bool is_plain =
        save->dtype == DTYPE_F32 || save->dtype == DTYPE_BF16 || save->dtype == DTYPE_F16;
    if (save->dtype != DTYPE_COUNT && !dtype_encode_knows(save->dtype))
        return fail(STATUS_INVALID_ARGUMENT,
                    "weights of type %s are read but not written; F32, F16, BF16, Q8_0, Q5_0, "
                    "Q5_1, Q4_0 and Q4_1 are",
                    dtype_name(save->dtype));
    if (save->format == MODEL_SAVE_FOLDER && save->dtype != DTYPE_COUNT && !is_plain)
        return fail(STATUS_INVALID_ARGUMENT,
                    "safetensors files are written in F32, BF16 or F16, not in %s; write a GGUF "
                    "file",
                    dtype_name(save->dtype));
    if (save->rope_base != 0 && !(save->rope_base > 1 && save->rope_base <= 1e12))
        return fail(STATUS_INVALID_ARGUMENT,
                    "a rope base of %g; more than 1, up to 1e12 is allowed", save->rope_base);
    if (save->rope_base != model_spec(save->source)->rope_base &&
        (double)(float)save->rope_base != save->rope_base)
        return fail(STATUS_INVALID_ARGUMENT,
                    "a rope base of %.17g is no float32 number, as which model files hold it; the "
                    "nearest one is %.9g",
                    save->rope_base, (double)(float)save->rope_base);
    if (save->context_tokens < 0 || save->context_tokens > MODEL_TOKENS_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "a context of %lld tokens; 1 .. %d are allowed",
                    (long long)save->context_tokens, MODEL_TOKENS_MAX);
    return STATUS_OK;
}

bool model_save_copies(const struct model_save *save)
{
    return !save->values && is_folder(save) == (save->format == MODEL_SAVE_FOLDER) &&
           save->rope_base == 0 && save->context_tokens == 0;
}

enum status model_save_check(const struct model_save *save, const char *path)
{
    TRY(check_numbers(save));
    if (save->format == MODEL_SAVE_FOLDER ||
        save->shard_bytes == 0) /* else parts are named later */
        TRY(model_save_place_check(save, path));
    if (model_save_copies(save))
        return STATUS_OK;
    if (spec_special_part(model_spec(save->source)))
        return fail(STATUS_UNIMPLEMENTED, "%s: a model with %s cannot be written%s",
                    source_name(save), spec_special_part(model_spec(save->source)),
                    save->values ? "" : " in the other format; keep its own");
    if (save->format == MODEL_SAVE_GGUF)
        return output_gguf_check(save);
    TRY(output_config_check(save));
    const struct vocab *vocab = model_vocab(save->source);
    return vocab && !is_folder(save) ? output_tokenizer_check(vocab, source_name(save)) : STATUS_OK;
}

/* Nothing where the source has no such file. What the loader reads was checked by it. */
static enum status carry_file(const struct output_folder *folder, const char *source,
                              const char *name)
{
    char from[OUTPUT_FOLDER_PATH_BYTES];
    char to[OUTPUT_FOLDER_PATH_BYTES];
    const int bytes = snprintf(from, sizeof from, "%s/%s", source, name);
    if (bytes >= (int)sizeof from || access(from, F_OK) != 0)
        return STATUS_OK;
    output_folder_file(to, folder, name);
    return output_file_copy(to, from);
}

static enum status write_tokenizer(const struct output_folder *folder,
                                   const struct model_save *save)
{
    if (!is_folder(save))
        return model_vocab(save->source) ? output_tokenizer_write(folder, model_vocab(save->source))
                                         : STATUS_OK;
    for (size_t i = 0; i < sizeof carried_names / sizeof carried_names[0]; i++)
        TRY(carry_file(folder, source_name(save), carried_names[i]));
    return STATUS_OK;
}

/* What goes into files, and how. */
struct writing {
    struct output_tensor *tensors;
    struct model_values own;
    struct output_tensors_args args; /* of all files */
    struct output_shards shards;
    uint64_t done;
};

static enum status begin_writing(struct writing *writing, const struct model_save *save)
{
    const bool is_gguf = save->format == MODEL_SAVE_GGUF;
    const struct model_spec *spec = model_spec(save->source);
    int count;
    *writing = (struct writing){.own = model_values_of(save->source)};
    TRY(output_tensors_list(&writing->tensors, &count, save));
    writing->args = (struct output_tensors_args){
        .spec = spec,
        .values = save->values ? save->values : &writing->own,
        .interleaves_qk = is_gguf && output_gguf_keys_architecture(spec)->interleaves_qk,
        .alignment = is_gguf ? OUTPUT_GGUF_ALIGNMENT : 1,
        .watch = save->watch,
        .done = &writing->done,
    };
    for (int i = 0; i < count; i++)
        writing->args.all += writing->tensors[i].bytes;
    const enum status status =
        output_shards_plan(&writing->shards, writing->tensors, count, save->shard_bytes);
    if (status != STATUS_OK)
        free(writing->tensors);
    return status;
}

static struct output_tensors_args args_of(const struct writing *writing, int shard)
{
    struct output_tensors_args args = writing->args;
    const int first = writing->shards.first[shard];
    args.tensors = writing->tensors + first;
    args.count = writing->shards.first[shard + 1] - first;
    return args;
}

static json_t *index_of(const struct writing *writing)
{
    json_t *map = json_object();
    int failed = !map;
    for (int shard = 0; shard < writing->shards.count; shard++) {
        char file[SHARD_NAME_BYTES];
        output_shards_name(file, sizeof file, shard, writing->shards.count);
        for (int i = writing->shards.first[shard]; i < writing->shards.first[shard + 1]; i++) {
            char name[OUTPUT_TENSOR_NAME_BYTES];
            output_tensor_name(name, &writing->tensors[i], MODEL_SAVE_FOLDER);
            failed |= json_object_set_new(map, name, json_string(file));
        }
    }
    if (!failed)
        return json_pack("{s:{s:I}, s:o}", "metadata", "total_size", (json_int_t)writing->args.all,
                         "weight_map", map);
    json_decref(map);
    return NULL;
}

static enum status write_shards(const struct output_folder *folder, const struct writing *writing)
{
    char path[OUTPUT_FOLDER_PATH_BYTES];
    for (int shard = 0; shard < writing->shards.count; shard++) {
        char name[SHARD_NAME_BYTES];
        const struct output_tensors_args args = args_of(writing, shard);
        output_shards_name(name, sizeof name, shard, writing->shards.count);
        output_folder_file(path, folder, name);
        TRY(output_safetensors_write(path, &args));
    }
    if (writing->shards.count == 1)
        return STATUS_OK;
    output_folder_file(path, folder, "model.safetensors.index.json");
    return output_json_write(path, index_of(writing));
}

static enum status fill_folder(struct output_folder *folder, const struct model_save *save,
                               const struct writing *writing)
{
    char path[OUTPUT_FOLDER_PATH_BYTES];
    output_folder_file(path, folder, "config.json");
    TRY(output_config_write(path, save));
    TRY(write_tokenizer(folder, save));
    TRY(write_shards(folder, writing));
    return output_folder_finish(folder, save->keeps_existing);
}

static enum status save_folder(const struct model_save *save, const char *path,
                               const struct writing *writing)
{
    struct output_folder folder;
    TRY(output_folder_begin(&folder, path));
    const enum status status = fill_folder(&folder, save, writing);
    if (status != STATUS_OK)
        output_folder_discard(&folder);
    return status;
}

/* Several files in a folder beside their place. */
struct parts {
    const struct model_save *save;
    const char *path;
    int count;
    char beside[OUTPUT_FOLDER_PATH_BYTES];
};

struct part_path {
    char place[OUTPUT_FOLDER_PATH_BYTES];
    char beside[OUTPUT_FOLDER_PATH_BYTES + SHARD_NAME_BYTES];
};

static enum status path_of_part(struct part_path *part, const struct parts *parts, int shard)
{
    TRY(output_shards_gguf_path(part->place, sizeof part->place, parts->path, shard, parts->count));
    snprintf(part->beside, sizeof part->beside, "%s/%05d.gguf", parts->beside, shard + 1);
    return STATUS_OK;
}

static enum status check_parts(const struct parts *parts)
{
    for (int shard = 0; shard < parts->count; shard++) {
        struct part_path part;
        TRY(path_of_part(&part, parts, shard));
        TRY(model_save_place_check(parts->save, part.place));
    }
    return STATUS_OK;
}

static enum status write_parts(const struct parts *parts, const struct writing *writing)
{
    for (int shard = 0; shard < parts->count; shard++) {
        struct part_path part;
        const struct output_tensors_args args = args_of(writing, shard);
        TRY(path_of_part(&part, parts, shard));
        TRY(output_gguf_write(part.beside, parts->save,
                              &(struct output_gguf_part){shard, parts->count,
                                                         writing->shards.first[parts->count],
                                                         &args}));
    }
    return STATUS_OK;
}

/* Of several, the old first one goes first: a set that is half old is never opened. */
static enum status remove_first(const struct parts *parts)
{
    struct part_path part;
    if (parts->save->keeps_existing || parts->count == 1)
        return STATUS_OK;
    TRY(path_of_part(&part, parts, 0));
    if (unlink(part.place) != 0 && errno != ENOENT)
        return fail(STATUS_IO, "remove %s: %s", part.place, strerror(errno));
    return output_file_sync_folder(parts->path);
}

/* Those that took nobody's place. */
static void take_back(const struct parts *parts, int from)
{
    for (int shard = from; parts->save->keeps_existing && shard < parts->count; shard++) {
        struct part_path part;
        if (path_of_part(&part, parts, shard) == STATUS_OK)
            (void)unlink(part.place);
    }
}

/* The first one last: who opens it finds all others. */
static enum status place_parts(const struct parts *parts)
{
    enum status status = remove_first(parts);
    for (int shard = parts->count - 1; shard >= 0 && status == STATUS_OK; shard--) {
        struct part_path part;
        status = path_of_part(&part, parts, shard);
        if (status == STATUS_OK)
            status = output_beside_put(part.beside, part.place, parts->save->keeps_existing);
        if (status != STATUS_OK)
            take_back(parts, shard + 1);
    }
    return status == STATUS_OK ? output_file_sync_folder(parts->path) : status;
}

/* What was not put in its place. */
static void remove_beside(const struct parts *parts)
{
    for (int shard = 0; shard < parts->count; shard++) {
        struct part_path part;
        if (path_of_part(&part, parts, shard) == STATUS_OK)
            (void)unlink(part.beside);
    }
    (void)rmdir(parts->beside);
}

static enum status save_gguf(const struct model_save *save, const char *path,
                             const struct writing *writing)
{
    struct parts parts = {.save = save, .path = path, .count = writing->shards.count};
    TRY(check_parts(&parts));
    TRY(output_beside_make(parts.beside, sizeof parts.beside, path, "part"));
    enum status status = write_parts(&parts, writing);
    if (status == STATUS_OK)
        status = place_parts(&parts);
    remove_beside(&parts);
    return status;
}

enum status model_save(const struct model_save *save, const char *path)
{
    struct writing *writing = calloc(1, sizeof *writing);
    enum status status;
    if (!writing)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to write %s", path);
    TRY_ELSE(model_save_check(save, path), free_writing);
    TRY_ELSE(begin_writing(writing, save), free_writing);
    status = save->format == MODEL_SAVE_GGUF ? save_gguf(save, path, writing)
                                             : save_folder(save, path, writing);
    if (status == STATUS_OK && save->files)
        *save->files = writing->shards.count;
    free(writing->tensors);
free_writing:
    free(writing);
    return status;
}
