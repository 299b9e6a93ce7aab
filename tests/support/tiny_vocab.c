/* Owns the writing of a small GGUF file with a tokenizer in it and nothing else. */
#include "tests/support/tiny_vocab.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TOKEN_BYTES_MAX = 64, PAIRS = 8, ALIGNMENT = 32 };

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

static void put_tokens(struct gguf_writer *file, const struct tiny_vocab_args *args)
{
    int count = TINY_MERGED + args->merge_count - args->merges_without_token;
    char token[TOKEN_BYTES_MAX];
    gguf_writer_array(file, "tokenizer.ggml.tokens", GGUF_STRING, (uint64_t)count);
    gguf_writer_string(file, "<|endoftext|>");
    gguf_writer_string(file, "<|im_start|>");
    gguf_writer_string(file, "<|im_end|>");
    gguf_writer_string(file, args->tool ? args->tool : "<tool>");
    for (int byte = 0; byte < 256; byte++) {
        spell_byte(token, byte);
        bool lacking = args->lacks_byte && byte == args->byte_lacking;
        gguf_writer_string(file, lacking ? "[no such byte]" : token);
    }
    for (int i = 0; i < count - TINY_MERGED; i++) {
        join_merge(token, args->merges[i]);
        gguf_writer_string(file, token);
    }
    gguf_writer_array(file, "tokenizer.ggml.token_type", GGUF_I32, (uint64_t)count);
    for (int id = 0; id < count; id++) {
        bool control = id < TINY_TOOL || (args->bytes_are_control && id >= TINY_BYTES);
        gguf_writer_u32(file, control           ? VOCAB_CONTROL
                              : id == TINY_TOOL ? VOCAB_USER_DEFINED
                                                : VOCAB_NORMAL);
    }
}

void tiny_vocab_build(struct gguf_writer *file, const struct tiny_vocab_args *args)
{
    bool has_pre = !args->pre || args->pre[0];
    uint64_t pairs = PAIRS + has_pre + (args->chat_template != NULL);
    gguf_writer_header(file, 0, pairs);
    gguf_writer_pair_text(file, "tokenizer.ggml.model", args->kind ? args->kind : "gpt2");
    if (has_pre)
        gguf_writer_pair_text(file, "tokenizer.ggml.pre", args->pre ? args->pre : "smollm");
    put_tokens(file, args);
    gguf_writer_array(file, "tokenizer.ggml.merges", GGUF_STRING, (uint64_t)args->merge_count);
    for (int i = 0; i < args->merge_count; i++)
        gguf_writer_string(file, args->merges[i]);
    gguf_writer_pair_u32(file, "tokenizer.ggml.bos_token_id", TINY_IM_START);
    gguf_writer_pair_u32(file, "tokenizer.ggml.eos_token_id", TINY_IM_END);
    gguf_writer_pair_u32(file, "tokenizer.ggml.eot_token_id", TINY_ENDOFTEXT);
    gguf_writer_pair_bool(file, "tokenizer.ggml.add_bos_token", args->adds_bos);
    if (args->chat_template)
        gguf_writer_pair_text(file, "tokenizer.chat_template", args->chat_template);
    gguf_writer_pad(file, ALIGNMENT);
}

void tiny_vocab_open(struct tiny_vocab *tiny, const struct tiny_vocab_args *args)
{
    *tiny = (struct tiny_vocab){.file = {0}};
    tiny_vocab_build(&tiny->file, args);
    if (gguf_parse(&tiny->gguf, tiny->file.data, tiny->file.bytes, "tiny vocabulary") !=
            STATUS_OK ||
        vocab_gguf_read(&tiny->vocab, tiny->gguf) != STATUS_OK) {
        fprintf(stderr, "tiny vocabulary: %s\n", status_message());
        abort();
    }
}

void tiny_vocab_close(struct tiny_vocab *tiny)
{
    vocab_destroy(tiny->vocab);
    gguf_close(tiny->gguf);
    gguf_writer_free(&tiny->file);
}
