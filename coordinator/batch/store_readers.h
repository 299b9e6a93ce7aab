/* The connections that read: a fixed number, taken and given back. */
#pragma once

#include "coordinator/batch/store_link.h"

struct store_readers;

/* `cache_kib`: of pages that each keeps. */
MUST_CHECK enum status store_readers_create(struct store_readers **readers, const char *path,
                                            const char *vfs, int count, int64_t cache_kib);
void store_readers_destroy(struct store_readers *readers);

/* Waits for a free one, at most 10 s: UNAVAILABLE. */
MUST_CHECK enum status store_readers_take(struct store_readers *readers, struct store_link **link);

void store_readers_give(struct store_readers *readers, struct store_link *link);
