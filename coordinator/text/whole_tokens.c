/* Owns the tokens that are matched whole, as a tree of their bytes. Promises leftmost, then
 * longest, as PyPI `tokenizers` matches, in time that does not depend on how many there are. */
#include "coordinator/text/whole_tokens.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "coordinator/text/number_map.h"
#include "coordinator/text/white_space.h"
#include "coordinator/text/word_character.h"
#include "proto/model/vocab.h"

enum { NONE = -1, ROOT = 0 };

struct whole_tokens {
    struct number_map children; /* by node << 8 | byte */
    struct number_map ends;     /* node -> index into entries */
    struct whole_tokens_entry *entries;
    bool starts[256]; /* some token begins with this byte */
};

static enum status add(struct whole_tokens *tokens, const struct whole_tokens_entry *entries,
                       size_t index, int32_t *nodes)
{
    const struct whole_tokens_entry *entry = &entries[index];
    int32_t node = ROOT;
    if (entry->bytes > WHOLE_TOKENS_BYTES_MAX)
        return fail(STATUS_DATA_LOSS,
                    "token %d, which is looked for whole, has %zu bytes; at most %d are read",
                    entry->id, entry->bytes, WHOLE_TOKENS_BYTES_MAX);
    for (size_t i = 0; i < entry->bytes; i++) {
        uint64_t key = (uint64_t)node << 8 | (uint8_t)entry->text[i];
        node = number_map_find(&tokens->children, key);
        if (node == NONE) {
            node = ++*nodes;
            TRY(number_map_set(&tokens->children, key, node));
        }
    }
    tokens->entries[index] = *entry;
    tokens->entries[index].text = NULL;
    if (entry->bytes == 0 || number_map_find(&tokens->ends, (uint64_t)node) != NONE)
        return STATUS_OK;
    tokens->starts[(uint8_t)entry->text[0]] = true;
    return number_map_set(&tokens->ends, (uint64_t)node, (int32_t)index);
}

enum status whole_tokens_create(struct whole_tokens **tokens,
                                const struct whole_tokens_entry *entries, size_t count)
{
    struct whole_tokens *created = calloc(1, sizeof *created);
    if (!created)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for control tokens");
    created->entries = calloc(count + 1, sizeof *created->entries);
    enum status status = created->entries
                             ? STATUS_OK
                             : fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu tokens", count);
    int32_t nodes = ROOT;
    for (size_t i = 0; status == STATUS_OK && i < count; i++)
        status = add(created, entries, i, &nodes);
    if (status != STATUS_OK) {
        whole_tokens_destroy(created);
        return status;
    }
    *tokens = created;
    return STATUS_OK;
}

void whole_tokens_destroy(struct whole_tokens *tokens)
{
    if (!tokens)
        return;
    number_map_deinit(&tokens->children);
    number_map_deinit(&tokens->ends);
    free(tokens->entries);
    free(tokens);
}

/* The longest at the beginning of `text`; NULL where there is none. */
static const struct whole_tokens_entry *match(const struct whole_tokens *tokens, const char *text,
                                              size_t bytes, bool control)
{
    const struct whole_tokens_entry *longest = NULL;
    int32_t node = ROOT;
    for (size_t i = 0; i < bytes; i++) {
        node = number_map_find(&tokens->children, (uint64_t)node << 8 | (uint8_t)text[i]);
        if (node == NONE)
            break;
        int32_t index = number_map_find(&tokens->ends, (uint64_t)node);
        if (index != NONE && (control || !tokens->entries[index].control))
            longest = &tokens->entries[index];
    }
    return longest;
}

static bool stands_alone(const char *text, size_t bytes, size_t first, size_t end)
{
    int32_t point;
    if (end < bytes &&
        utf8proc_iterate((const uint8_t *)text + end, (utf8proc_ssize_t)(bytes - end), &point) >
            0 &&
        word_character_is(point))
        return false;
    size_t before = first;
    while (before > 0 && ((uint8_t)text[--before] & 0xC0) == 0x80)
        ;
    return before == first ||
           utf8proc_iterate((const uint8_t *)text + before, (utf8proc_ssize_t)(first - before),
                            &point) <= 0 ||
           !word_character_is(point);
}

struct whole_tokens_found whole_tokens_find(const struct whole_tokens *tokens, const char *text,
                                            size_t bytes, size_t from, size_t taken, bool control)
{
    for (size_t place = from; place < bytes; place++) {
        if (!tokens->starts[(uint8_t)text[place]])
            continue;
        const struct whole_tokens_entry *entry =
            match(tokens, text + place, bytes - place, control);
        if (!entry)
            continue;
        struct whole_tokens_found found = {place, place + entry->bytes, place + entry->bytes,
                                           entry->id};
        if ((entry->match & VOCAB_SINGLE_WORD) &&
            !stands_alone(text, bytes, found.first, found.end)) {
            place = found.next - 1;
            continue;
        }
        if (entry->match & VOCAB_LSTRIP)
            found.first = white_space_before(text, found.first, taken);
        if (entry->match & VOCAB_RSTRIP)
            found.end = white_space_behind(text, found.end, bytes);
        return found;
    }
    return (struct whole_tokens_found){bytes, bytes, bytes, NONE};
}

int32_t whole_tokens_control_id(const struct whole_tokens *tokens, const char *text, size_t bytes)
{
    int32_t node = ROOT;
    for (size_t i = 0; i < bytes && node != NONE; i++)
        node = number_map_find(&tokens->children, (uint64_t)node << 8 | (uint8_t)text[i]);
    int32_t index = node == NONE ? NONE : number_map_find(&tokens->ends, (uint64_t)node);
    return index != NONE && tokens->entries[index].control ? tokens->entries[index].id : NONE;
}
