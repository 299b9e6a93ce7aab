/* What two models say of the tokens of samples (docs/methods.md, token impact): a file of records
 * (record_file.h), as many as samples and as long, with three planes of float32: the score S_H of
 * the model before, S_H' of the model after, and p of Eq. 2 of the paper; of the first token, which
 * nothing predicts, all 0. */
#pragma once

#include <stdint.h>

#include "proto/status.h"
#include "proto/train/record_file.h"

struct scores {
    int64_t count;
    const float *before;      /* [count], logit of the token itself */
    const float *after;       /* [count] */
    const float *probability; /* [count], softmax over the vocabulary of after - before */
};

/* As record_file_open. */
MUST_CHECK enum status score_file_open(struct record_file *file, const char *path);
MUST_CHECK enum status score_file_read(const struct record_file *file, struct scores *scores,
                                       int64_t number);
MUST_CHECK enum status score_file_create(struct record_writer *writer, const char *path,
                                         int64_t vocab);
MUST_CHECK enum status score_file_add(struct record_writer *writer, const struct scores *scores);
