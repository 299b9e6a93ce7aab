/* What fuzz targets expect of a vocabulary that was read from any bytes. */
#pragma once

#include "proto/model/vocab.h"

/* Aborts unless every view can be read, every type is known and every id lies inside it. */
void vocab_checks_views(const struct vocab *vocab);

/* Aborts unless the tokenizer of `vocab`, where it takes it, gives ids inside the vocabulary for
 * any text, and text in UTF-8 for them. */
void vocab_checks_use(const struct vocab *vocab);

/* Aborts unless the last failure was worded, on one line. */
void vocab_checks_sentence(void);
