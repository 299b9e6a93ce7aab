/* Owns the list of tokens that are matched whole. Promises leftmost, then longest, as PyPI
 * `tokenizers` matches. */
#include "coordinator/text/whole_tokens.h"

#include <stdlib.h>
#include <string.h>

#include "coordinator/text/token_table.h"

struct entry {
    const char *text;
    size_t bytes;
    int32_t id;
    bool control;
};

struct whole_tokens {
    struct entry *entries; /* by first byte, then the longer first */
    size_t first[257];     /* the entries of first byte b are [first[b], first[b + 1]) */
};

static int by_first_byte_then_length(const void *left, const void *right)
{
    const struct entry *a = left;
    const struct entry *b = right;
    if (a->text[0] != b->text[0])
        return (uint8_t)a->text[0] < (uint8_t)b->text[0] ? -1 : 1;
    if (a->bytes != b->bytes)
        return a->bytes > b->bytes ? -1 : 1;
    return (a->id > b->id) - (a->id < b->id);
}

static size_t gather(struct entry *entries, const struct token_table *table)
{
    size_t count = 0;
    for (int32_t id = 0; id < token_table_count(table); id++) {
        if (!token_table_is_whole(table, id))
            continue;
        struct entry entry = {.id = id, .control = token_table_is_control(table, id)};
        entry.text = token_table_bytes(table, id, &entry.bytes);
        if (entry.bytes == 0)
            continue;
        if (entries)
            entries[count] = entry;
        count++;
    }
    return count;
}

enum status whole_tokens_create(struct whole_tokens **tokens, const struct token_table *table)
{
    size_t count = gather(NULL, table);
    struct whole_tokens *created = calloc(1, sizeof *created);
    struct entry *entries = calloc(count + 1, sizeof *entries);
    if (!created || !entries) {
        free(created);
        free(entries);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu control tokens", count);
    }
    gather(entries, table);
    qsort(entries, count, sizeof *entries, by_first_byte_then_length);
    size_t next = 0;
    for (int byte = 0; byte <= 256; byte++) {
        while (next < count && (uint8_t)entries[next].text[0] < byte)
            next++;
        created->first[byte] = next;
    }
    created->entries = entries;
    *tokens = created;
    return STATUS_OK;
}

void whole_tokens_destroy(struct whole_tokens *tokens)
{
    if (!tokens)
        return;
    free(tokens->entries);
    free(tokens);
}

static const struct entry *match(const struct whole_tokens *tokens, const char *text, size_t bytes,
                                 bool control)
{
    uint8_t byte = (uint8_t)text[0];
    for (size_t i = tokens->first[byte]; i < tokens->first[byte + 1]; i++) {
        const struct entry *entry = &tokens->entries[i];
        if (entry->control && !control)
            continue;
        if (entry->bytes <= bytes && memcmp(entry->text, text, entry->bytes) == 0)
            return entry;
    }
    return NULL;
}

size_t whole_tokens_find(const struct whole_tokens *tokens, int32_t *id, size_t *length,
                         const char *text, size_t from, size_t bytes, bool control)
{
    for (size_t place = from; place < bytes; place++) {
        const struct entry *entry = match(tokens, text + place, bytes - place, control);
        if (!entry)
            continue;
        *id = entry->id;
        *length = entry->bytes;
        return place;
    }
    return bytes;
}

int32_t whole_tokens_control_id(const struct whole_tokens *tokens, const char *text, size_t bytes)
{
    const struct entry *entry = bytes > 0 ? match(tokens, text, bytes, true) : NULL;
    return entry && entry->bytes == bytes && entry->control ? entry->id : -1;
}
