/* The pre-tokenizers by name, each as the regular expressions of its stages. */
#pragma once

#include <stdbool.h>

enum { PRETOKENIZER_STAGES_MAX = 3 };

/* A later stage cuts each piece of the one before it, as if the piece were the whole text. Every
 * pattern is anchored and takes a piece at any place of any text, in time linear in what it reads;
 * stages that are not needed are NULL. */
struct pretokenizer_row {
    const char *name; /* as tokenizer.ggml.pre has it */
    const char *stages[PRETOKENIZER_STAGES_MAX];
    bool ignores_merges;
    bool adds_bos;
    bool normalises;
};

/* In sentences. */
#define PRETOKENIZER_NAMES                                                                         \
    "smollm (starcoder, refact), gpt-2 (phi-2, olmo), llama-bpe (llama3, llama-v3), dbrx "         \
    "(smaug-bpe), qwen2, tekken, gpt-4o, deepseek-v3"

/* Ends with a row whose name is NULL. */
extern const struct pretokenizer_row pretokenizer_rows[];
