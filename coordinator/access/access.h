/* Who may ask: tenants, their tokens, scopes and quotas, for gRPC and HTTP alike.
 *
 * They stand in a file, one a line; words after the first two are KEY=VALUE in any order, and "#"
 * begins a comment:
 *
 *   tenant NAME [weight=N] [queued-requests=N] [queued-tokens=N] [running-requests=N]
 *               [stored-bytes=N] [session-tokens=N]
 *   token NAME sha256=HEX [scopes=WORD,WORD,...]
 *
 * NAME is [a-z]([a-z0-9-]{0,61}[a-z0-9]); a tenant stands before its tokens, of which it may have
 * several. A token is a secret of 32 to 256 printable characters; the file knows its SHA-256 alone
 * (`longhaul token` makes both). Without scopes a token has inference, batches and documents. The
 * file must belong to the user or to root, and nobody else may write it. It is read again when it
 * has changed; one that is wrong then leaves what was read before in force, and is logged.
 *
 * Without a file there is one tenant, "", whom everybody is, with all scopes and no quotas.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/rpc/status_details.h"
#include "proto/status.h"

enum {
    ACCESS_TENANT_BYTES = 64, /* of a name, with its 0 */
    ACCESS_SECRET_LEAST = 32,
    ACCESS_SECRET_MOST = 256,
    ACCESS_WEIGHT_MOST = 1000,
    ACCESS_TENANTS_MAX = 1024,
    ACCESS_TOKENS_MAX = 4096,
    ACCESS_FILE_BYTES_MAX = 1 << 20,
    ACCESS_DIGEST_BYTES = 32,
};

/* What a token is for; a mask. */
enum access_scope {
    ACCESS_INFERENCE = 1,
    ACCESS_BATCHES = 2,
    ACCESS_DOCUMENTS = 4,
    ACCESS_METRICS = 8, /* /metrics and the page: figures of all tenants together */
    ACCESS_ADMIN = 16,  /* drain; sees and cancels every tenant's requests */
};

/* 0: no limit. */
struct access_quotas {
    int64_t queued_requests;  /* that wait at a time */
    int64_t queued_tokens;    /* of those together: prompts and the longest answers asked for */
    int64_t running_requests; /* that workers answer at a time */
    int64_t stored_bytes;     /* of its documents, batches and results together */
    int64_t session_tokens;   /* of its sessions together */
};

struct access_tenant {
    char name[ACCESS_TENANT_BYTES];
    int weight; /* its share of the workers' tokens beside other tenants; 1 where none is given */
    struct access_quotas quotas;
};

struct access_caller {
    struct access_tenant tenant;
    unsigned scopes; /* of enum access_scope */
};

struct access;

/* Reads the file; "" is none. NOT_FOUND without it, FAILED_PRECONDITION when others could have
 * written it, INVALID_ARGUMENT with "FILE:LINE: what is wrong". */
MUST_CHECK enum status access_open(struct access **access, const char *file);

/* NULL is accepted. */
void access_close(struct access *access);

/* Whether tenants are told apart: false without a file. */
bool access_has_tenants(const struct access *access);

/* Who sends "Bearer SECRET" as `authorization` (gRPC's metadata or HTTP's header of that name; NULL
 * and 0 where there is none), and whether it may do what is in `scopes`, all of it. UNAUTHENTICATED
 * for strangers, PERMISSION_DENIED where a scope is missing, with `details` filled. From any
 * thread; takes the same time whichever token it is. */
MUST_CHECK enum status access_check(struct access *access, struct access_caller *caller,
                                    struct status_details *details, const char *authorization,
                                    size_t bytes, unsigned scopes);

/* What the file says of a tenant, for work that outlives its caller. Of one that is not in it (any
 * more): weight 1, no quotas. From any thread. */
void access_tenant(struct access *access, struct access_tenant *tenant, const char *name);

/* ---- for `longhaul token` and tests ---- */

/* Whether it can be a tenant's name. */
bool access_is_name(const char *name);

/* A mask from words parted by commas. INVALID_ARGUMENT with the word that is none. */
MUST_CHECK enum status access_parse_scopes(unsigned *scopes, const char *text, size_t bytes);

/* As the file has it: 64 hexadecimal digits. */
void access_digest(char hex[2 * ACCESS_DIGEST_BYTES + 1], const char *secret, size_t bytes);
