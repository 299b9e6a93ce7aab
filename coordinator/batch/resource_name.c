/* Owns nothing. Promises that an id that comes out has the letters that ids have, and no more of
 * them. */
#include "coordinator/batch/resource_name.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

enum { CHOSEN_LEAST = 4, ID_MOST = 63 };

static const char letters[] = "abcdefghijklmnopqrstuvwxyz";
static const char inside[] = "abcdefghijklmnopqrstuvwxyz0123456789-";
static const char any[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_";

enum status resource_name_id(const char **id, const char *name, const char *collection)
{
    const size_t bytes = strlen(collection);
    const bool begins = strncmp(name, collection, bytes) == 0 && name[bytes] == '/';
    const char *rest = begins ? name + bytes + 1 : "";
    const size_t rest_bytes = strlen(rest);
    if (rest_bytes == 0 || rest_bytes > ID_MOST || rest[strspn(rest, any)])
        return fail(STATUS_INVALID_ARGUMENT, "name is \"%.80s\"; must be %s/ID", name, collection);
    *id = rest;
    return STATUS_OK;
}

enum status resource_name_check_chosen(const char *id)
{
    const size_t bytes = strlen(id);
    if (bytes == 0)
        return STATUS_OK;
    if (bytes >= CHOSEN_LEAST && bytes <= ID_MOST && strchr(letters, id[0]) &&
        !id[strspn(id, inside)] && id[bytes - 1] != '-')
        return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT,
                "the id \"%.80s\" is none: %d to %d small letters, digits and hyphens, a letter "
                "first and no hyphen last",
                id, CHOSEN_LEAST, ID_MOST);
}

void resource_name_write(char name[RESOURCE_NAME_BYTES], const char *collection, const char *id)
{
    snprintf(name, RESOURCE_NAME_BYTES, "%s/%s", collection, id);
}
