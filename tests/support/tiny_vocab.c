/* Owns the writing of a small GGUF file with a tokenizer in it and nothing else. */
#include "tests/support/tiny_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FILE_BYTES_MAX = 64 << 10, TOKEN_BYTES_MAX = 64 };

struct writer {
    uint8_t *data;
    size_t bytes;
    uint64_t pairs;
};

static void put(struct writer *writer, const void *data, size_t bytes)
{
    if (writer->bytes + bytes > FILE_BYTES_MAX)
        abort();
    memcpy(writer->data + writer->bytes, data, bytes);
    writer->bytes += bytes;
}

static void put_u32(struct writer *writer, uint32_t value)
{
    put(writer, &value, sizeof value);
}

static void put_u64(struct writer *writer, uint64_t value)
{
    put(writer, &value, sizeof value);
}

static void put_string(struct writer *writer, const char *text)
{
    put_u64(writer, strlen(text));
    put(writer, text, strlen(text));
}

static void put_key(struct writer *writer, const char *key, enum gguf_type type)
{
    put_string(writer, key);
    put_u32(writer, type);
    writer->pairs++;
}

static void put_text(struct writer *writer, const char *key, const char *text)
{
    put_key(writer, key, GGUF_STRING);
    put_string(writer, text);
}

static void put_array(struct writer *writer, const char *key, enum gguf_type type, uint64_t count)
{
    put_key(writer, key, GGUF_ARRAY);
    put_u32(writer, type);
    put_u64(writer, count);
}

static bool stands_for_itself(int byte)
{
    return (byte > ' ' && byte < 0x7F) || (byte > 0xA0 && byte != 0xAD);
}

static void spell_byte(char *spelling, int byte)
{
    int character = byte;
    if (!stands_for_itself(byte)) {
        character = 0x100;
        for (int before = 0; before < byte; before++)
            character += !stands_for_itself(before);
    }
    if (character < 0x80)
        snprintf(spelling, TOKEN_BYTES_MAX, "%c", character);
    else
        snprintf(spelling, TOKEN_BYTES_MAX, "%c%c", 0xC0 | character >> 6,
                 0x80 | (character & 0x3F));
}

static void join_merge(char *token, const char *merge)
{
    const char *space = strchr(merge, ' ');
    if (!space)
        abort();
    snprintf(token, TOKEN_BYTES_MAX, "%.*s%s", (int)(space - merge), merge, space + 1);
}

static void put_tokens(struct writer *writer, const struct tiny_vocab_args *args)
{
    int merged = args->merge_count - args->merges_without_token;
    put_array(writer, "tokenizer.ggml.tokens", GGUF_STRING, (uint64_t)(TINY_MERGED + merged));
    put_string(writer, "<|endoftext|>");
    put_string(writer, "<|im_start|>");
    put_string(writer, "<|im_end|>");
    put_string(writer, "<tool>");
    char token[TOKEN_BYTES_MAX];
    for (int byte = 0; byte < 256; byte++) {
        spell_byte(token, byte);
        bool lacking = args->lacks_byte && byte == args->byte_lacking;
        put_string(writer, lacking ? "[no such byte]" : token);
    }
    for (int i = 0; i < merged; i++) {
        join_merge(token, args->merges[i]);
        put_string(writer, token);
    }
    put_array(writer, "tokenizer.ggml.token_type", GGUF_I32, (uint64_t)(TINY_MERGED + merged));
    for (int id = 0; id < TINY_MERGED + merged; id++) {
        bool control = id < TINY_TOOL || (args->bytes_are_control && id >= TINY_BYTES);
        put_u32(writer, control           ? VOCAB_CONTROL
                        : id == TINY_TOOL ? VOCAB_USER_DEFINED
                                          : VOCAB_NORMAL);
    }
}

static void put_pairs(struct writer *writer, const struct tiny_vocab_args *args)
{
    put_text(writer, "tokenizer.ggml.model", args->kind ? args->kind : "gpt2");
    if (!args->pre || args->pre[0])
        put_text(writer, "tokenizer.ggml.pre", args->pre ? args->pre : "smollm");
    put_tokens(writer, args);
    put_array(writer, "tokenizer.ggml.merges", GGUF_STRING, (uint64_t)args->merge_count);
    for (int i = 0; i < args->merge_count; i++)
        put_string(writer, args->merges[i]);
    put_key(writer, "tokenizer.ggml.bos_token_id", GGUF_U32);
    put_u32(writer, TINY_IM_START);
    put_key(writer, "tokenizer.ggml.eos_token_id", GGUF_U32);
    put_u32(writer, TINY_IM_END);
    put_key(writer, "tokenizer.ggml.eot_token_id", GGUF_U32);
    put_u32(writer, TINY_ENDOFTEXT);
    put_key(writer, "tokenizer.ggml.add_bos_token", GGUF_BOOL);
    put(writer, args->adds_bos ? "\1" : "\0", 1);
    if (args->chat_template)
        put_text(writer, "tokenizer.chat_template", args->chat_template);
}

void tiny_vocab_open(struct tiny_vocab *tiny, const struct tiny_vocab_args *args)
{
    struct writer writer = {.data = calloc(1, FILE_BYTES_MAX)};
    if (!writer.data)
        abort();
    put(&writer, "GGUF", 4);
    put_u32(&writer, 3);
    put_u64(&writer, 0);
    size_t pair_count_place = writer.bytes;
    put_u64(&writer, 0);
    put_pairs(&writer, args);
    memcpy(writer.data + pair_count_place, &writer.pairs, sizeof writer.pairs);
    size_t padded = (writer.bytes + 31) / 32 * 32;
    *tiny = (struct tiny_vocab){.data = writer.data};
    if (gguf_parse(&tiny->gguf, tiny->data, padded, "tiny vocabulary") != STATUS_OK ||
        vocab_create(&tiny->vocab, tiny->gguf) != STATUS_OK) {
        fprintf(stderr, "tiny vocabulary: %s\n", status_message());
        abort();
    }
}

void tiny_vocab_close(struct tiny_vocab *tiny)
{
    vocab_destroy(tiny->vocab);
    gguf_close(tiny->gguf);
    free(tiny->data);
}
