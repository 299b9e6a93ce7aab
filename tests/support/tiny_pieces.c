/* Owns a table of pieces and its two spellings. */
#include "tests/support/tiny_pieces.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#include "proto/model/vocab.h"

enum { SPECIALS = 3, BYTES = 256, TEXT_BYTES = 16, ALIGNMENT = 32 };

struct piece {
    char text[TEXT_BYTES];
    float score;
    enum vocab_type type;
};

static const struct piece specials[SPECIALS] = {
    {"<unk>", 0, VOCAB_UNKNOWN}, {"<s>", 0, VOCAB_CONTROL}, {"</s>", 0, VOCAB_CONTROL}};

static const struct piece words[] = {
    {"<tool>", 0, VOCAB_USER_DEFINED}, {"ab", -1, VOCAB_NORMAL},
    {"\u2581a", -2, VOCAB_NORMAL},     {"\u2581ab", -3, VOCAB_NORMAL},
    {"abab", -4, VOCAB_NORMAL},        {"\u2581\u2581", -5, VOCAB_NORMAL},
    {"lo", -6, VOCAB_NORMAL},          {"\u2581", -7, VOCAB_NORMAL},
    {"a", -8, VOCAB_NORMAL},           {"b", -9, VOCAB_NORMAL},
    {"l", -10, VOCAB_NORMAL},          {"o", -11, VOCAB_NORMAL},
    {"e", -12, VOCAB_NORMAL},          {"\u00e9", -13, VOCAB_NORMAL},
    {"\U0001F469", -14, VOCAB_NORMAL}, {"unused", -15, VOCAB_UNUSED},
};

static struct piece piece_at(int32_t id)
{
    struct piece piece = {"", 0, VOCAB_BYTE};
    static_assert(SPECIALS + BYTES + sizeof words / sizeof words[0] == TINY_PIECES_COUNT,
                  "the header says how many there are");
    if (id < SPECIALS)
        return specials[id];
    if (id >= SPECIALS + BYTES)
        return words[id - SPECIALS - BYTES];
    snprintf(piece.text, sizeof piece.text, "<0x%02X>", (unsigned)(id - SPECIALS));
    return piece;
}

/* A field of bytes: its key, its length, which takes one byte, and itself. */
static void put_bytes(struct gguf_writer *file, uint8_t key, const void *data, size_t bytes)
{
    assert(bytes < 0x80);
    gguf_writer_u8(file, key);
    gguf_writer_u8(file, (uint8_t)bytes);
    gguf_writer_bytes(file, data, bytes);
}

void tiny_pieces_model(struct gguf_writer *file)
{
    /* Of kind BPE, with byte fallback; its special ids are those of an absent field. */
    static const uint8_t trainer[] = {0x18, 2, 0x98, 2, 1};
    /* Identity, a space before a text, no fewer spaces, spaces as U+2581. */
    static const uint8_t normalizer[] = {0x0A, 8,   'i',  'd', 'e',  'n', 't',  'i',
                                         't',  'y', 0x18, 1,   0x20, 0,   0x28, 1};
    for (int32_t id = 0; id < TINY_PIECES_COUNT; id++) {
        const struct piece piece = piece_at(id);
        struct gguf_writer inside = {0};
        put_bytes(&inside, 0x0A, piece.text, strlen(piece.text));
        gguf_writer_u8(&inside, 0x15);
        gguf_writer_f32(&inside, piece.score);
        gguf_writer_u8(&inside, 0x18);
        gguf_writer_u8(&inside, (uint8_t)piece.type);
        put_bytes(file, 0x0A, inside.data, inside.bytes);
        gguf_writer_free(&inside);
    }
    put_bytes(file, 0x12, trainer, sizeof trainer);
    put_bytes(file, 0x1A, normalizer, sizeof normalizer);
}

void tiny_pieces_gguf(struct gguf_writer *file)
{
    enum { PAIRS = 6 };
    gguf_writer_header(file, 0, PAIRS);
    gguf_writer_pair_text(file, "tokenizer.ggml.model", "llama");
    gguf_writer_array(file, "tokenizer.ggml.tokens", GGUF_STRING, TINY_PIECES_COUNT);
    for (int32_t id = 0; id < TINY_PIECES_COUNT; id++)
        gguf_writer_string(file, piece_at(id).text);
    gguf_writer_array(file, "tokenizer.ggml.scores", GGUF_F32, TINY_PIECES_COUNT);
    for (int32_t id = 0; id < TINY_PIECES_COUNT; id++)
        gguf_writer_f32(file, piece_at(id).score);
    gguf_writer_array(file, "tokenizer.ggml.token_type", GGUF_I32, TINY_PIECES_COUNT);
    for (int32_t id = 0; id < TINY_PIECES_COUNT; id++)
        gguf_writer_u32(file, piece_at(id).type);
    gguf_writer_pair_u32(file, "tokenizer.ggml.bos_token_id", 1);
    gguf_writer_pair_u32(file, "tokenizer.ggml.eos_token_id", 2);
    gguf_writer_pad(file, ALIGNMENT);
}
