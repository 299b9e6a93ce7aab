/* Owns the rule of what a terminal may be shown. Promises that a masked text is UTF-8 of the same
 * length in which nothing but visible characters and spaces is left. */
#include "proto/printable.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

#include "proto/utf8.h"

enum { MASK = '.', PIECE_BYTES = 256 };

/* Of a whole character of one to three bytes; a longer one's code is not needed here. */
static uint32_t code_of(const char *text, int length)
{
    const uint8_t *at = (const uint8_t *)text;
    if (length == 1)
        return at[0];
    if (length == 2)
        return (at[0] & 0x1Fu) << 6 | (at[1] & 0x3Fu);
    if (length == 3)
        return (at[0] & 0x0Fu) << 12 | (at[1] & 0x3Fu) << 6 | (at[2] & 0x3Fu);
    return UINT32_MAX;
}

static bool is_control(uint32_t code)
{
    return code < 0x20 || (code >= 0x7F && code <= 0x9F);
}

/* U+2028 and U+2029 end a line; the embeddings, overrides and isolates of the bidirectional
 * algorithm let a line be read in another order than it was written in. */
static bool breaks_line(uint32_t code)
{
    return (code >= 0x2028 && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
}

static bool is_layout(uint32_t code)
{
    return code == '\n' || code == '\t';
}

static void mask(char *text, size_t bytes, bool many_lines)
{
    size_t place = 0;
    while (place < bytes) {
        int length = utf8_sequence(text + place, bytes - place);
        bool whole = length > 0;
        /* Of a character that is cut off by the end, every byte; else those that begin none. */
        size_t taken = whole ? (size_t)length : length < 0 ? (size_t)-length : bytes - place;
        uint32_t code = whole ? code_of(text + place, length) : 0;
        bool shown = whole && (many_lines ? is_layout(code) || !is_control(code)
                                          : !is_control(code) && !breaks_line(code));
        if (!shown)
            memset(text + place, MASK, taken);
        place += taken;
    }
}

void printable_mask_line(char *text, size_t bytes)
{
    mask(text, bytes, false);
}

void printable_mask_text(char *text, size_t bytes)
{
    mask(text, bytes, true);
}

/* The most bytes, up to PIECE_BYTES, that do not end inside a character. */
static size_t piece_bytes(const char *text, size_t bytes)
{
    if (bytes <= PIECE_BYTES)
        return bytes;
    size_t end = PIECE_BYTES;
    for (int back = 1; back < UTF8_SEQUENCE_BYTES_MAX; back++)
        if (utf8_sequence(text + end - back, (size_t)back) == 0)
            return end - (size_t)back;
    return end;
}

static void write_masked(FILE *file, const char *text, size_t bytes, bool many_lines)
{
    char piece[PIECE_BYTES];
    while (bytes > 0) {
        size_t taken = piece_bytes(text, bytes);
        memcpy(piece, text, taken);
        mask(piece, taken, many_lines);
        fwrite(piece, 1, taken, file);
        text += taken;
        bytes -= taken;
    }
}

void printable_write_line(FILE *file, const char *text, size_t bytes)
{
    write_masked(file, text, bytes, false);
}

void printable_write_text(FILE *file, const char *text, size_t bytes)
{
    write_masked(file, text, bytes, true);
}
