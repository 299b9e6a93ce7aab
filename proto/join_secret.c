/* Owns a coordinator's secret and the file it was written to. Promises that nobody but the user can
 * read a file that it writes, and that none is taken which others could have read or written. */
#include "proto/join_secret.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "proto/log.h"
#include "proto/secret_file.h"

enum { TRIES = 5, AGAIN_MS = 20 };

static const struct secret_kind kind = {"join secret", "--join-secret"};

struct join_secret {
    char text[JOIN_SECRET_ROOM]; /* zeros after its end */
    char path[PATH_MAX];
    int descriptor; /* of the file that was written, locked; -1: none was */
    bool drawn;
    bool named; /* the path was given; otherwise it is the default, in a folder of ours */
};

/* ---- where it lies ---- */

static bool is_set(const char *text)
{
    return text && text[0];
}

/* Whether the user can make files there; and, where asked, whether the folder is the user's. */
static bool is_usable(const char *folder, bool must_own)
{
    struct stat about;
    return stat(folder, &about) == 0 && S_ISDIR(about.st_mode) &&
           access(folder, W_OK | X_OK) == 0 && (!must_own || about.st_uid == geteuid());
}

enum status join_secret_path(char path[PATH_MAX], const struct join_secret_places *places, int port)
{
    int used;
    if (is_set(places->job) && is_set(places->job_folder) && is_usable(places->job_folder, false))
        used = snprintf(path, PATH_MAX, "%s/longhaul-%s/%d.secret", places->job_folder, places->job,
                        port);
    else if (is_set(places->runtime) && is_usable(places->runtime, true))
        used = snprintf(path, PATH_MAX, "%s/longhaul/%d.secret", places->runtime, port);
    else
        used = snprintf(path, PATH_MAX, "%s/longhaul-%u/%d.secret",
                        is_set(places->temporary) ? places->temporary : "/tmp", (unsigned)geteuid(),
                        port);
    if (used >= PATH_MAX)
        return fail(STATUS_INVALID_ARGUMENT,
                    "the path of the join secret is too long; name a file with --join-secret");
    return STATUS_OK;
}

enum status join_secret_read(char text[JOIN_SECRET_ROOM], const char *path)
{
    return secret_file_read(text, path, &kind);
}

/* ---- a coordinator's ---- */

enum status join_secret_create(struct join_secret **secret, const char *file)
{
    struct join_secret *s = calloc(1, sizeof *s);
    if (!s)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the join secret");
    s->descriptor = -1;
    s->named = file[0];
    const bool there = s->named && access(file, F_OK) == 0;
    s->drawn = !there;
    enum status status = STATUS_OK;
    if ((size_t)snprintf(s->path, sizeof s->path, "%s", file) >= sizeof s->path)
        status = fail(STATUS_INVALID_ARGUMENT, "--join-secret: the path is too long");
    else if (there)
        status = join_secret_read(s->text, file);
    else
        status = secret_file_draw(s->text, &kind);
    if (status != STATUS_OK) {
        join_secret_destroy(s);
        return status;
    }
    *secret = s;
    return STATUS_OK;
}

/* The folder of the default file, made where it is missing. */
static enum status check_folder(struct join_secret *secret)
{
    char folder[PATH_MAX];
    snprintf(folder, sizeof folder, "%.*s", (int)(strrchr(secret->path, '/') - secret->path),
             secret->path);
    if (mkdir(folder, S_IRWXU) != 0 && errno != EEXIST)
        return fail(STATUS_IO, "make %s for the join secret: %s; name a file with --join-secret",
                    folder, strerror(errno));
    int descriptor = open(folder, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (descriptor < 0)
        return fail(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_FAILED_PRECONDITION,
                    "open %s for the join secret: %s; name a file with --join-secret", folder,
                    strerror(errno));
    enum status status = secret_file_check(descriptor, folder, &kind, true);
    close(descriptor);
    return status;
}

/* NOT_FOUND when the file was removed before it was locked. */
static enum status lock_file(int descriptor, const char *path)
{
    struct stat about;
    /* Some file systems of clusters have no locks: there nothing tells who runs. */
    if (flock(descriptor, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
        return fail(STATUS_UNAVAILABLE,
                    "the join secret %s is another coordinator's, which runs; name another file "
                    "with --join-secret",
                    path);
    if (fstat(descriptor, &about) == 0 && about.st_nlink == 0)
        return fail(STATUS_NOT_FOUND, "the join secret %s was removed", path);
    return STATUS_OK;
}

/* Opens and locks the file; a named one must be new. */
static enum status open_file(struct join_secret *secret)
{
    if (!secret->named)
        TRY(check_folder(secret));
    int flags = O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK;
    int descriptor = open(secret->path, flags | (secret->named ? O_EXCL : 0), S_IRUSR | S_IWUSR);
    if (descriptor < 0)
        return fail(errno == ENOENT && !secret->named ? STATUS_NOT_FOUND : STATUS_IO,
                    "write the join secret %s: %s", secret->path, strerror(errno));
    enum status status = secret_file_check(descriptor, secret->path, &kind, false);
    if (status == STATUS_OK)
        status = lock_file(descriptor, secret->path);
    if (status != STATUS_OK)
        close(descriptor);
    else
        secret->descriptor = descriptor;
    return status;
}

/* Removes the files beside ours that coordinators which were killed have left. */
static void remove_stale(const char *own)
{
    char path[PATH_MAX];
    int folder_bytes = (int)(strrchr(own, '/') - own);
    snprintf(path, sizeof path, "%.*s", folder_bytes, own);
    DIR *entries = opendir(path);
    for (struct dirent *entry; entries && (entry = readdir(entries));) {
        size_t digits = strspn(entry->d_name, "0123456789");
        if (digits == 0 || strcmp(entry->d_name + digits, ".secret") != 0 ||
            snprintf(path, sizeof path, "%.*s/%s", folder_bytes, own, entry->d_name) >= PATH_MAX ||
            strcmp(path, own) == 0)
            continue;
        int descriptor = open(path, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
        if (descriptor < 0)
            continue;
        if (flock(descriptor, LOCK_EX | LOCK_NB) == 0)
            (void)unlink(path);
        close(descriptor);
    }
    if (entries)
        closedir(entries);
}

enum status join_secret_publish(struct join_secret *secret, const struct join_secret_places *places,
                                int port)
{
    if (!secret->drawn)
        return STATUS_OK;
    if (!secret->named)
        TRY(join_secret_path(secret->path, places, port));
    enum status status = open_file(secret);
    /* A coordinator that ends may remove the folder between our two looks at it, and one that
     * clears up may hold or remove the file for a moment. */
    for (int i = 1; i < TRIES && (status == STATUS_NOT_FOUND || status == STATUS_UNAVAILABLE);
         i++) {
        const struct timespec pause = {.tv_nsec = AGAIN_MS * 1000000};
        nanosleep(&pause, NULL);
        status = open_file(secret);
    }
    TRY(status);
    if (!secret->named)
        remove_stale(secret->path);
    char line[JOIN_SECRET_ROOM + 1];
    int bytes = snprintf(line, sizeof line, "%s\n", secret->text);
    if (ftruncate(secret->descriptor, 0) != 0 || write(secret->descriptor, line, bytes) != bytes)
        return fail(STATUS_IO, "write the join secret %s: %s", secret->path, strerror(errno));
    return STATUS_OK;
}

const char *join_secret_file(const struct join_secret *secret)
{
    return secret->path;
}

bool join_secret_matches(const struct join_secret *secret, const char *said, size_t bytes)
{
    char padded[JOIN_SECRET_ROOM] = "";
    volatile unsigned different = bytes >= sizeof padded;
    memcpy(padded, said, bytes < sizeof padded ? bytes : 0);
    for (size_t i = 0; i < sizeof padded; i++)
        different |= (unsigned char)(padded[i] ^ secret->text[i]);
    return different == 0;
}

static void remove_file(struct join_secret *secret)
{
    if (unlink(secret->path) != 0)
        log_line(LOG_WARN, "join secret left behind", log_text("file", secret->path),
                 log_text("cause", strerror(errno)));
    if (secret->named)
        return;
    *strrchr(secret->path, '/') = 0;
    /* Another coordinator's file may lie there. */
    (void)rmdir(secret->path);
}

void join_secret_destroy(struct join_secret *secret)
{
    if (!secret)
        return;
    if (secret->descriptor >= 0) {
        remove_file(secret);
        close(secret->descriptor);
    }
    explicit_bzero(secret, sizeof *secret);
    free(secret);
}
