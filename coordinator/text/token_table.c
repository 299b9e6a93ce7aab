/* Owns the bytes of every token and the table spelling -> id. Promises that every id below the
 * count has bytes, possibly none, and that a token that is not spelt in the alphabet stands for its
 * spelling itself, as PyPI `tokenizers` decodes it.
 */
#include "coordinator/text/token_table.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/text/secret_hash.h"
#include "coordinator/text/turn_mark.h"
#include "proto/model/vocab.h"

enum { NONE = -1, ALPHABET_END = 0x144 };

struct token_table {
    bool is_pieces;            /* spelt in characters, not in the alphabet */
    const struct vocab *vocab; /* NULL once the spellings are forgotten */
    /* Ids by hash of their spelling, later those of words by hash of their bytes, or NULL; open
     * addressing, at most half full. */
    int32_t *slots;
    uint32_t mask;
    struct secret_hash_key key;
    int32_t count;
    char *bytes;    /* all tokens side by side */
    size_t *starts; /* [count + 1] into bytes */
    uint8_t *types; /* [count] enum vocab_type */
    bool *words;    /* [count] a normal token spelt in the alphabet: a word may be it */
    /* The byte that a character stands for, NONE where it stands for none. */
    int16_t byte_of[ALPHABET_END];
    uint16_t character_of[256];
};

/* GPT-2's alphabet: printable Latin-1 stands for itself, the other 68 bytes for U+0100 upwards, in
 * order. */
static void alphabet_fill(struct token_table *table)
{
    for (int i = 0; i < ALPHABET_END; i++)
        table->byte_of[i] = NONE;
    uint16_t next = 0x100;
    for (int byte = 0; byte < 256; byte++) {
        bool itself = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
        uint16_t character = itself ? (uint16_t)byte : next++;
        table->character_of[byte] = character;
        table->byte_of[character] = (int16_t)byte;
    }
    assert(next == ALPHABET_END);
}

/* Decodes UTF-8 of one or two bytes, all that the alphabet needs. */
static int alphabet_byte(const struct token_table *table, const uint8_t *text, size_t bytes,
                         size_t *used)
{
    unsigned character = text[0];
    *used = 1;
    if (text[0] >= 0xC2 && text[0] <= 0xDF && bytes > 1) {
        character = (text[0] & 0x1Fu) << 6 | (text[1] & 0x3Fu);
        *used = 2;
    } else if (text[0] >= 0x80) {
        return NONE;
    }
    return character < ALPHABET_END ? table->byte_of[character] : NONE;
}

/* Writes at most `bytes` bytes; returns how many. What is not spelt in the alphabet is copied. */
static size_t decode(const struct token_table *table, char *out, bool *is_spelt, const char *text,
                     size_t bytes)
{
    size_t written = 0;
    size_t used;
    for (size_t i = 0; i < bytes; i += used) {
        int byte = alphabet_byte(table, (const uint8_t *)text + i, bytes - i, &used);
        if (byte == NONE) {
            *is_spelt = false;
            memcpy(out, text, bytes);
            return bytes;
        }
        out[written++] = (char)byte;
    }
    *is_spelt = true;
    return written;
}

/* As SentencePiece spells: U+2581 is a space, <0x0A> the byte of a byte token. */
static size_t decode_piece(char *out, const struct vocab_token *token, int32_t byte)
{
    static const char space[] = "\u2581";
    size_t written = 0;
    if (byte != NONE) {
        out[0] = (char)byte;
        return 1;
    }
    for (size_t i = 0; i < token->bytes;) {
        bool is_space = token->bytes - i >= sizeof space - 1 &&
                        memcmp(token->text + i, space, sizeof space - 1) == 0;
        out[written++] = is_space ? ' ' : token->text[i];
        i += is_space ? sizeof space - 1 : 1;
    }
    return written;
}

/* The byte of a byte token, NONE where it is not spelt as one. */
static int32_t piece_byte(const struct vocab_token *token)
{
    static const char digits[] = "0123456789ABCDEF";
    const char *text = token->text;
    if (token->bytes != 6 || memcmp(text, "<0x", 3) != 0 || text[5] != '>')
        return NONE;
    const char *high = memchr(digits, text[3], 16);
    const char *low = memchr(digits, text[4], 16);
    return high && low ? (int32_t)((high - digits) * 16 + (low - digits)) : NONE;
}

static bool spelt(const struct vocab_token *token, const char *first, size_t first_bytes,
                  const char *second, size_t second_bytes)
{
    return token->bytes == first_bytes + second_bytes &&
           memcmp(token->text, first, first_bytes) == 0 &&
           (second_bytes == 0 || memcmp(token->text + first_bytes, second, second_bytes) == 0);
}

/* The slot that holds the spelling, or the empty one where it would be. */
static int32_t *slot_of(const struct token_table *table, const char *first, size_t first_bytes,
                        const char *second, size_t second_bytes)
{
    const uint64_t hash = secret_hash_text(&table->key, first, first_bytes, second, second_bytes);
    uint32_t place = (uint32_t)hash & table->mask;
    for (;;) {
        int32_t *slot = &table->slots[place];
        if (*slot == NONE)
            return slot;
        struct vocab_token token = vocab_token(table->vocab, *slot);
        if (spelt(&token, first, first_bytes, second, second_bytes))
            return slot;
        place = (place + 1) & table->mask;
    }
}

static enum status fill_token(struct token_table *table, const struct vocab_token *token,
                              int32_t id, size_t *place)
{
    char *out = table->bytes + *place;
    if (token->type == VOCAB_CONTROL || token->type == VOCAB_UNKNOWN ||
        (token->type == VOCAB_USER_DEFINED && !table->is_pieces)) {
        memcpy(out, token->text, token->bytes);
        *place += token->bytes;
    } else if (table->is_pieces) {
        int32_t byte = token->type == VOCAB_BYTE ? piece_byte(token) : NONE;
        if (token->type == VOCAB_BYTE && byte == NONE)
            return fail(STATUS_DATA_LOSS, "token %d is of type byte, but is spelt \"%.*s\"", id,
                        (int)(token->bytes < 64 ? token->bytes : 64), token->text);
        *place += decode_piece(out, token, byte);
    } else {
        bool is_spelt;
        *place += decode(table, out, &is_spelt, token->text, token->bytes);
        table->words[id] = is_spelt && token->type == VOCAB_NORMAL;
    }
    return STATUS_OK;
}

static enum status fill(struct token_table *table)
{
    for (size_t i = 0; i <= table->mask; i++)
        table->slots[i] = NONE;
    size_t place = 0;
    for (int32_t id = 0; id < table->count; id++) {
        struct vocab_token token = vocab_token(table->vocab, id);
        table->starts[id] = place;
        table->types[id] = (uint8_t)token.type;
        if (token.bytes == 0)
            continue;
        *slot_of(table, token.text, token.bytes, "", 0) = id;
        TRY(fill_token(table, &token, id, &place));
    }
    table->starts[table->count] = place;
    return STATUS_OK;
}

enum status token_table_create(struct token_table **table, const struct vocab *vocab)
{
    int32_t count = vocab_count(vocab);
    size_t bytes = 1;
    for (int32_t id = 0; id < count; id++)
        bytes += vocab_token(vocab, id).bytes;
    size_t slots = 16;
    while (slots < 2 * (size_t)count)
        slots *= 2;
    struct token_table *created = calloc(1, sizeof *created);
    if (!created)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a vocabulary");
    created->vocab = vocab;
    created->is_pieces = text_view_is(vocab_kind(vocab), "llama");
    created->count = count;
    created->mask = (uint32_t)(slots - 1);
    created->key = secret_hash_draw();
    created->slots = malloc(slots * sizeof *created->slots);
    created->bytes = malloc(bytes);
    created->starts = malloc(((size_t)count + 1) * sizeof *created->starts);
    created->types = malloc((size_t)count + 1);
    created->words = calloc((size_t)count + 1, sizeof *created->words);
    if (!created->slots || !created->bytes || !created->starts || !created->types ||
        !created->words) {
        token_table_destroy(created);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a vocabulary of %d tokens", count);
    }
    alphabet_fill(created);
    enum status status = fill(created);
    if (status != STATUS_OK) {
        token_table_destroy(created);
        return status;
    }
    *table = created;
    return STATUS_OK;
}

void token_table_destroy(struct token_table *table)
{
    if (!table)
        return;
    free(table->slots);
    free(table->bytes);
    free(table->starts);
    free(table->types);
    free(table->words);
    free(table);
}

int32_t token_table_find(const struct token_table *table, const char *first, size_t first_bytes,
                         const char *second, size_t second_bytes)
{
    assert(table->vocab);
    return *slot_of(table, first, first_bytes, second, second_bytes);
}

int32_t token_table_find_byte(const struct token_table *table, uint8_t byte)
{
    uint16_t character = table->character_of[byte];
    char spelling[8] = {(char)character};
    if (table->is_pieces) {
        snprintf(spelling, sizeof spelling, "<0x%02X>", byte);
        int32_t id = token_table_find(table, spelling, 6, "", 0);
        return id != NONE && table->types[id] == VOCAB_BYTE ? id : NONE;
    }
    if (character < 0x80)
        return token_table_find(table, spelling, 1, "", 0);
    spelling[0] = (char)(0xC0 | character >> 6);
    spelling[1] = (char)(0x80 | (character & 0x3F));
    return token_table_find(table, spelling, 2, "", 0);
}

/* The slot of the word, or the empty one where it would be. */
static int32_t *word_slot_of(const struct token_table *table, const char *word, size_t bytes)
{
    uint32_t place = (uint32_t)secret_hash_text(&table->key, word, bytes, "", 0) & table->mask;
    for (;;) {
        int32_t *slot = &table->slots[place];
        if (*slot == NONE)
            return slot;
        size_t token_bytes;
        const char *token = token_table_bytes(table, *slot, &token_bytes);
        if (token_bytes == bytes && memcmp(token, word, bytes) == 0)
            return slot;
        place = (place + 1) & table->mask;
    }
}

void token_table_forget_spellings(struct token_table *table, bool keep_words)
{
    table->vocab = NULL;
    if (!keep_words) {
        free(table->slots);
        table->slots = NULL;
        return;
    }
    for (uint32_t place = 0; place <= table->mask; place++)
        table->slots[place] = NONE;
    for (int32_t id = 0; id < table->count; id++) {
        size_t bytes;
        const char *token = token_table_bytes(table, id, &bytes);
        if (table->words[id])
            *word_slot_of(table, token, bytes) = id;
    }
}

int32_t token_table_find_word(const struct token_table *table, const char *word, size_t bytes)
{
    assert(!table->vocab && table->slots);
    return *word_slot_of(table, word, bytes);
}

int32_t token_table_count(const struct token_table *table)
{
    return table->count;
}

const char *token_table_bytes(const struct token_table *table, int32_t id, size_t *bytes)
{
    assert(id >= 0 && id < table->count);
    *bytes = table->starts[id + 1] - table->starts[id];
    return table->bytes + table->starts[id];
}

bool token_table_is_whole(const struct token_table *table, int32_t id)
{
    assert(id >= 0 && id < table->count);
    const uint8_t type = table->types[id];
    return type == VOCAB_CONTROL || type == VOCAB_USER_DEFINED || type == VOCAB_UNKNOWN;
}

bool token_table_is_control(const struct token_table *table, int32_t id)
{
    assert(id >= 0 && id < table->count);
    return table->types[id] == VOCAB_CONTROL || table->types[id] == VOCAB_UNKNOWN;
}

bool token_table_is_reserved(const struct token_table *table, int32_t id)
{
    size_t bytes;
    const char *text = token_table_bytes(table, id, &bytes);
    return token_table_is_control(table, id) ||
           (table->types[id] == VOCAB_USER_DEFINED && turn_mark_is(text, bytes));
}
