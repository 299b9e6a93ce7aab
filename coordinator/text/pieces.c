/* Owns the characters of a vocabulary that has no words. Promises the ids of merging a text as one
 * word, at the cost of short ones: a text is cut where two characters meet that are neighbours in
 * no token that a merge makes, since no merge reaches across. */
#include "coordinator/text/pieces.h"

#include <assert.h>
#include <stdint.h>
#include <stdlib.h>
#include <utf8proc.h>

#include "coordinator/text/number_map.h"

enum { SPACE = 0x2581 };

struct pieces {
    struct bpe *bpe;
    struct number_map characters; /* a character -> its id */
    struct number_map neighbours; /* two characters, the first << 32 */
    int32_t byte_ids[256];
    bool spaces_begin_words;
};

static uint64_t pair_of(int32_t left, int32_t right)
{
    return (uint64_t)(uint32_t)left << 32 | (uint32_t)right;
}

/* The next character of text that is UTF-8. */
static int32_t next_character(const char *text, size_t bytes, size_t *place)
{
    int32_t point;
    utf8proc_ssize_t length = utf8proc_iterate((const uint8_t *)text + *place,
                                               (utf8proc_ssize_t)(bytes - *place), &point);
    assert(length > 0);
    *place += (size_t)length;
    return point;
}

static enum status take_neighbours(struct pieces *pieces, struct vocab_token token)
{
    size_t place = 0;
    int32_t left = next_character(token.text, token.bytes, &place);
    while (place < token.bytes) {
        int32_t right = next_character(token.text, token.bytes, &place);
        TRY(number_map_set(&pieces->neighbours, pair_of(left, right), 0));
        left = right;
    }
    return STATUS_OK;
}

static enum status take_character(struct pieces *pieces, struct vocab_token token, int32_t id)
{
    int32_t point;
    if (token.type != VOCAB_NORMAL && token.type != VOCAB_USER_DEFINED)
        return STATUS_OK;
    if (token.bytes == 0 ||
        utf8proc_iterate((const uint8_t *)token.text, (utf8proc_ssize_t)token.bytes, &point) !=
            (utf8proc_ssize_t)token.bytes)
        return STATUS_OK;
    return number_map_set(&pieces->characters, (uint64_t)point, id);
}

static enum status take_bytes(struct pieces *pieces, const struct token_table *table)
{
    for (int byte = 0; byte < 256; byte++) {
        pieces->byte_ids[byte] = token_table_find_byte(table, (uint8_t)byte);
        if (pieces->byte_ids[byte] < 0)
            return fail(STATUS_UNIMPLEMENTED,
                        "the vocabulary has no token <0x%02X>: characters without a token need one "
                        "for each byte",
                        (unsigned)byte);
    }
    return STATUS_OK;
}

static enum status fill(struct pieces *pieces, const struct token_table *table,
                        const struct vocab *vocab, const struct merge_list *merges)
{
    TRY(take_bytes(pieces, table));
    for (int32_t id = 0; id < vocab_count(vocab); id++)
        TRY(take_character(pieces, vocab_token(vocab, id), id));
    for (size_t i = 0; i < merges->count; i++)
        if (i == 0 || merges->merges[i].result != merges->merges[i - 1].result)
            TRY(take_neighbours(pieces, vocab_token(vocab, merges->merges[i].result)));
    pieces->spaces_begin_words = vocab_metaspace_splits(vocab);
    return bpe_create(&pieces->bpe, merges->merges, merges->count, NULL);
}

enum status pieces_create(struct pieces **created, const struct token_table *table,
                          const struct vocab *vocab, const struct merge_list *merges)
{
    struct pieces *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a tokenizer");
    enum status status = fill(made, table, vocab, merges);
    if (status != STATUS_OK) {
        pieces_destroy(made);
        return status;
    }
    *created = made;
    return STATUS_OK;
}

void pieces_destroy(struct pieces *pieces)
{
    if (!pieces)
        return;
    bpe_destroy(pieces->bpe);
    number_map_deinit(&pieces->characters);
    number_map_deinit(&pieces->neighbours);
    free(pieces);
}

/* A symbol that no merge took: a character that is no token. */
static enum status add_bytes(const struct pieces *pieces, struct id_list *ids, int32_t point)
{
    uint8_t encoded[4];
    utf8proc_ssize_t length = utf8proc_encode_char(point, encoded);
    for (utf8proc_ssize_t i = 0; i < length; i++)
        TRY(id_list_add(ids, pieces->byte_ids[encoded[i]]));
    return STATUS_OK;
}

/* Merges the symbols that were gathered, and forgets them. */
static enum status end_word(const struct pieces *pieces, struct pieces_scratch *scratch,
                            struct id_list *ids)
{
    scratch->merged.count = 0;
    TRY(bpe_encode_symbols(pieces->bpe, &scratch->bpe, &scratch->merged, scratch->symbols.ids,
                           scratch->symbols.count));
    for (size_t i = 0; i < scratch->merged.count; i++) {
        int32_t symbol = scratch->merged.ids[i];
        TRY(symbol >= 0 ? id_list_add(ids, symbol) : add_bytes(pieces, ids, ~symbol));
    }
    scratch->symbols.count = 0;
    return STATUS_OK;
}

static bool begins_word(const struct pieces *pieces, int32_t left, int32_t right)
{
    return (pieces->spaces_begin_words && right == SPACE) ||
           number_map_find(&pieces->neighbours, pair_of(left, right)) < 0;
}

enum status pieces_encode(const struct pieces *pieces, struct pieces_scratch *scratch,
                          struct id_list *ids, const char *text, size_t bytes,
                          size_t word_bytes_max)
{
    int32_t before = 0;
    size_t word = 0;
    scratch->symbols.count = 0;
    for (size_t place = 0; place < bytes;) {
        size_t start = place;
        int32_t point = next_character(text, bytes, &place);
        if (scratch->symbols.count > 0 && begins_word(pieces, before, point)) {
            TRY(end_word(pieces, scratch, ids));
            word = start;
        }
        if (place - word > word_bytes_max)
            return fail(STATUS_OUT_OF_RANGE,
                        "the text has a run of more than %zu bytes without a break between words",
                        word_bytes_max);
        int32_t id = number_map_find(&pieces->characters, (uint64_t)point);
        TRY(id_list_add(&scratch->symbols, id >= 0 ? id : ~point));
        before = point;
    }
    return scratch->symbols.count > 0 ? end_word(pieces, scratch, ids) : STATUS_OK;
}

void pieces_scratch_deinit(struct pieces_scratch *scratch)
{
    bpe_scratch_deinit(&scratch->bpe);
    id_list_deinit(&scratch->symbols);
    id_list_deinit(&scratch->merged);
}
