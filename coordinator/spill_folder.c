/* Owns the folder's files, and what is known of them. Promises that they are never more bytes than
 * the limit, and that no file is offered that is not whole. */
#include "coordinator/spill_folder.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <xxhash.h>

#include "proto/cache_file/cache_reader.h"
#include "proto/log.h"

enum { NAME_BYTES = 64, NAME_DIGITS = 16, UNIQUE_DIGITS = 8, FOLDER_BYTES = PATH_MAX - 2 * 64 };

static const char suffix[] = ".keys";

struct file {
    struct file *next; /* used before this one */
    int64_t number, bytes;
    char name[NAME_BYTES];
    uint64_t tenant;
    char method[METHOD_TEXT_BYTES];
    int32_t *ids; /* [tokens] */
    int64_t tokens;
    int64_t written_ns; /* by the file system's clock */
    bool needed;
};

struct spill_folder {
    pthread_mutex_t lock;
    char path[FOLDER_BYTES];
    char model[CACHE_MODEL_BYTES];
    int held; /* descriptor of the lock */
    int64_t bytes_most;
    struct file *first;     /* used last */
    int64_t bytes;          /* of files, and of those that are being written */
    int64_t newest;         /* number */
    struct spill_facts did; /* its counters alone */
};

static void path_of(const struct spill_folder *folder, char path[PATH_MAX], const char *name)
{
    snprintf(path, PATH_MAX, "%s/%s", folder->path, name);
}

static void free_file(struct file *file)
{
    free(file->ids);
    free(file);
}

/* ---- the list; under the lock ---- */

static struct file **link_of(struct spill_folder *folder, int64_t number)
{
    struct file **link = &folder->first;
    while (*link && (*link)->number != number)
        link = &(*link)->next;
    return link;
}

static void move_to_front(struct spill_folder *folder, struct file **link)
{
    struct file *file = *link;
    *link = file->next;
    file->next = folder->first;
    folder->first = file;
}

static void remove_at(struct spill_folder *folder, struct file **link, const char *cause)
{
    struct file *file = *link;
    char path[PATH_MAX];
    path_of(folder, path, file->name);
    if (unlink(path) != 0 && errno != ENOENT)
        log_line(LOG_WARN, "spilled file not removed", log_text("file", path),
                 log_text("cause", strerror(errno)));
    else if (cause)
        log_line(LOG_WARN, "spilled file removed", log_text("file", path),
                 log_text("cause", cause));
    *link = file->next;
    folder->bytes -= file->bytes;
    folder->did.removed++;
    free_file(file);
}

/* Of those with `needed` as given, the one that was unused longest; NULL: there is none. */
static struct file **find_oldest(struct spill_folder *folder, bool needed)
{
    struct file **oldest = NULL;
    for (struct file **link = &folder->first; *link; link = &(*link)->next)
        if ((*link)->needed == needed)
            oldest = link;
    return oldest;
}

static void shrink_to(struct spill_folder *folder, int64_t most)
{
    while (folder->bytes > most && folder->first) {
        struct file **link = find_oldest(folder, false);
        const bool needed = link == NULL;
        if (needed)
            link = find_oldest(folder, true);
        remove_at(folder, link,
                  needed ? "there is no room for it; its document must be read again" : NULL);
    }
}

/* ---- one file ---- */

/* Reads TENANT-HEADER-NUMBER.keys; false where it is no such name. */
static bool read_name(const char *name, uint64_t *tenant, uint64_t *header)
{
    const size_t length = 2 * (NAME_DIGITS + 1) + UNIQUE_DIGITS;
    if (strlen(name) != length + strlen(suffix) || strcmp(name + length, suffix) != 0)
        return false;
    for (size_t i = 0; i < length; i++)
        if (i == NAME_DIGITS || i == 2 * NAME_DIGITS + 1 ? name[i] != '-'
                                                         : !strchr("0123456789abcdef", name[i]))
            return false;
    return sscanf(name, "%16" SCNx64 "-%16" SCNx64, tenant, header) == 2;
}

static enum status check_header(const struct spill_folder *folder,
                                const struct cache_reader *reader, uint64_t digest)
{
    if (strcmp(reader->header.model, folder->model) != 0)
        return fail(STATUS_FAILED_PRECONDITION, "it is of another model, %s", reader->header.model);
    if (cache_reader_digest(reader) != digest)
        return fail(STATUS_DATA_LOSS, "its name is another file's");
    return STATUS_OK;
}

static enum status describe(const struct spill_folder *folder, struct file *file,
                            const struct cache_reader *reader, uint64_t digest)
{
    struct stat found;
    const size_t id_bytes = (size_t)reader->header.tokens * sizeof *file->ids;
    TRY(check_header(folder, reader, digest));
    file->bytes = (int64_t)reader->bytes;
    file->tokens = reader->header.tokens;
    method_print(&reader->header.method, file->method);
    if (stat(reader->name, &found) == 0)
        file->written_ns = (int64_t)found.st_mtim.tv_sec * 1000000000 + found.st_mtim.tv_nsec;
    file->ids = malloc(id_bytes);
    if (!file->ids)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %lld ids", (long long)file->tokens);
    memcpy(file->ids, reader->header.ids, id_bytes);
    return STATUS_OK;
}

/* What is in the file of this name. */
static enum status look(const struct spill_folder *folder, struct file **found, const char *name)
{
    struct cache_reader reader;
    char path[PATH_MAX];
    uint64_t digest = 0;
    struct file *file = calloc(1, sizeof *file);
    if (!file)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a file");
    path_of(folder, path, name);
    snprintf(file->name, sizeof file->name, "%s", name);
    enum status status = read_name(name, &file->tenant, &digest)
                             ? cache_reader_open(&reader, path)
                             : fail(STATUS_INTERNAL, "%s is no name of a spilled file", name);
    if (status == STATUS_OK) {
        status = describe(folder, file, &reader, digest);
        cache_reader_close(&reader);
    }
    if (status == STATUS_OK)
        *found = file;
    else
        free_file(file);
    return status;
}

/* ---- opening ---- */

static enum status take_lock(struct spill_folder *folder)
{
    char path[PATH_MAX];
    if (mkdir(folder->path, 0700) != 0 && errno != EEXIST)
        return fail(STATUS_IO, "make the folder %s: %s", folder->path, strerror(errno));
    path_of(folder, path, "lock");
    folder->held = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (folder->held < 0)
        return fail(STATUS_IO, "open %s: %s", path, strerror(errno));
    if (flock(folder->held, LOCK_EX | LOCK_NB) == 0)
        return STATUS_OK;
    if (errno == EWOULDBLOCK)
        return fail(STATUS_FAILED_PRECONDITION,
                    "--spill %s is in use by another coordinator: end it, or give another folder",
                    folder->path);
    return fail(STATUS_IO, "lock %s: %s", path, strerror(errno));
}

static bool is_unfinished(const char *name)
{
    static const char end[] = ".unfinished";
    char whole[NAME_BYTES];
    uint64_t tenant, header;
    const size_t length = strlen(name), most = sizeof end - 1;
    if (length <= most || length - most >= sizeof whole || strcmp(name + length - most, end) != 0)
        return false;
    snprintf(whole, sizeof whole, "%.*s", (int)(length - most), name);
    return read_name(whole, &tenant, &header);
}

/* In its place among those that were written before and after it. */
static void insert(struct spill_folder *folder, struct file *file)
{
    struct file **link = &folder->first;
    while (*link && (*link)->written_ns > file->written_ns)
        link = &(*link)->next;
    file->next = *link;
    *link = file;
    file->number = ++folder->newest;
    folder->bytes += file->bytes;
}

/* Else a file that was not read may be whole: another start may read it. */
static bool is_of_no_use(enum status status)
{
    return status == STATUS_DATA_LOSS || status == STATUS_FAILED_PRECONDITION ||
           status == STATUS_UNIMPLEMENTED;
}

static void take_over(struct spill_folder *folder, const char *name)
{
    struct file *file = NULL;
    char path[PATH_MAX];
    uint64_t tenant, header;
    path_of(folder, path, name);
    const bool unfinished = is_unfinished(name);
    if (!unfinished && !read_name(name, &tenant, &header))
        return; /* somebody else's */
    enum status status =
        unfinished ? fail(STATUS_DATA_LOSS, "it was never finished") : look(folder, &file, name);
    if (status == STATUS_OK) {
        insert(folder, file);
        return;
    }
    if (!is_of_no_use(status)) {
        log_line(LOG_WARN, "spilled file not taken over", log_text("file", path),
                 log_text("cause", status_message()));
        return;
    }
    log_line(LOG_WARN, "spilled file removed", log_text("file", path),
             log_text("cause", status_message()));
    if (unlink(path) != 0)
        log_line(LOG_WARN, "spilled file not removed", log_text("file", path),
                 log_text("cause", strerror(errno)));
}

static enum status take_over_all(struct spill_folder *folder)
{
    DIR *listing = opendir(folder->path);
    if (!listing)
        return fail(STATUS_IO, "list %s: %s", folder->path, strerror(errno));
    for (const struct dirent *entry; (entry = readdir(listing)) != NULL;)
        take_over(folder, entry->d_name);
    closedir(listing);
    shrink_to(folder, folder->bytes_most);
    return STATUS_OK;
}

enum status spill_folder_open(struct spill_folder **out, const char *path, int64_t bytes_most,
                              const char *model)
{
    struct spill_folder *folder = calloc(1, sizeof *folder);
    if (!folder)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the folder of --spill");
    pthread_mutex_init(&folder->lock, NULL);
    folder->held = -1;
    folder->bytes_most = bytes_most;
    snprintf(folder->model, sizeof folder->model, "%s", model);
    enum status status = STATUS_OK;
    if (snprintf(folder->path, sizeof folder->path, "%s", path) >= (int)sizeof folder->path)
        TRY_ELSE(fail(STATUS_INVALID_ARGUMENT, "--spill: the name is longer than %d bytes",
                      FOLDER_BYTES - 1),
                 close_it);
    TRY_ELSE(take_lock(folder), close_it);
    TRY_ELSE(take_over_all(folder), close_it);
    log_line(LOG_INFO, "spills", log_text("folder", path), log_integer("bytes", folder->bytes),
             log_integer("bytes_most", bytes_most));
    *out = folder;
    return STATUS_OK;
close_it:
    spill_folder_close(folder);
    return status;
}

void spill_folder_close(struct spill_folder *folder)
{
    if (!folder)
        return;
    while (folder->first) {
        struct file *file = folder->first;
        folder->first = file->next;
        free_file(file);
    }
    if (folder->held >= 0)
        close(folder->held);
    pthread_mutex_destroy(&folder->lock);
    free(folder);
}

/* ---- writing ---- */

static int64_t bytes_at_most(const struct cache_header *header)
{
    const int64_t blocks = cache_header_blocks(header);
    const size_t width = cache_header_element_bytes(header);
    int64_t bytes = (int64_t)cache_header_bytes(header) + CACHE_TRAILER_BYTES;
    for (int64_t n = 0; n < blocks; n++)
        bytes += (int64_t)cache_block_stored_most(cache_header_block_bytes(header, n), width) +
                 CACHE_ENTRY_BYTES;
    return bytes;
}

static enum status name_file(char name[NAME_BYTES], const char *tenant,
                             const struct cache_header *header)
{
    const size_t bytes = cache_header_bytes(header);
    uint8_t *written = aligned_alloc(8, bytes);
    uint64_t digest = 0;
    uint32_t unique = 0;
    if (!written)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a header of %zu bytes", bytes);
    const enum status status = cache_header_write(header, written);
    digest = XXH3_64bits(written, bytes - sizeof digest);
    free(written);
    TRY(status);
    if (getrandom(&unique, sizeof unique, 0) != sizeof unique)
        return fail(STATUS_IO, "no random bytes for a name: %s", strerror(errno));
    snprintf(name, NAME_BYTES, "%016" PRIx64 "-%016" PRIx64 "-%08" PRIx32 "%s",
             XXH3_64bits(tenant, strlen(tenant)), digest, unique, suffix);
    return STATUS_OK;
}

/* Under the lock: nothing is removed for a file that those that are being written leave no room
 * for. */
static bool reserve(struct spill_folder *folder, struct spill_place *place, int64_t bytes)
{
    int64_t writing = folder->bytes;
    for (const struct file *file = folder->first; file; file = file->next)
        writing -= file->bytes;
    if (writing > folder->bytes_most - bytes)
        return false;
    shrink_to(folder, folder->bytes_most - bytes);
    folder->bytes += bytes;
    place->bytes = bytes;
    return true;
}

enum status spill_folder_begin(struct spill_folder *folder, struct spill_place *place,
                               const char *tenant, const struct cache_header *header)
{
    char name[NAME_BYTES];
    const int64_t bytes = bytes_at_most(header);
    *place = (struct spill_place){.bytes = 0};
    if (bytes > folder->bytes_most)
        return fail(STATUS_RESOURCE_EXHAUSTED,
                    "its file may have %.1f MB, more than the %.1f of --spill-bytes",
                    (double)bytes / 1e6, (double)folder->bytes_most / 1e6);
    TRY(name_file(name, tenant, header));
    path_of(folder, place->path, name);
    pthread_mutex_lock(&folder->lock);
    const bool fits = reserve(folder, place, bytes);
    pthread_mutex_unlock(&folder->lock);
    return fits ? STATUS_OK
                : fail(STATUS_RESOURCE_EXHAUSTED,
                       "other files that are being written fill the folder of --spill");
}

enum status spill_folder_written(struct spill_folder *folder, struct spill_place *place,
                                 bool is_there)
{
    struct file *file = NULL;
    const enum status status =
        is_there ? look(folder, &file, strrchr(place->path, '/') + 1) : STATUS_OK;
    if (!file) /* it may have its name by now */
        unlink(place->path);
    pthread_mutex_lock(&folder->lock);
    folder->bytes -= place->bytes;
    if (file) {
        file->number = place->number = ++folder->newest;
        folder->bytes += file->bytes;
        folder->did.written++;
        file->next = folder->first;
        folder->first = file;
    }
    pthread_mutex_unlock(&folder->lock);
    return status;
}

/* ---- using ---- */

int64_t spill_folder_find(struct spill_folder *folder, int64_t *tokens, const char *tenant,
                          const char *method, const int32_t *ids, int64_t count)
{
    const uint64_t digest = XXH3_64bits(tenant, strlen(tenant));
    int64_t number = 0, most = 0;
    pthread_mutex_lock(&folder->lock);
    for (const struct file *file = folder->first; file; file = file->next)
        if (file->tenant == digest && file->tokens > most && file->tokens <= count &&
            strcmp(file->method, method) == 0 &&
            memcmp(file->ids, ids, (size_t)file->tokens * sizeof *ids) == 0) {
            number = file->number;
            most = file->tokens;
        }
    pthread_mutex_unlock(&folder->lock);
    *tokens = most;
    return number;
}

bool spill_folder_has(struct spill_folder *folder, int64_t number)
{
    pthread_mutex_lock(&folder->lock);
    const bool found = *link_of(folder, number) != NULL;
    pthread_mutex_unlock(&folder->lock);
    return found;
}

bool spill_folder_path(struct spill_folder *folder, char path[PATH_MAX], int64_t number)
{
    pthread_mutex_lock(&folder->lock);
    struct file **link = link_of(folder, number);
    const bool found = *link != NULL;
    if (found) {
        path_of(folder, path, (*link)->name);
        utimensat(AT_FDCWD, path, NULL, 0); /* a later coordinator goes by it; it may fail */
        move_to_front(folder, link);
    }
    pthread_mutex_unlock(&folder->lock);
    return found;
}

bool spill_folder_need(struct spill_folder *folder, int64_t number, bool needed)
{
    pthread_mutex_lock(&folder->lock);
    struct file *file = *link_of(folder, number);
    const bool found = file != NULL;
    if (found)
        file->needed = needed;
    pthread_mutex_unlock(&folder->lock);
    return found;
}

void spill_folder_remove(struct spill_folder *folder, int64_t number, const char *cause)
{
    pthread_mutex_lock(&folder->lock);
    struct file **link = link_of(folder, number);
    if (*link)
        remove_at(folder, link, cause);
    pthread_mutex_unlock(&folder->lock);
}

void spill_folder_taken(struct spill_folder *folder)
{
    pthread_mutex_lock(&folder->lock);
    folder->did.taken++;
    pthread_mutex_unlock(&folder->lock);
}

void spill_folder_facts(struct spill_folder *folder, struct spill_facts *facts)
{
    pthread_mutex_lock(&folder->lock);
    *facts = folder->did;
    facts->bytes = folder->bytes;
    for (const struct file *file = folder->first; file; file = file->next)
        facts->files++;
    pthread_mutex_unlock(&folder->lock);
}
