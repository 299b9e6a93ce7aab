/* A file of records about tokens: each record has so many tokens, and of each token one element of
 * each plane. Samples and scores are such files (sample_file.h, score_file.h). docs/training.md
 * has the layout byte by byte.
 *
 *   header   magic [8], u32 version, u32 planes
 *   records  from a multiple of 8 on: the planes one after the other, count elements each
 *   index    a record: u64 offset, u64 count, u64 digest of its bytes
 *   trailer  u64 each: offset of the index, records, most tokens of a record, tokens of all,
 *            vocabulary, digest of index and trailer up to here
 *
 * Numbers are little-endian, digests XXH3 64. A file is complete or refused: its trailer is written
 * last.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/model/mapping.h"
#include "proto/model/output_file.h"
#include "proto/status.h"

enum {
    RECORD_FILE_VERSION = 1,
    RECORD_FILE_PLANES_MAX = 4,
    RECORD_FILE_HEADER_BYTES = 16,
    RECORD_FILE_INDEX_BYTES = 24, /* a record */
    RECORD_FILE_TRAILER_BYTES = 48,
};

struct record_kind {
    char magic[9];
    int planes;
    size_t element_bytes[RECORD_FILE_PLANES_MAX]; /* none larger than the one before it */
};

struct record_file {
    const struct record_kind *kind;
    const char *name; /* for sentences; borrowed */
    const uint8_t *data;
    struct mapping mapping; /* {0} where the bytes are the caller's */
    uint64_t index;         /* its offset */
    int64_t count;          /* records */
    int64_t longest;        /* tokens of the longest */
    int64_t tokens;         /* of all */
    int64_t vocab;          /* ids are below it */
    uint64_t digest;        /* of all that the file says */
};

/* Borrows `path`. NOT_FOUND, IO, or DATA_LOSS where it is no whole file of this kind. */
MUST_CHECK enum status record_file_open(struct record_file *file, const char *path,
                                        const struct record_kind *kind);

/* The same over bytes in memory, which are borrowed, and start at a multiple of 8. */
MUST_CHECK enum status record_file_parse(struct record_file *file, const void *data, size_t bytes,
                                         const char *name, const struct record_kind *kind);

/* Accepts {0}. */
void record_file_close(struct record_file *file);

/* Views into the file: planes [kind->planes] of `count` elements each. DATA_LOSS where the bytes
 * are not those that were written. 0 <= number < file->count. */
MUST_CHECK enum status record_file_read(const struct record_file *file, const void **planes,
                                        int64_t *count, int64_t number);

/* ---- writing ---- */

struct record_writer {
    const struct record_kind *kind;
    struct output_file file; /* beside its place */
    char *path;
    uint8_t *index; /* [count * RECORD_FILE_INDEX_BYTES], with room for a trailer */
    int64_t count, capacity;
    int64_t longest, tokens, vocab;
};

/* Writes beside `path`, until record_writer_close. */
MUST_CHECK enum status record_writer_open(struct record_writer *writer, const char *path,
                                          const struct record_kind *kind, int64_t vocab);

/* count > 0. */
MUST_CHECK enum status record_writer_add(struct record_writer *writer, const void *const *planes,
                                         int64_t count);

/* Completes the file, which takes its place at once, and returns when it is on disk. The writer is
 * of no more use, also on failure. */
MUST_CHECK enum status record_writer_close(struct record_writer *writer);

/* Removes what was written. */
void record_writer_discard(struct record_writer *writer);
