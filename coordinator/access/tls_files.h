/* The files of one end of TLS: certificates and keys in PEM, read and checked before a port or a
 * connection needs them. */
#pragma once

#include "proto/rpc/rpc_tls.h"
#include "proto/status.h"

struct tls_files {
    char *certificate, *key, *authority; /* texts; NULL where no file was named */
};

/* Reads those that are named ("": none): a certificate with its private key, both or neither, and
 * certificates of an authority. NOT_FOUND, FAILED_PRECONDITION for a key that others can read,
 * INVALID_ARGUMENT for what is no PEM, and for a key of another certificate. The caller calls
 * tls_files_free, also after a failure. */
MUST_CHECK enum status tls_files_read(struct tls_files *files, const char *certificate,
                                      const char *key, const char *authority);
void tls_files_free(struct tls_files *files);

/* Borrows the texts. */
struct rpc_tls tls_files_tls(const struct tls_files *files);
