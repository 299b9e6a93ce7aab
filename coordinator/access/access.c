/* Owns what the file of tenants said when it was last good. Promises that a secret is compared by
 * its digest, in a time that does not depend on it, and is never logged or quoted. */
#include "coordinator/access/access.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/crypto.h>
#include <openssl/sha.h>

#include "coordinator/access/access_file.h"
#include "proto/clock.h"
#include "proto/log.h"

/* How often the file is looked at, while anybody asks. */
#define LOOK_NS INT64_C(1000000000)

/* By which a file is known to be another one. */
struct stamp {
    dev_t device;
    ino_t inode;
    off_t bytes;
    struct timespec changed;
};

struct access {
    char *file; /* NULL: everybody is one tenant */
    pthread_mutex_t lock;
    struct access_list list;
    struct stamp stamp; /* of what was read last, be it good or not */
    int64_t looked_ns;
};

static_assert(ACCESS_DIGEST_BYTES == SHA256_DIGEST_LENGTH, "a digest is SHA-256");

/* ---- the file ---- */

static enum status check_trusted(const struct stat *about, const char *file)
{
    if (!S_ISREG(about->st_mode))
        return fail(STATUS_FAILED_PRECONDITION, "the access file %s is not a regular file", file);
    if (about->st_uid != geteuid() && about->st_uid != 0)
        return fail(STATUS_FAILED_PRECONDITION,
                    "the access file %s belongs to user %u, neither to %u, who runs this, nor to "
                    "root",
                    file, (unsigned)about->st_uid, (unsigned)geteuid());
    if (about->st_mode & (S_IWGRP | S_IWOTH))
        return fail(STATUS_FAILED_PRECONDITION,
                    "other users could write the access file %s (mode %04o): chmod 600 it", file,
                    (unsigned)about->st_mode & 07777);
    return STATUS_OK;
}

static struct stamp stamp_of(const struct stat *about)
{
    return (struct stamp){about->st_dev, about->st_ino, about->st_size, about->st_mtim};
}

/* The whole file; the caller frees `*text`. */
static enum status read_text(int descriptor, const char *file, char **text, size_t *bytes)
{
    char *all = malloc(ACCESS_FILE_BYTES_MAX + 1);
    size_t got = 0;
    if (!all)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", file);
    while (got <= ACCESS_FILE_BYTES_MAX) {
        ssize_t more = read(descriptor, all + got, ACCESS_FILE_BYTES_MAX + 1 - got);
        if (more < 0 && errno == EINTR)
            continue;
        if (more < 0) {
            free(all);
            return fail(STATUS_IO, "read the access file %s: %s", file, strerror(errno));
        }
        if (more == 0)
            break;
        got += (size_t)more;
    }
    *text = all;
    *bytes = got;
    return STATUS_OK;
}

static enum status read_file(struct access_list *list, struct stamp *stamp, const char *file)
{
    char *text = NULL;
    size_t bytes = 0;
    struct stat about;
    *list = (struct access_list){0};
    int descriptor = open(file, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0)
        return fail(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_FAILED_PRECONDITION,
                    "open the access file %s: %s", file, strerror(errno));
    enum status status = STATUS_OK;
    if (fstat(descriptor, &about) != 0)
        TRY_ELSE(fail(STATUS_IO, "look at %s: %s", file, strerror(errno)), close_file);
    *stamp = stamp_of(&about);
    TRY_ELSE(check_trusted(&about, file), close_file);
    TRY_ELSE(read_text(descriptor, file, &text, &bytes), close_file);
    status = access_file_parse(list, file, text, bytes);
    free(text);
    if (status != STATUS_OK)
        access_list_deinit(list);
close_file:
    close(descriptor);
    return status;
}

enum status access_open(struct access **access, const char *file)
{
    struct access *a = calloc(1, sizeof *a);
    if (!a)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the tenants");
    pthread_mutex_init(&a->lock, NULL);
    enum status status = STATUS_OK;
    if (file[0]) {
        a->file = strdup(file);
        a->looked_ns = clock_now_ns();
        status = a->file ? read_file(&a->list, &a->stamp, file)
                         : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the tenants");
    }
    if (status != STATUS_OK) {
        access_close(a);
        return status;
    }
    *access = a;
    return STATUS_OK;
}

void access_close(struct access *access)
{
    if (!access)
        return;
    access_list_deinit(&access->list);
    pthread_mutex_destroy(&access->lock);
    free(access->file);
    free(access);
}

bool access_has_tenants(const struct access *access)
{
    return access->file;
}

/* Reads the file again where it is another one than before. Under the lock. */
static void refresh(struct access *access)
{
    struct stat about;
    struct access_list list;
    if (clock_now_ns() - access->looked_ns < LOOK_NS)
        return;
    access->looked_ns = clock_now_ns();
    /* One that is gone for a moment is about to be replaced. */
    if (stat(access->file, &about) != 0)
        return;
    const struct stamp now = stamp_of(&about), *known = &access->stamp;
    if (now.device == known->device && now.inode == known->inode && now.bytes == known->bytes &&
        now.changed.tv_sec == known->changed.tv_sec &&
        now.changed.tv_nsec == known->changed.tv_nsec)
        return;
    access->stamp = now;
    if (read_file(&list, &access->stamp, access->file) != STATUS_OK) {
        log_line(LOG_ERROR, "access file refused", log_text("file", access->file),
                 log_text("cause", status_message()),
                 log_text("consequence", "what was read before stays in force"));
        return;
    }
    access_list_deinit(&access->list);
    access->list = list;
    log_line(LOG_INFO, "access file read", log_text("file", access->file),
             log_integer("tenants", (int64_t)list.tenant_count),
             log_integer("tokens", (int64_t)list.token_count));
}

/* ---- asking ---- */

void access_digest(char hex[2 * ACCESS_DIGEST_BYTES + 1], const char *secret, size_t bytes)
{
    uint8_t digest[ACCESS_DIGEST_BYTES];
    SHA256((const unsigned char *)secret, bytes, digest);
    for (size_t i = 0; i < sizeof digest; i++)
        snprintf(hex + 2 * i, 3, "%02x", digest[i]);
}

/* The secret of "Bearer SECRET"; false where it is none. */
static bool find_secret(const char **secret, size_t *secret_bytes, const char *said, size_t bytes)
{
    static const char scheme[] = "bearer ";
    enum { SCHEME = sizeof scheme - 1 };
    if (!said || bytes < SCHEME || strncasecmp(said, scheme, SCHEME) != 0)
        return false;
    said += SCHEME;
    bytes -= SCHEME;
    for (; bytes > 0 && *said == ' '; bytes--)
        said++;
    *secret = said;
    *secret_bytes = bytes;
    return bytes >= ACCESS_SECRET_LEAST && bytes <= ACCESS_SECRET_MOST;
}

/* The token with this digest; NULL where there is none. Looks at all of them. Under the lock. */
static const struct access_token *find_token(const struct access *access,
                                             const uint8_t digest[ACCESS_DIGEST_BYTES])
{
    const struct access_token *found = NULL;
    for (size_t i = 0; i < access->list.token_count; i++) {
        const struct access_token *token = &access->list.tokens[i];
        if (CRYPTO_memcmp(token->digest, digest, ACCESS_DIGEST_BYTES) == 0)
            found = token;
    }
    return found;
}

static enum status stranger(struct status_details *details, bool shown)
{
    details->reason = shown ? "TOKEN_UNKNOWN" : "TOKEN_MISSING";
    return fail(STATUS_UNAUTHENTICATED,
                shown ? "the token is not known here; see --token-file"
                      : "this coordinator asks for a token: send \"authorization: Bearer TOKEN\", "
                        "or give --token-file");
}

enum status access_check(struct access *access, struct access_caller *caller,
                         struct status_details *details, const char *authorization, size_t bytes,
                         unsigned scopes)
{
    if (!access->file) {
        *caller = (struct access_caller){.tenant = {.weight = 1}, .scopes = ~0u};
        return STATUS_OK;
    }
    const char *secret = NULL;
    size_t secret_bytes = 0;
    uint8_t digest[ACCESS_DIGEST_BYTES];
    if (!find_secret(&secret, &secret_bytes, authorization, bytes))
        return stranger(details, secret_bytes > 0);
    SHA256((const unsigned char *)secret, secret_bytes, digest);
    pthread_mutex_lock(&access->lock);
    refresh(access);
    const struct access_token *token = find_token(access, digest);
    if (token)
        *caller = (struct access_caller){access->list.tenants[token->tenant], token->scopes};
    pthread_mutex_unlock(&access->lock);
    if (!token)
        return stranger(details, true);
    if ((caller->scopes & scopes) == scopes)
        return STATUS_OK;
    details->reason = "SCOPE_MISSING";
    return fail(STATUS_PERMISSION_DENIED,
                "the token of tenant %s is not for this: it lacks a scope", caller->tenant.name);
}

void access_tenant(struct access *access, struct access_tenant *tenant, const char *name)
{
    *tenant = (struct access_tenant){.weight = 1};
    snprintf(tenant->name, sizeof tenant->name, "%s", name);
    if (!access->file)
        return;
    pthread_mutex_lock(&access->lock);
    refresh(access);
    const struct access_tenant *found = access_list_find(&access->list, name);
    if (found)
        *tenant = *found;
    pthread_mutex_unlock(&access->lock);
}
