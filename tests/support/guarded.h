/* Memory with canaries on both sides, so that a kernel that writes past its output is found even
 * where no sanitizer looks. */
#pragma once

#include <stddef.h>

struct guarded {
    void *at; /* 64-byte aligned, `bytes` long */
    size_t bytes;
    unsigned char *block;
};

/* Filled with `fill`; ends the test when there is no memory. */
struct guarded guarded_create(size_t bytes, unsigned char fill);
void guarded_destroy(struct guarded *guarded);

/* Fails the test if a byte outside [at, at + bytes) has changed. */
void guarded_check(const struct guarded *guarded);
