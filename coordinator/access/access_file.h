/* The file of tenants and tokens, as it is read (access.h has its form). */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "coordinator/access/access.h"

struct access_token {
    uint8_t digest[ACCESS_DIGEST_BYTES];
    size_t tenant; /* of the list's */
    unsigned scopes;
};

struct access_list {
    struct access_tenant *tenants; /* [tenant_count] */
    size_t tenant_count;
    struct access_token *tokens; /* [token_count] */
    size_t token_count;
};

/* Reads text [bytes], which need not be terminated; `name` stands for the file in sentences.
 * INVALID_ARGUMENT with "NAME:LINE: what is wrong". The caller calls access_list_deinit, also after
 * a failure. */
MUST_CHECK enum status access_file_parse(struct access_list *list, const char *name,
                                         const char *text, size_t bytes);

void access_list_deinit(struct access_list *list);

/* NULL where there is none of that name. */
const struct access_tenant *access_list_find(const struct access_list *list, const char *name);
