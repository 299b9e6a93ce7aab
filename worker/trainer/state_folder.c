/* Owns the folders of checkpoints. Promises to remove nothing but what has the name of a checkpoint
 * and, in it, the names of its files. */
#include "worker/trainer/state_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const char *const state_folder_files[] = {"weights", "moments", "variances", "header", NULL};

static const char part_end[] = ".part";

static enum status make_path(char path[STATE_FOLDER_PATH_BYTES], const char *folder, int64_t step,
                             const char *end, const char *file)
{
    const int bytes = snprintf(path, STATE_FOLDER_PATH_BYTES, "%s/step-%09lld%s%s%s", folder,
                               (long long)step, end, file[0] ? "/" : "", file);
    return bytes < STATE_FOLDER_PATH_BYTES
               ? STATUS_OK
               : fail(STATUS_INVALID_ARGUMENT, "the path of %s is too long", folder);
}

enum status state_folder_path(char path[STATE_FOLDER_PATH_BYTES], const char *folder, int64_t step,
                              const char *file)
{
    return make_path(path, folder, step, "", file);
}

enum status state_folder_part_path(char path[STATE_FOLDER_PATH_BYTES], const char *folder,
                                   int64_t step, const char *file)
{
    return make_path(path, folder, step, part_end, file);
}

/* The step of a checkpoint's name, -1 of another one. */
static int64_t step_of(const char *name, bool *part)
{
    long long step;
    int bytes = 0;
    if (sscanf(name, "step-%9lld%n", &step, &bytes) != 1 || bytes != 14 || step < 0)
        return -1;
    *part = strcmp(name + bytes, part_end) == 0;
    return *part || name[bytes] == '\0' ? (int64_t)step : -1;
}

static int newest_first(const void *a, const void *b)
{
    const int64_t one = *(const int64_t *)a, two = *(const int64_t *)b;
    return (one < two) - (one > two);
}

/* The steps of checkpoints, or of those half done. */
static enum status list(int64_t **steps, size_t *count, const char *folder, bool parts)
{
    size_t room = 0;
    enum status status = STATUS_OK;
    *steps = NULL;
    *count = 0;
    DIR *opened = opendir(folder);
    if (!opened && errno == ENOENT)
        return STATUS_OK;
    if (!opened)
        return fail(STATUS_IO, "open %s: %s", folder, strerror(errno));
    for (struct dirent *entry; status == STATUS_OK && (entry = readdir(opened));) {
        bool part;
        const int64_t step = step_of(entry->d_name, &part);
        if (step < 0 || part != parts)
            continue;
        if (*count == room) {
            room = 2 * room + 16;
            int64_t *grown = realloc(*steps, room * sizeof *grown);
            if (!grown)
                status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory to list %s", folder);
            else
                *steps = grown;
        }
        if (status == STATUS_OK)
            (*steps)[(*count)++] = step;
    }
    closedir(opened);
    if (*count > 0)
        qsort(*steps, *count, sizeof **steps, newest_first);
    return status;
}

enum status state_folder_list(int64_t steps[STATE_FOLDER_STEPS_MOST], int *count,
                              const char *folder)
{
    int64_t *all;
    size_t there;
    const enum status status = list(&all, &there, folder, false);
    *count = (int)(there < STATE_FOLDER_STEPS_MOST ? there : STATE_FOLDER_STEPS_MOST);
    if (*count > 0)
        memcpy(steps, all, (size_t)*count * sizeof *steps);
    free(all);
    return status;
}

static enum status failed(const char *what, const char *path)
{
    return fail(STATUS_IO, "%s %s: %s", what, path, strerror(errno));
}

static enum status sync_folder(const char *path)
{
    const int descriptor = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (descriptor < 0)
        return failed("open", path);
    const bool synced = fsync(descriptor) == 0;
    const enum status status = synced ? STATUS_OK : failed("sync", path);
    close(descriptor);
    return status;
}

static enum status remove_one(const char *folder, int64_t step, const char *end)
{
    char path[STATE_FOLDER_PATH_BYTES];
    for (int f = 0; state_folder_files[f]; f++) {
        TRY(make_path(path, folder, step, end, state_folder_files[f]));
        if (unlink(path) != 0 && errno != ENOENT)
            return failed("remove", path);
    }
    TRY(make_path(path, folder, step, end, ""));
    if (rmdir(path) == 0 || errno == ENOENT)
        return STATUS_OK;
    if (errno == ENOTEMPTY)
        return fail(STATUS_FAILED_PRECONDITION,
                    "%s is to be removed and holds files that no checkpoint has: move them away",
                    path);
    return failed("remove", path);
}

static enum status remove_parts(const char *folder)
{
    int64_t *steps;
    size_t count;
    enum status status = list(&steps, &count, folder, true);
    for (size_t s = 0; s < count && status == STATUS_OK; s++)
        status = remove_one(folder, steps[s], part_end);
    free(steps);
    return status;
}

/* Those of later steps too: a run that comes to `step` passed them over when it was read. */
static enum status remove_others(const char *folder, int64_t step, int keep)
{
    int64_t *steps;
    size_t count;
    int kept = 0;
    enum status status = list(&steps, &count, folder, false);
    for (size_t s = 0; s < count && status == STATUS_OK; s++)
        if (steps[s] > step || kept++ >= keep)
            status = remove_one(folder, steps[s], "");
    free(steps);
    return status;
}

enum status state_folder_begin(const char *folder, int64_t step)
{
    char path[STATE_FOLDER_PATH_BYTES];
    if (mkdir(folder, 0777) != 0 && errno != EEXIST)
        return failed("make", folder);
    TRY(remove_parts(folder));
    TRY(make_path(path, folder, step, part_end, ""));
    return mkdir(path, 0777) == 0 ? STATUS_OK : failed("make", path);
}

enum status state_folder_finish(const char *folder, int64_t step, int keep)
{
    char part[STATE_FOLDER_PATH_BYTES], path[STATE_FOLDER_PATH_BYTES];
    TRY(make_path(part, folder, step, part_end, ""));
    TRY(make_path(path, folder, step, "", ""));
    TRY(sync_folder(part));
    TRY(remove_one(folder, step, "")); /* one that was passed over */
    if (rename(part, path) != 0)
        return failed("rename", part);
    TRY(sync_folder(folder));
    return remove_others(folder, step, keep);
}
