/* Owns one folder. Promises to remove nothing outside it but folders of the same kind, of the same
 * user, that nobody uses any more. */
#include "coordinator/mpi_files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "proto/log.h"

enum { TRIES = 8, DESCRIPTORS_MOST = 16 };

struct mpi_files {
    char folder[PATH_MAX];
    int lock;
};

static int remove_one(const char *path, const struct stat *about, int kind, struct FTW *place)
{
    (void)about;
    (void)kind;
    if (place->level > 0 && remove(path) != 0)
        log_line(LOG_WARN, "file left behind", log_text("path", path),
                 log_text("cause", strerror(errno)));
    return 0;
}

static void remove_contents(const char *folder)
{
    (void)nftw(folder, remove_one, DESCRIPTORS_MOST, FTW_DEPTH | FTW_PHYS | FTW_MOUNT);
}

/* Locks the folder; -1 when somebody uses it, or it is not a folder of ours. */
static int lock_folder(const char *folder)
{
    struct stat about;
    int lock = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (lock < 0)
        return -1;
    if (fstat(lock, &about) == 0 && about.st_uid == geteuid() && about.st_nlink > 0 &&
        flock(lock, LOCK_EX | LOCK_NB) == 0)
        return lock;
    close(lock);
    return -1;
}

static void remove_stale(const char *base, const char *prefix)
{
    char path[PATH_MAX];
    DIR *entries = opendir(base);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        if (strncmp(entry->d_name, prefix, strlen(prefix)) != 0 ||
            snprintf(path, sizeof path, "%s/%s", base, entry->d_name) >= PATH_MAX)
            continue;
        int lock = lock_folder(path);
        if (lock < 0)
            continue;
        remove_contents(path);
        (void)rmdir(path);
        close(lock);
    }
    if (entries)
        closedir(entries);
}

/* Makes and locks a folder; whoever clears up may take it for a stale one in between. */
static enum status make_folder(struct mpi_files *files, const char *base, const char *prefix)
{
    for (int i = 0; i < TRIES; i++) {
        if (snprintf(files->folder, PATH_MAX, "%s/%sXXXXXX", base, prefix) >= PATH_MAX)
            return fail(STATUS_INVALID_ARGUMENT, "the path of TMPDIR is too long");
        if (!mkdtemp(files->folder))
            return fail(STATUS_IO, "make a folder %s for Open MPI: %s", files->folder,
                        strerror(errno));
        files->lock = lock_folder(files->folder);
        struct stat about;
        if (files->lock >= 0 && stat(files->folder, &about) == 0)
            return STATUS_OK;
        if (files->lock >= 0)
            close(files->lock);
    }
    return fail(STATUS_IO, "lock a folder in %s for Open MPI", base);
}

enum status mpi_files_create(struct mpi_files **files, const char *temporary)
{
    static const char shared[] = "/dev/shm";
    char prefix[64];
    const char *base = shared;
    struct stat about;
    if (stat(shared, &about) != 0 || !S_ISDIR(about.st_mode) || access(shared, W_OK | X_OK) != 0)
        base = temporary && temporary[0] ? temporary : "/tmp";
    struct mpi_files *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a folder's path");
    snprintf(prefix, sizeof prefix, "longhaul-mpi-%u-", (unsigned)geteuid());
    remove_stale(base, prefix);
    enum status status = make_folder(made, base, prefix);
    if (status != STATUS_OK) {
        free(made);
        return status;
    }
    *files = made;
    return STATUS_OK;
}

const char *mpi_files_folder(const struct mpi_files *files)
{
    return files->folder;
}

int mpi_files_lock(const struct mpi_files *files)
{
    return files->lock;
}

void mpi_files_clear(const struct mpi_files *files)
{
    remove_contents(files->folder);
}

void mpi_files_destroy(struct mpi_files *files)
{
    if (!files)
        return;
    remove_contents(files->folder);
    if (rmdir(files->folder) != 0)
        log_line(LOG_WARN, "folder left behind", log_text("path", files->folder),
                 log_text("cause", strerror(errno)));
    close(files->lock);
    free(files);
}
