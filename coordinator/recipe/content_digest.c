/* Owns the reading of whole files. Promises the same digest for the same content, in whatever
 * sequence a folder lists its files. */
#include "coordinator/recipe/content_digest.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <xxhash.h>

enum { BUFFER_BYTES = 1 << 20, PATH_ROOM = 4096 };

static enum status failed(const char *path)
{
    return fail(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_IO, "read %s: %s", path,
                strerror(errno));
}

static enum status add_file(XXH3_state_t *digest, const char *path)
{
    FILE *file = fopen(path, "rbe");
    char *buffer = malloc(BUFFER_BYTES);
    enum status status = STATUS_OK;
    if (!file)
        status = failed(path);
    else if (!buffer)
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", path);
    for (size_t got = 1; status == STATUS_OK && got > 0;) {
        got = fread(buffer, 1, BUFFER_BYTES, file);
        XXH3_128bits_update(digest, buffer, got);
        if (ferror(file))
            status = failed(path);
    }
    free(buffer);
    if (file)
        fclose(file);
    return status;
}

static int is_named(const struct dirent *entry)
{
    return entry->d_name[0] != '.';
}

static enum status add_folder(XXH3_state_t *digest, const char *path)
{
    struct dirent **entries;
    char file[PATH_ROOM];
    struct stat facts;
    const int count = scandir(path, &entries, is_named, alphasort);
    enum status status = count < 0 ? failed(path) : STATUS_OK;
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        const int bytes = snprintf(file, sizeof file, "%s/%s", path, name);
        if (status == STATUS_OK && bytes < PATH_ROOM && stat(file, &facts) == 0 &&
            S_ISREG(facts.st_mode)) {
            XXH3_128bits_update(digest, name, strlen(name) + 1);
            XXH3_128bits_update(digest, &facts.st_size, sizeof facts.st_size);
            status = add_file(digest, file);
        }
        free(entries[i]);
    }
    if (count >= 0)
        free(entries);
    return status;
}

enum status content_digest(char hex[CONTENT_DIGEST_BYTES], const char *path)
{
    struct stat facts;
    XXH3_state_t *digest = XXH3_createState();
    if (!digest)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the digest of %s", path);
    XXH3_128bits_reset(digest);
    enum status status;
    if (stat(path, &facts) != 0)
        status = failed(path);
    else
        status = S_ISDIR(facts.st_mode) ? add_folder(digest, path) : add_file(digest, path);
    const XXH128_hash_t hash = XXH3_128bits_digest(digest);
    XXH3_freeState(digest);
    if (status == STATUS_OK)
        snprintf(hex, CONTENT_DIGEST_BYTES, "%016llx%016llx", (unsigned long long)hash.high64,
                 (unsigned long long)hash.low64);
    return status;
}
