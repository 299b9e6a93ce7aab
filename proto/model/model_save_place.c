/* Owns where a model may be written. Promises that no file of the source is ever replaced. */
#include "proto/model/model_save_place.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "proto/model/output_folder.h"

static bool is_same(const char *path, const char *other)
{
    struct stat a;
    struct stat b;
    return stat(path, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

/* Whether a file of the source is at `path`, or in a folder there; links are followed. */
static bool holds_file(const char *path, const char *file)
{
    char *resolved = realpath(file, NULL);
    char *slash = resolved ? strrchr(resolved, '/') : NULL;
    if (slash)
        *slash = 0;
    const bool holds =
        is_same(path, file) || (slash && slash > resolved && is_same(path, resolved));
    free(resolved);
    return holds;
}

/* The source's files are mapped while they are read, and may be the only copy. */
static enum status check_source(const struct model_save *save, const char *path)
{
    const struct checkpoint *source = model_checkpoint(save->source);
    const char *name = checkpoint_name(source);
    const char *slash = strrchr(name, '/');
    const bool is_folder = checkpoint_directory(source) != NULL;
    const int folder = is_folder ? (int)strlen(name) : slash ? (int)(slash - name) : 0;
    bool is_source = is_same(path, name);
    for (int i = 0; i < checkpoint_file_count(source) && !is_source; i++) {
        char file[OUTPUT_FOLDER_PATH_BYTES];
        const int bytes = snprintf(file, sizeof file, "%.*s%s%s", folder, name,
                                   is_folder || slash ? "/" : "", checkpoint_file(source, i)->name);
        is_source = bytes < (int)sizeof file && holds_file(path, file);
    }
    return is_source ? fail(STATUS_INVALID_ARGUMENT,
                            "%s is the model that the new one is made of, or holds a part of it; "
                            "name another place",
                            path)
                     : STATUS_OK;
}

enum status model_save_place_check(const struct model_save *save, const char *path)
{
    struct stat place;
    if (save->keeps_existing && lstat(path, &place) == 0)
        return fail(STATUS_ALREADY_EXISTS, "%s is there already", path);
    if (save->format == MODEL_SAVE_FOLDER) {
        TRY(check_source(save, path));
        return output_folder_check(path);
    }
    if (stat(path, &place) == 0 && !S_ISREG(place.st_mode))
        return fail(STATUS_ALREADY_EXISTS, "%s is no file; name a file for the model", path);
    return check_source(save, path);
}
