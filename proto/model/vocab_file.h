/* A vocabulary by itself: that of a GGUF file or of a directory, whether or not weights lie beside
 * it, and whatever the architecture. */
#pragma once

#include "proto/model/vocab.h"
#include "proto/status.h"

struct vocab_file;

/* NOT_FOUND where the path or its tokenizer.json is missing, UNIMPLEMENTED where a GGUF file holds
 * no tokenizer; else as checkpoint_open fails. */
MUST_CHECK enum status vocab_file_open(struct vocab_file **file, const char *path);

/* Ends every view. Accepts NULL. */
void vocab_file_close(struct vocab_file *file);

/* Never NULL. */
const struct vocab *vocab_file_vocab(const struct vocab_file *file);
