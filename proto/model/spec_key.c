/* Owns nothing: what a name alone tells of a key, and the warning of those that are not known. */
#include "proto/model/spec_key.h"

#include <stdio.h>
#include <string.h>

#include "proto/log.h"

static bool begins(struct text_view key, const char *word)
{
    return key.bytes >= strlen(word) && memcmp(key.text, word, strlen(word)) == 0;
}

static bool contains(struct text_view key, const char *word)
{
    for (size_t i = 0; i + strlen(word) <= key.bytes; i++)
        if (memcmp(key.text + i, word, strlen(word)) == 0)
            return true;
    return false;
}

bool spec_key_may_matter(struct text_view key)
{
    return begins(key, "rope") || begins(key, "attention") || contains(key, "scal") ||
           contains(key, "softcap");
}

void spec_keys_unknown_add(struct spec_keys_unknown *unknown, struct text_view key)
{
    const size_t room = sizeof unknown->names - unknown->used;
    unknown->count++;
    if (key.bytes + 3 > room)
        return;
    unknown->used += (size_t)snprintf(unknown->names + unknown->used, room, "%s%.*s",
                                      unknown->used > 0 ? ", " : "", (int)key.bytes, key.text);
}

void spec_keys_unknown_tell(const struct spec_keys_unknown *unknown)
{
    if (unknown->count > 0)
        log_line(LOG_WARN, "keys of the model are not known", log_text("file", unknown->file),
                 log_integer("keys", unknown->count), log_text("names", unknown->names));
}
