/* Owns the folder beside a model's place. Promises that no file is removed but those that a written
 * model has, and that a model is never seen in part. */
#include "proto/model/output_folder.h"

#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/model/output_beside.h"
#include "proto/model/output_file.h"

enum { NAME_BYTES = 256 };

const char *const output_folder_names[] = {"config.json",
                                           "generation_config.json",
                                           "tokenizer.json",
                                           "tokenizer_config.json",
                                           "chat_template.jinja",
                                           "special_tokens_map.json",
                                           "added_tokens.json",
                                           "vocab.json",
                                           "merges.txt",
                                           "tokenizer.model",
                                           "tekken.json",
                                           "model.safetensors",
                                           "model.safetensors.index.json",
                                           NULL};

static enum status fail_on(const char *what, const char *path)
{
    return fail(STATUS_IO, "%s %s: %s", what, path, strerror(errno));
}

/* "model-00002-of-00003.safetensors" */
static bool is_shard(const char *name)
{
    static const char pattern[] = "model-#####-of-#####.safetensors";
    for (size_t i = 0; i < sizeof pattern; i++)
        if (pattern[i] == '#' ? name[i] < '0' || name[i] > '9' : name[i] != pattern[i])
            return false;
    return true;
}

static bool is_own_name(const char *name)
{
    if (is_shard(name))
        return true;
    for (const char *const *own = output_folder_names; *own; own++)
        if (strcmp(*own, name) == 0)
            return true;
    return strcmp(name, ".") == 0 || strcmp(name, "..") == 0;
}

static enum status check_names(const char *path)
{
    char other[NAME_BYTES] = "";
    DIR *listing = opendir(path);
    if (!listing && errno == ENOENT)
        return STATUS_OK;
    if (!listing && errno == ENOTDIR)
        return fail(STATUS_ALREADY_EXISTS, "%s is a file; name a folder for the model", path);
    if (!listing)
        return fail_on("open", path);
    for (struct dirent *entry = readdir(listing); entry && !*other; entry = readdir(listing))
        if (!is_own_name(entry->d_name))
            snprintf(other, sizeof other, "%s", entry->d_name);
    closedir(listing);
    if (*other)
        return fail(STATUS_ALREADY_EXISTS,
                    "%s holds %s, which is no file of a saved model; name another folder, or "
                    "remove that one",
                    path, other);
    return STATUS_OK;
}

static enum status remove_shards(const char *path)
{
    char name[OUTPUT_FOLDER_PATH_BYTES + NAME_BYTES];
    DIR *listing = opendir(path);
    enum status status = STATUS_OK;
    if (!listing)
        return errno == ENOENT ? STATUS_OK : fail_on("open", path);
    for (struct dirent *entry = readdir(listing); entry && status == STATUS_OK;
         entry = readdir(listing)) {
        snprintf(name, sizeof name, "%s/%s", path, entry->d_name);
        if (is_shard(entry->d_name) && unlink(name) != 0 && errno != ENOENT)
            status = fail_on("remove", name);
    }
    closedir(listing);
    return status;
}

/* A folder with no other files than our own. */
static enum status remove_folder(const char *path)
{
    char name[OUTPUT_FOLDER_PATH_BYTES + NAME_BYTES];
    TRY(remove_shards(path));
    for (const char *const *own = output_folder_names; *own; own++) {
        snprintf(name, sizeof name, "%s/%s", path, *own);
        if (unlink(name) != 0 && errno != ENOENT)
            return fail_on("remove", name);
    }
    return rmdir(path) == 0 || errno == ENOENT ? STATUS_OK : fail_on("remove", path);
}

/* A link to a folder stays, and the folder is replaced. */
static enum status take_path(struct output_folder *folder, const char *path)
{
    char *resolved = realpath(path, NULL); /* NULL where nothing is there */
    const char *place = resolved ? resolved : path;
    size_t bytes = strlen(place);
    while (bytes > 1 && place[bytes - 1] == '/')
        bytes--;
    const bool fits =
        bytes > 0 && bytes + OUTPUT_BESIDE_SUFFIX_BYTES + NAME_BYTES <= OUTPUT_FOLDER_PATH_BYTES;
    if (fits)
        snprintf(folder->path, sizeof folder->path, "%.*s", (int)bytes, place);
    free(resolved);
    return fits ? STATUS_OK
                : fail(STATUS_INVALID_ARGUMENT, "the path of the folder for a model is %s",
                       bytes == 0 ? "empty" : "too long");
}

enum status output_folder_check(const char *path)
{
    struct output_folder folder;
    TRY(take_path(&folder, path));
    return check_names(folder.path);
}

enum status output_folder_begin(struct output_folder *folder, const char *path)
{
    TRY(output_folder_check(path));
    TRY(take_path(folder, path));
    return output_beside_make(folder->part, sizeof folder->part, folder->path, "part");
}

void output_folder_file(char path[OUTPUT_FOLDER_PATH_BYTES], const struct output_folder *folder,
                        const char *name)
{
    const int bytes = snprintf(path, OUTPUT_FOLDER_PATH_BYTES, "%s/%s", folder->part, name);
    assert(bytes < OUTPUT_FOLDER_PATH_BYTES);
}

/* The old model stays whole under another name until the new one is there, and comes back where
 * that fails. */
static enum status move_aside(const struct output_folder *folder)
{
    char old[OUTPUT_FOLDER_PATH_BYTES];
    TRY(output_beside_make(old, sizeof old, folder->path, "old"));
    if (rename(folder->path, old) != 0) {
        const enum status status = fail_on("rename", folder->path);
        (void)rmdir(old);
        return status;
    }
    if (rename(folder->part, folder->path) != 0) {
        const enum status status = fail_on("rename", folder->part);
        (void)rename(old, folder->path);
        return status;
    }
    return remove_folder(old);
}

/* Looks again at what is to be removed: the writing took long. */
static enum status replace(const struct output_folder *folder)
{
    TRY(check_names(folder->path));
    if (renameat2(AT_FDCWD, folder->part, AT_FDCWD, folder->path, RENAME_EXCHANGE) == 0)
        return remove_folder(folder->part);
    return errno == EINVAL || errno == ENOSYS ? move_aside(folder)
                                              : fail_on("rename", folder->part);
}

static enum status put_in_place(const struct output_folder *folder, bool keeps_existing)
{
    struct stat facts;
    if (keeps_existing || lstat(folder->path, &facts) != 0)
        return output_beside_put(folder->part, folder->path, true);
    return replace(folder);
}

enum status output_folder_finish(struct output_folder *folder, bool keeps_existing)
{
    char inside[OUTPUT_FOLDER_PATH_BYTES];
    output_folder_file(inside, folder, "config.json");
    TRY(output_file_sync_folder(inside));
    TRY(put_in_place(folder, keeps_existing));
    return output_file_sync_folder(folder->path);
}

void output_folder_discard(struct output_folder *folder)
{
    (void)remove_folder(folder->part);
}
