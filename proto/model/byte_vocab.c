/* Owns the making of a vocabulary of bytes, spelt as byte-level BPE spells them. */
#include "proto/model/byte_vocab.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static const char end_text[] = "<|endoftext|>";

enum { SPELLING_BYTES = 2, TEXTS_BYTES = 256 * SPELLING_BYTES + sizeof end_text };

/* A byte that prints stands for itself; the others are, in order, the characters from U+0100 on. */
static size_t spell(char *text, int byte, int *others)
{
    const bool prints =
        (byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte <= 0xac) || byte >= 0xae;
    const int code = prints ? byte : 0x100 + (*others)++;
    if (code < 0x80) {
        text[0] = (char)code;
        return 1;
    }
    text[0] = (char)(0xc0 | code >> 6);
    text[1] = (char)(0x80 | (code & 0x3f));
    return 2;
}

static void fill(struct vocab_parts *parts)
{
    char *text = parts->texts;
    int others = 0;
    for (int byte = 0; byte < BYTE_VOCAB_END; byte++) {
        const size_t bytes = spell(text, byte, &others);
        parts->tokens[byte] = (struct vocab_token){text, bytes, VOCAB_NORMAL, 0};
        text += bytes;
    }
    memcpy(text, end_text, sizeof end_text);
    parts->tokens[BYTE_VOCAB_END] =
        (struct vocab_token){text, sizeof end_text - 1, VOCAB_CONTROL, 0};
    for (int32_t id = BYTE_VOCAB_COUNT; id < parts->count; id++)
        parts->tokens[id] = (struct vocab_token){"", 0, VOCAB_UNUSED, 0};
    parts->kind = text_view_of("gpt2");
    parts->pre = text_view_of("gpt-2");
    parts->special.eos = BYTE_VOCAB_END;
    (void)vocab_parts_add_end(parts, BYTE_VOCAB_END); /* the first one has room */
    parts->add_bos = VOCAB_FLAG_OFF;
}

enum status byte_vocab_create(struct vocab **vocab, int32_t count)
{
    struct vocab_parts parts;
    assert(count >= BYTE_VOCAB_COUNT);
    vocab_parts_init(&parts);
    parts.count = count;
    parts.tokens = calloc((size_t)count, sizeof *parts.tokens);
    parts.merges = calloc(1, sizeof *parts.merges);
    parts.texts = malloc(TEXTS_BYTES);
    enum status status = STATUS_OK;
    if (!parts.tokens || !parts.merges || !parts.texts)
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a vocabulary of %d tokens", count);
    if (status == STATUS_OK) {
        fill(&parts);
        status = vocab_create(vocab, &parts);
    }
    vocab_parts_deinit(&parts);
    return status;
}
