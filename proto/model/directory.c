/* Owns a model's directory: its mapped files, its parsed config.json and its safetensors files.
 * Promises that no file outside the directory is opened, that the files come in one fixed order,
 * and that every tensor lies where the index says. */
#include "proto/model/directory.h"

#include <assert.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/log.h"
#include "proto/model/json_place.h"
#include "proto/model/mapping.h"
#include "proto/model/safetensors.h"
#include "proto/model/shard_index.h"
#include "proto/model/spec_config.h"
#include "proto/model/tekken.h"
#include "proto/model/tokenizer_json.h"
#include "proto/model/tokenizer_model.h"

enum { CONFIG_BYTES_MAX = 1 << 20, PATH_BYTES_MAX = 4096 };

/* The order of the files, and of the digest; the weights follow. */
enum part {
    PART_CONFIG,
    PART_GENERATION_CONFIG,
    PART_TOKENIZER,
    PART_TOKENIZER_CONFIG,
    PART_CHAT_TEMPLATE,
    PART_TOKENIZER_MODEL, /* these two where there is no tokenizer.json; one of them */
    PART_TEKKEN,
    PART_INDEX,
    PART_COUNT
};

static const char *const part_names[PART_COUNT] = {
    "config.json",           "generation_config.json",      "tokenizer.json",
    "tokenizer_config.json", "chat_template.jinja",         "tokenizer.model",
    "tekken.json",           "model.safetensors.index.json"};

static const char single_name[] = "model.safetensors";

struct part_file {
    char *path; /* NULL where there is no such file */
    struct mapping mapping;
};

struct directory {
    char *path;
    const char *name; /* the last part of path */
    struct part_file parts[PART_COUNT];
    json_t *config;
    struct shard_index *index; /* NULL where all weights are in one file */
    struct part_file *weights; /* [weight_count] */
    struct safetensors **safetensors;
    int weight_count;
};

static bool exists(const char *folder, const char *name)
{
    char path[PATH_BYTES_MAX];
    struct stat facts;
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return stat(path, &facts) == 0;
}

static enum status open_part(struct part_file *part, const char *folder, const char *name)
{
    size_t bytes = strlen(folder) + strlen(name) + 2;
    part->path = malloc(bytes);
    if (!part->path)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to open %s", folder);
    snprintf(part->path, bytes, "%s/%s", folder, name);
    return mapping_open(&part->mapping, part->path);
}

static void close_part(struct part_file *part)
{
    mapping_close(&part->mapping);
    free(part->path);
}

/* The first file, by name, that ends in `end`; false where there is none. */
static bool find_file(char *name, size_t bytes, const char *folder, const char *end)
{
    DIR *listing = opendir(folder);
    bool found = false;
    if (!listing)
        return false;
    for (struct dirent *entry = readdir(listing); entry; entry = readdir(listing)) {
        size_t length = strlen(entry->d_name);
        bool fits = length > strlen(end) && strcmp(entry->d_name + length - strlen(end), end) == 0;
        if (fits && (!found || strcmp(entry->d_name, name) < 0)) {
            snprintf(name, bytes, "%s", entry->d_name);
            found = true;
        }
    }
    closedir(listing);
    return found;
}

static enum status refuse_without_config(const char *folder)
{
    char name[256];
    if (find_file(name, sizeof name, folder, ".gguf"))
        return fail(STATUS_NOT_FOUND,
                    "%s is a directory without config.json; it holds a GGUF file: give that, "
                    "%s/%s",
                    folder, folder, name);
    return fail(STATUS_NOT_FOUND,
                "%s is a directory without config.json; give a GGUF file, or a directory with "
                "config.json, tokenizer.json and model.safetensors",
                folder);
}

static enum status refuse_without_weights(const char *folder)
{
    char name[256];
    if (find_file(name, sizeof name, folder, ".bin") ||
        find_file(name, sizeof name, folder, ".pth"))
        return fail(STATUS_UNIMPLEMENTED,
                    "%s holds no model.safetensors; %s is of a form that can run code and is not "
                    "read: convert it to safetensors",
                    folder, name);
    return fail(STATUS_NOT_FOUND,
                "%s holds neither model.safetensors nor model.safetensors.index.json; fetch the "
                "weights",
                folder);
}

/* The file that the tokenizer is read from; PART_COUNT where there is none. */
static enum part tokenizer_part(const char *folder)
{
    static const enum part parts[] = {PART_TOKENIZER, PART_TOKENIZER_MODEL, PART_TEKKEN};
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        if (exists(folder, part_names[parts[i]]))
            return parts[i];
    return PART_COUNT;
}

static bool is_tokenizer(enum part part)
{
    return part == PART_TOKENIZER || part == PART_TOKENIZER_MODEL || part == PART_TEKKEN;
}

static enum status open_parts(struct directory *directory, bool with_index)
{
    const enum part tokenizer = tokenizer_part(directory->path);
    for (enum part part = 0; part < PART_COUNT; part++) {
        bool wanted = is_tokenizer(part) ? part == tokenizer : part != PART_INDEX || with_index;
        if (wanted && exists(directory->path, part_names[part]))
            TRY(open_part(&directory->parts[part], directory->path, part_names[part]));
    }
    const struct part_file *config = &directory->parts[PART_CONFIG];
    if (!config->path)
        return STATUS_OK;
    return json_place_parse(&directory->config, config->mapping.data, config->mapping.bytes,
                            CONFIG_BYTES_MAX, config->path);
}

static enum status open_weights(struct directory *directory)
{
    const struct part_file *index = &directory->parts[PART_INDEX];
    int count = 1;
    if (index->path) {
        TRY(shard_index_parse(&directory->index, index->mapping.data, index->mapping.bytes,
                              index->path));
        count = shard_index_file_count(directory->index);
    } else if (!exists(directory->path, single_name)) {
        return refuse_without_weights(directory->path);
    }
    directory->weights = calloc((size_t)count, sizeof *directory->weights);
    directory->safetensors = calloc((size_t)count, sizeof(*directory->safetensors));
    if (!directory->weights || !directory->safetensors)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to open %d files", count);
    directory->weight_count = count;
    for (int i = 0; i < count; i++) {
        struct part_file *file = &directory->weights[i];
        TRY(open_part(file, directory->path,
                      directory->index ? shard_index_file(directory->index, i) : single_name));
        TRY(safetensors_parse(&directory->safetensors[i], file->mapping.data, file->mapping.bytes,
                              file->path));
    }
    return STATUS_OK;
}

static void list_files(struct checkpoint_listing *listing, const struct directory *directory)
{
    for (int part = 0; part < PART_COUNT; part++) {
        const struct part_file *file = &directory->parts[part];
        if (file->path)
            listing->files[listing->file_count++] =
                (struct checkpoint_file){part_names[part], file->mapping.data, file->mapping.bytes};
    }
    for (int i = 0; i < directory->weight_count; i++) {
        const struct part_file *file = &directory->weights[i];
        listing->files[listing->file_count++] = (struct checkpoint_file){
            strrchr(file->path, '/') + 1, file->mapping.data, file->mapping.bytes};
    }
}

static enum status list_tensors(struct checkpoint_listing *listing,
                                const struct directory *directory)
{
    uint64_t bytes = 0;
    for (int i = 0; i < directory->weight_count; i++) {
        const struct safetensors *file = directory->safetensors[i];
        struct checkpoint_tensor *first = &listing->tensors[listing->tensor_count];
        int count = safetensors_count(file);
        for (int t = 0; t < count; t++) {
            first[t] = *safetensors_tensor(file, t);
            bytes += first[t].bytes;
        }
        listing->tensor_count += count;
        if (directory->index)
            TRY(shard_index_check_file(directory->index, i, first, count));
    }
    double stated;
    if (directory->index && shard_index_total_differs(directory->index, &stated, bytes))
        log_line(LOG_WARN, "total_size differs",
                 log_text("file", directory->parts[PART_INDEX].path),
                 log_real("stated_bytes", stated, 0), log_integer("tensor_bytes", (int64_t)bytes));
    return STATUS_OK;
}

static enum status list(struct checkpoint_listing *listing, const struct directory *directory)
{
    size_t tensors = 0;
    for (int i = 0; i < directory->weight_count; i++)
        tensors += (size_t)safetensors_count(directory->safetensors[i]);
    if (tensors > SAFETENSORS_TENSORS_MAX)
        return fail(STATUS_DATA_LOSS, "%s: %zu tensors; at most %d are allowed [tensor-count]",
                    directory->path, tensors, SAFETENSORS_TENSORS_MAX);
    listing->files = calloc(PART_COUNT + (size_t)directory->weight_count, sizeof *listing->files);
    listing->tensors = calloc(tensors + 1, sizeof *listing->tensors);
    if (!listing->files || !listing->tensors)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the tensors of %s", directory->path);
    list_files(listing, directory);
    return list_tensors(listing, directory);
}

/* Without slashes at the end, so that the last part is its name. */
static enum status take_path(struct directory *directory, const char *path)
{
    size_t bytes = strlen(path);
    while (bytes > 1 && path[bytes - 1] == '/')
        bytes--;
    if (bytes + 256 + 2 > PATH_BYTES_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "the path of the model's directory is too long");
    directory->path = strndup(path, bytes);
    if (!directory->path)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to open %s", path);
    const char *slash = strrchr(directory->path, '/');
    directory->name = slash && slash[1] ? slash + 1 : directory->path;
    return STATUS_OK;
}

enum status directory_open(struct directory **directory, struct checkpoint_listing *listing,
                           const char *path)
{
    enum status status;
    struct directory *opened = calloc(1, sizeof *opened);
    if (!opened)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to open %s", path);
    TRY_ELSE(take_path(opened, path), close);
    if (!exists(opened->path, part_names[PART_CONFIG])) {
        status = refuse_without_config(opened->path);
        goto close;
    }
    /* One file of weights needs no index. */
    TRY_ELSE(open_parts(opened, !exists(opened->path, single_name)), close);
    TRY_ELSE(open_weights(opened), close);
    TRY_ELSE(list(listing, opened), close);
    *directory = opened;
    return STATUS_OK;
close:
    directory_close(opened);
    return status;
}

enum status directory_open_tokenizer(struct directory **directory, const char *path)
{
    enum status status;
    struct directory *opened = calloc(1, sizeof *opened);
    if (!opened)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to open %s", path);
    TRY_ELSE(take_path(opened, path), close);
    if (tokenizer_part(opened->path) == PART_COUNT) {
        status = fail(STATUS_NOT_FOUND,
                      "%s is a directory without tokenizer.json, tokenizer.model or tekken.json",
                      opened->path);
        goto close;
    }
    TRY_ELSE(open_parts(opened, false), close);
    *directory = opened;
    return STATUS_OK;
close:
    directory_close(opened);
    return status;
}

void directory_close(struct directory *directory)
{
    if (!directory)
        return;
    for (int i = 0; i < directory->weight_count; i++) {
        safetensors_close(directory->safetensors[i]);
        close_part(&directory->weights[i]);
    }
    for (int part = 0; part < PART_COUNT; part++)
        close_part(&directory->parts[part]);
    free(directory->safetensors);
    free(directory->weights);
    shard_index_close(directory->index);
    json_decref(directory->config);
    free(directory->path);
    free(directory);
}

/* The type of the largest tensor: that of nearly all weights. */
static const char *file_type(const struct directory *directory)
{
    const struct checkpoint_tensor *largest = NULL;
    for (int i = 0; i < directory->weight_count; i++)
        for (int t = 0; t < safetensors_count(directory->safetensors[i]); t++) {
            const struct checkpoint_tensor *tensor =
                safetensors_tensor(directory->safetensors[i], t);
            if (!largest || tensor->bytes > largest->bytes)
                largest = tensor;
        }
    return largest ? largest->type : "unknown";
}

enum status directory_read_spec(struct model_spec *spec, const struct directory *directory)
{
    const struct json_place config =
        json_place_root(directory->config, directory->parts[PART_CONFIG].path);
    TRY(spec_config_read(spec, &config));
    spec->name = text_view_of(directory->name);
    spec->file_type = file_type(directory);
    return STATUS_OK;
}

static struct tokenizer_file tokenizer_file(const struct directory *directory, enum part part)
{
    const struct part_file *file = &directory->parts[part];
    return (struct tokenizer_file){file->path, file->mapping.data, file->mapping.bytes};
}

enum status directory_read_vocab(struct vocab **vocab, const struct directory *directory,
                                 int32_t count)
{
    enum part part = PART_TOKENIZER;
    while (part < PART_COUNT && !(is_tokenizer(part) && directory->parts[part].path))
        part++;
    if (part == PART_COUNT)
        return STATUS_OK;
    const struct json_place config =
        json_place_root(directory->config, directory->parts[PART_CONFIG].path);
    int64_t rows = count;
    if (count == 0 && json_place_get(&config, "vocab_size"))
        TRY(json_place_integer(&config, &rows, "vocab_size", 1, MODEL_VOCAB_MAX));
    const struct tokenizer_files files = {
        .tokenizer = tokenizer_file(directory, part),
        .tokenizer_config = tokenizer_file(directory, PART_TOKENIZER_CONFIG),
        .generation_config = tokenizer_file(directory, PART_GENERATION_CONFIG),
        .config = tokenizer_file(directory, PART_CONFIG),
        .chat_template = tokenizer_file(directory, PART_CHAT_TEMPLATE),
    };
    if (part == PART_TOKENIZER_MODEL)
        return tokenizer_model_read(vocab, &files, (int32_t)rows);
    if (part == PART_TEKKEN)
        return tekken_read(vocab, &files, (int32_t)rows);
    return tokenizer_json_read(vocab, &files, (int32_t)rows);
}
