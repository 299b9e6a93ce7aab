/* The files that the store writes besides its database: segments, documents, the mark of how it
 * ended.
 *
 * A seam: tests put a table here that records what reaches the disk, or lets calls fail. Every
 * function returns what its system call returns, or the error number as a negative value.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

struct store_file_row {
    int (*open)(const char *path, int flags); /* a descriptor; made for the owner alone */
    int64_t (*write)(int descriptor, const void *from, size_t bytes, int64_t offset);
    int64_t (*read)(int descriptor, void *to, size_t bytes, int64_t offset);
    int (*sync)(int descriptor); /* its bytes and length */
    int (*close)(int descriptor);
    int (*rename)(const char *from, const char *to);
    int (*remove)(const char *path);
    int (*sync_folder)(const char *path); /* the names in it */
};

extern const struct store_file_row store_file_system;

/* The status of a negative return, worded: UNAVAILABLE where the disk is full or broken, so that
 * the store stops taking changes. */
MUST_CHECK enum status store_file_fail(int64_t returned, const char *what, const char *path);

/* All or an error. */
MUST_CHECK enum status store_file_write(const struct store_file_row *files, int descriptor,
                                        const char *path, const void *from, size_t bytes,
                                        int64_t offset);

/* All or an error: DATA_LOSS where the file ends before. */
MUST_CHECK enum status store_file_read(const struct store_file_row *files, int descriptor,
                                       const char *path, void *to, size_t bytes, int64_t offset);

/* Puts `bytes` in place of what FOLDER/NAME held: whoever looks sees the old or the new content,
 * after a power cut too. On disk when it returns. */
MUST_CHECK enum status store_file_replace(const struct store_file_row *files, const char *folder,
                                          const char *name, const void *content, size_t bytes);
