/* Owns the texts of PEM files. Promises that what is handed to TLS parses, that a key is its
 * certificate's, and that nobody but the user could read the key. */
#include "coordinator/access/tls_files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include "proto/secret_file.h"

enum { FILE_BYTES_MAX = 1 << 20, CAUSE_BYTES = 256 };

static const struct secret_kind key_kind = {"private key", "--tls-key"};

/* ---- reading ---- */

static enum status read_open(int descriptor, char **text, const char *path, const char *what)
{
    struct stat about;
    if (fstat(descriptor, &about) != 0)
        return fail(STATUS_IO, "look at %s: %s", path, strerror(errno));
    if (!S_ISREG(about.st_mode) || about.st_size > FILE_BYTES_MAX)
        return fail(STATUS_INVALID_ARGUMENT,
                    "the %s %s is no PEM file: it must be a regular file "
                    "of at most %d bytes",
                    what, path, FILE_BYTES_MAX);
    char *bytes = calloc(1, FILE_BYTES_MAX + 1);
    if (!bytes)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to read %s", path);
    size_t got = 0;
    ssize_t more = 1;
    while (got < FILE_BYTES_MAX && more > 0) {
        more = read(descriptor, bytes + got, FILE_BYTES_MAX - got);
        if (more < 0 && errno == EINTR)
            more = 1;
        else if (more > 0)
            got += (size_t)more;
    }
    *text = bytes; /* freed by tls_files_free, whatever comes */
    return more < 0 ? fail(STATUS_IO, "read the %s %s: %s", what, path, strerror(errno))
                    : STATUS_OK;
}

static enum status read_text(char **text, const char *path, const char *what, bool is_key)
{
    int descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (descriptor < 0)
        return fail(errno == ENOENT ? STATUS_NOT_FOUND : STATUS_FAILED_PRECONDITION,
                    "open the %s %s: %s", what, path, strerror(errno));
    enum status status = is_key ? secret_file_check(descriptor, path, &key_kind, false) : STATUS_OK;
    if (status == STATUS_OK)
        status = read_open(descriptor, text, path, what);
    close(descriptor);
    return status;
}

/* ---- checking ---- */

/* What OpenSSL complained of last. */
static const char *cause(char text[CAUSE_BYTES])
{
    const char *reason = ERR_reason_error_string(ERR_peek_last_error());
    snprintf(text, CAUSE_BYTES, "%s", reason ? reason : "it is damaged");
    ERR_clear_error();
    return text;
}

static enum status parse_certificate(X509 **certificate, const char *text, const char *path,
                                     const char *what)
{
    char why[CAUSE_BYTES];
    BIO *bytes = BIO_new_mem_buf(text, -1);
    *certificate = bytes ? PEM_read_bio_X509(bytes, NULL, NULL, NULL) : NULL;
    BIO_free(bytes);
    return *certificate ? STATUS_OK
                        : fail(STATUS_INVALID_ARGUMENT, "the %s %s holds no certificate in PEM: %s",
                               what, path, cause(why));
}

/* A key that asks for a password gets none. */
static int no_password(char *buffer, int bytes, int writing, void *context)
{
    (void)buffer, (void)bytes, (void)writing, (void)context;
    return -1;
}

static enum status check_key(X509 *certificate, const struct tls_files *files, const char *path,
                             const char *certificate_path)
{
    char why[CAUSE_BYTES];
    BIO *bytes = BIO_new_mem_buf(files->key, -1);
    EVP_PKEY *key = bytes ? PEM_read_bio_PrivateKey(bytes, NULL, no_password, NULL) : NULL;
    BIO_free(bytes);
    if (!key)
        return fail(STATUS_INVALID_ARGUMENT,
                    "%s holds no private key in PEM without a password: %s", path, cause(why));
    const bool fits = X509_check_private_key(certificate, key) == 1;
    ERR_clear_error();
    EVP_PKEY_free(key);
    return fits ? STATUS_OK
                : fail(STATUS_INVALID_ARGUMENT, "the private key %s is not of the certificate %s",
                       path, certificate_path);
}

static enum status check_pair(const struct tls_files *files, const char *certificate,
                              const char *key)
{
    X509 *parsed = NULL;
    TRY(parse_certificate(&parsed, files->certificate, certificate, "certificate"));
    enum status status = check_key(parsed, files, key, certificate);
    X509_free(parsed);
    return status;
}

enum status tls_files_read(struct tls_files *files, const char *certificate, const char *key,
                           const char *authority)
{
    *files = (struct tls_files){0};
    if (!certificate[0] != !key[0])
        return fail(STATUS_INVALID_ARGUMENT,
                    "a certificate and its private key go together: give both --tls-cert and "
                    "--tls-key");
    if (certificate[0]) {
        TRY(read_text(&files->certificate, certificate, "certificate", false));
        TRY(read_text(&files->key, key, key_kind.name, true));
        TRY(check_pair(files, certificate, key));
    }
    if (authority[0]) {
        X509 *parsed = NULL;
        TRY(read_text(&files->authority, authority, "authority", false));
        TRY(parse_certificate(&parsed, files->authority, authority, "authority"));
        X509_free(parsed);
    }
    return STATUS_OK;
}

void tls_files_free(struct tls_files *files)
{
    if (files->key)
        explicit_bzero(files->key, FILE_BYTES_MAX);
    free(files->certificate);
    free(files->key);
    free(files->authority);
    *files = (struct tls_files){0};
}

struct rpc_tls tls_files_tls(const struct tls_files *files)
{
    return (struct rpc_tls){files->certificate, files->key, files->authority};
}
