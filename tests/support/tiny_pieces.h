/* A small SentencePiece vocabulary with byte fallback, as tokenizer.model and as GGUF have it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tests/support/gguf_writer.h"

enum { TINY_PIECES_COUNT = 275 };

/* A whole tokenizer.model; ended by gguf_writer_free. */
void tiny_pieces_model(struct gguf_writer *file);

/* A GGUF file with this vocabulary and nothing else. */
void tiny_pieces_gguf(struct gguf_writer *file);
