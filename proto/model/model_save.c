/* Owns the writing of a whole model: what goes into its folder or file, and that it is refused
 * before it is begun where it cannot be written. */
#include "proto/model/model_save.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/model/mapping.h"
#include "proto/model/output_config.h"
#include "proto/model/output_file.h"
#include "proto/model/output_folder.h"
#include "proto/model/output_gguf.h"
#include "proto/model/output_safetensors.h"
#include "proto/model/output_tokenizer.h"

/* Of a source in a folder: what says its tokenizer, and how it generates. */
static const char *const carried_names[] = {"generation_config.json",
                                            "tokenizer.json",
                                            "tokenizer_config.json",
                                            "chat_template.jinja",
                                            "special_tokens_map.json",
                                            "added_tokens.json",
                                            "vocab.json",
                                            "merges.txt"};

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
    if (save->dtype != DTYPE_F32 && save->dtype != DTYPE_BF16 && save->dtype != DTYPE_F16)
        return fail(STATUS_INVALID_ARGUMENT,
                    "a model is written in float32, bfloat16 or float16, not in %s",
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

static enum status check_place(const struct model_save *save, const char *path)
{
    struct stat source;
    struct stat place;
    if (stat(source_name(save), &source) == 0 && stat(path, &place) == 0 &&
        source.st_dev == place.st_dev && source.st_ino == place.st_ino)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s is the model that the new one is made of; name another place", path);
    if (save->format == MODEL_SAVE_FOLDER)
        return output_folder_check(path);
    if (stat(path, &place) == 0 && !S_ISREG(place.st_mode))
        return fail(STATUS_ALREADY_EXISTS, "%s is no file; name a file for the model", path);
    return STATUS_OK;
}

enum status model_save_check(const struct model_save *save, const char *path)
{
    TRY(check_numbers(save));
    TRY(check_place(save, path));
    if (spec_special_part(model_spec(save->source)))
        return fail(STATUS_UNIMPLEMENTED, "%s: a model with %s cannot be written",
                    source_name(save), spec_special_part(model_spec(save->source)));
    if (save->format == MODEL_SAVE_GGUF)
        return output_gguf_check(save);
    TRY(output_config_check(save));
    const struct vocab *vocab = model_vocab(save->source);
    return vocab && !is_folder(save) ? output_tokenizer_check(vocab, source_name(save)) : STATUS_OK;
}

/* Nothing where the source has no such file. */
static enum status carry_file(const struct output_folder *folder, const char *source,
                              const char *name)
{
    char from[OUTPUT_FOLDER_PATH_BYTES];
    char to[OUTPUT_FOLDER_PATH_BYTES];
    struct mapping mapping;
    struct output_file file;
    enum status status;
    const int bytes = snprintf(from, sizeof from, "%s/%s", source, name);
    if (bytes >= (int)sizeof from || access(from, F_OK) != 0)
        return STATUS_OK;
    output_folder_file(to, folder, name);
    TRY(mapping_open(&mapping, from));
    TRY_ELSE(output_file_open(&file, to), close_mapping);
    TRY_ELSE(output_file_write(&file, mapping.data, mapping.bytes), discard_file);
    status = output_file_close(&file);
    goto close_mapping;
discard_file:
    output_file_discard(&file);
close_mapping:
    mapping_close(&mapping);
    return status;
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

static enum status fill_folder(struct output_folder *folder, const struct model_save *save)
{
    char path[OUTPUT_FOLDER_PATH_BYTES];
    output_folder_file(path, folder, "config.json");
    TRY(output_config_write(path, save));
    TRY(write_tokenizer(folder, save));
    output_folder_file(path, folder, "model.safetensors");
    TRY(output_safetensors_write(path, model_spec(save->source), save->values, save->dtype));
    return output_folder_finish(folder);
}

static enum status save_folder(const struct model_save *save, const char *path)
{
    struct output_folder folder;
    TRY(output_folder_begin(&folder, path));
    const enum status status = fill_folder(&folder, save);
    if (status != STATUS_OK)
        output_folder_discard(&folder);
    return status;
}

static enum status save_gguf(const struct model_save *save, const char *path)
{
    char part[OUTPUT_FOLDER_PATH_BYTES];
    if (snprintf(part, sizeof part, "%s.part", path) >= (int)sizeof part)
        return fail(STATUS_INVALID_ARGUMENT, "the path of the file for a model is too long");
    TRY(output_gguf_write(part, save));
    if (rename(part, path) != 0) {
        const enum status status = fail(STATUS_IO, "rename %s: %s", part, strerror(errno));
        (void)unlink(part);
        return status;
    }
    return output_file_sync_folder(path);
}

enum status model_save(const struct model_save *save, const char *path)
{
    TRY(model_save_check(save, path));
    return save->format == MODEL_SAVE_GGUF ? save_gguf(save, path) : save_folder(save, path);
}
