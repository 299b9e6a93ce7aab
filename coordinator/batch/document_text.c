/* Owns nothing. Promises to keep no more of a text than one character. */
#include "coordinator/batch/document_text.h"

#include <inttypes.h>
#include <string.h>

/* A character that goes over two pieces. */
static int complete_character(struct document_text *text, const char *piece, size_t bytes)
{
    int length = 0;
    for (size_t i = 0; i < bytes && length == 0 && text->cut_bytes < sizeof text->cut; i++) {
        text->cut[text->cut_bytes++] = piece[i];
        length = utf8_sequence(text->cut, text->cut_bytes);
    }
    return length;
}

enum status document_text_take(struct document_text *text, const char *piece, size_t bytes)
{
    size_t at = 0;
    int length = 1;
    if (text->cut_bytes > 0 && bytes > 0) {
        const size_t before = text->cut_bytes;
        length = complete_character(text, piece, bytes);
        at = text->cut_bytes - before;
        text->cut_bytes = length > 0 ? 0 : text->cut_bytes;
    }
    while (length > 0 && at < bytes) {
        length = piece[at] == 0 ? -1 : utf8_sequence(piece + at, bytes - at);
        at += length > 0 ? (size_t)length : 0;
    }
    if (length < 0)
        return fail(STATUS_INVALID_ARGUMENT, "the text is no UTF-8, or has a NUL, at byte %" PRId64,
                    text->bytes + (int64_t)at);
    if (at < bytes && text->cut_bytes == 0) {
        text->cut_bytes = bytes - at;
        memcpy(text->cut, piece + at, text->cut_bytes);
    }
    text->bytes += (int64_t)bytes;
    return STATUS_OK;
}

enum status document_text_end(const struct document_text *text)
{
    return text->cut_bytes == 0
               ? STATUS_OK
               : fail(STATUS_INVALID_ARGUMENT, "the text ends in the middle of a character");
}
