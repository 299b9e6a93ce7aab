/* The access file over any bytes: it is refused with a sentence, or gives a list in which every
 * token has a tenant and every tenant is found by its name. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/access/access_file.h"
#include "tests/fuzz/fuzz.h"

#define DIGEST "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char *const seeds[] = {
    "tenant a weight=2 queued-requests=3 # x\ntoken a sha256=" DIGEST " scopes=inference,admin\n",
    "tenant a\r\ntenant b stored-bytes=9223372036854775807\n\n\ntoken b sha256=" DIGEST,
    "token a sha256=" DIGEST,
    "tenant a running-requests=00000000000000000001 queued-tokens=18446744073709551616",
};

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if ((size_t)index >= sizeof seeds / sizeof seeds[0])
        return 0;
    const size_t bytes = strlen(seeds[index]);
    if (bytes > room)
        return 0;
    memcpy(data, seeds[index], bytes);
    return bytes;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t bytes)
{
    struct access_list list;
    const enum status status = access_file_parse(&list, "FILE", (const char *)data, bytes);
    if (status != STATUS_OK && (status != STATUS_INVALID_ARGUMENT || !status_message()[0]))
        abort();
    for (size_t i = 0; status == STATUS_OK && i < list.tenant_count; i++) {
        const struct access_tenant *tenant = &list.tenants[i];
        if (!access_is_name(tenant->name) || access_list_find(&list, tenant->name) != tenant ||
            tenant->weight < 1)
            abort();
    }
    for (size_t i = 0; status == STATUS_OK && i < list.token_count; i++)
        if (list.tokens[i].tenant >= list.tenant_count || list.tokens[i].scopes == 0)
            abort();
    access_list_deinit(&list);
    return 0;
}
