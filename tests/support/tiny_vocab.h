/* A small byte-level vocabulary, written as a GGUF file in memory and read back through
 * proto/model. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/model/vocab_gguf.h"
#include "tests/support/gguf_writer.h"

enum {
    TINY_ENDOFTEXT = 0,             /* <|endoftext|>: control */
    TINY_IM_START = 1,              /* <|im_start|>: control, BOS */
    TINY_IM_END = 2,                /* <|im_end|>: control, EOS */
    TINY_TOOL = 3,                  /* <tool>, or as it is named: user-defined */
    TINY_BYTES = 4,                 /* then the 256 bytes, byte b at TINY_BYTES + b */
    TINY_MERGED = TINY_BYTES + 256, /* then one token for each merge */
};

/* {0} is smollm without merges and without chat template. */
struct tiny_vocab_args {
    const char *kind;          /* "gpt2" where NULL */
    const char *pre;           /* "smollm" where NULL; "" leaves the key out */
    const char *chat_template; /* left out where NULL */
    const char *tool;          /* "<tool>" where NULL */
    const char *const *merges; /* "left right", each side in GPT-2's alphabet */
    int merge_count;
    int merges_without_token; /* so many of the last merges have no token of their own */
    bool lacks_byte;          /* the token of `byte_lacking` is spelt otherwise */
    uint8_t byte_lacking;
    bool adds_bos;
    bool bytes_are_control;
};

struct tiny_vocab {
    struct gguf_writer file;
    struct gguf *gguf;
    struct vocab *vocab;
};

/* Appends the file; ended by gguf_writer_free. */
void tiny_vocab_build(struct gguf_writer *file, const struct tiny_vocab_args *args);

/* Aborts where the file is refused: a test's own mistake. */
void tiny_vocab_open(struct tiny_vocab *tiny, const struct tiny_vocab_args *args);

void tiny_vocab_close(struct tiny_vocab *tiny);
