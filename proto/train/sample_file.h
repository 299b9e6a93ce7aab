/* Samples to train on: ids, their positions, and which of them the loss counts. A file of records
 * (record_file.h) with three planes: int32 ids, int32 positions, bytes 0 or 1. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"
#include "proto/train/record_file.h"

struct sample {
    int64_t count;
    const int32_t *ids;       /* [count], each within the vocabulary */
    const int32_t *positions; /* [count], from 0 on, each above the one before it */
    const uint8_t *counts; /* [count]: 1 where predicting this id is in the loss; 0 for the first */
};

/* As record_file_open. */
MUST_CHECK enum status sample_file_open(struct record_file *file, const char *path);
/* For tests: the same over bytes in memory. */
MUST_CHECK enum status sample_file_parse(struct record_file *file, const void *data, size_t bytes,
                                         const char *name);

/* Views until record_file_close, checked. 0 <= number < file->count. */
MUST_CHECK enum status sample_file_read(const struct record_file *file, struct sample *sample,
                                        int64_t number);

MUST_CHECK enum status sample_file_create(struct record_writer *writer, const char *path,
                                          int64_t vocab);

/* INVALID_ARGUMENT for what sample_file_read would refuse. */
MUST_CHECK enum status sample_file_add(struct record_writer *writer, const struct sample *sample);
