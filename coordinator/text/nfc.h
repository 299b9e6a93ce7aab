/* Unicode's normal form C, as the oracle's tokenizers apply it before they cut words: "e" and a
 * combining accent become "é". */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "proto/status.h"

enum {
    NFC_MARKS_MAX = 256, /* combining characters in a row */
    NFC_SHRINKS_BY = 3,  /* a text of n bytes has at least n / 3 in normal form */
};

/* Working memory, of one thread; starts as {0}. */
struct nfc {
    char *text;
    size_t bytes;
    size_t capacity;
    int32_t *points; /* of one stretch */
    size_t point_count;
    size_t point_capacity;
};

/* The normal form of UTF-8, with `compatible` form KC: the text itself where nothing in it could
 * change, or a view that lives until the next call. OUT_OF_RANGE where more than NFC_MARKS_MAX
 * combining characters follow each other. */
MUST_CHECK enum status nfc_normalise(struct nfc *nfc, const char **normal, size_t *normal_bytes,
                                     const char *text, size_t bytes, bool compatible);

void nfc_deinit(struct nfc *nfc);
