/* Owns normal forms C and KC. Promises the oracle's form (PyPI `tokenizers` 0.23), whose tables are
 * Unicode 9's: combining characters that came later stand by themselves. Time is linear in the
 * text, since the marks in a row, which have to be sorted, are few.
 */
#include "coordinator/text/nfc.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum {
    DECOMPOSED_MAX = 18,      /* of one character */
    HANGUL_NO_TRAIL = 0x11a7, /* before the first trailing consonant: utf8proc composes it away */
};

/* What combines since Unicode 10, up to 15, which utf8proc 2.8 has. */
static const struct {
    int32_t first;
    int32_t last;
} late_marks[] = {
    {0x07fd, 0x07fd},   {0x0898, 0x089f},   {0x08ca, 0x08d3},   {0x09fe, 0x09fe},
    {0x0c3c, 0x0c3c},   {0x0d3b, 0x0d3c},   {0x0eba, 0x0eba},   {0x1715, 0x1715},
    {0x1abf, 0x1ace},   {0x1df6, 0x1dfa},   {0xa82c, 0xa82c},   {0x10d24, 0x10d27},
    {0x10eab, 0x10eac}, {0x10efd, 0x10eff}, {0x10f46, 0x10f50}, {0x10f82, 0x10f85},
    {0x11070, 0x11070}, {0x1133b, 0x1133b}, {0x1145e, 0x1145e}, {0x11839, 0x1183a},
    {0x11930, 0x11930}, {0x1193d, 0x1193e}, {0x11943, 0x11943}, {0x119e0, 0x119e0},
    {0x11a34, 0x11a34}, {0x11a47, 0x11a47}, {0x11a99, 0x11a99}, {0x11d42, 0x11d42},
    {0x11d44, 0x11d45}, {0x11d97, 0x11d97}, {0x11f41, 0x11f42}, {0x16ff0, 0x16ff1},
    {0x1e08f, 0x1e08f}, {0x1e130, 0x1e136}, {0x1e2ae, 0x1e2ae}, {0x1e2ec, 0x1e2ef},
    {0x1e4ec, 0x1e4ef},
};

enum { LATE_MARKS = sizeof late_marks / sizeof late_marks[0] };

static bool is_late_mark(int32_t point)
{
    size_t first = 0;
    size_t end = LATE_MARKS;
    while (first < end) {
        size_t middle = first + (end - first) / 2;
        if (point > late_marks[middle].last)
            first = middle + 1;
        else if (point < late_marks[middle].first)
            end = middle;
        else
            return true;
    }
    return false;
}

/* What form KC replaces since Unicode 10. */
static bool is_late_compatible(int32_t point)
{
    static const struct {
        int32_t first;
        int32_t last;
    } late[] = {
        {0x32ff, 0x32ff},   {0xa7f2, 0xa7f4},   {0xab69, 0xab69},
        {0x10781, 0x10785}, {0x10787, 0x107b0}, {0x107b2, 0x107ba},
        {0x1e030, 0x1e06d}, {0x1f16c, 0x1f16c}, {0x1fbf0, 0x1fbf9},
    };
    for (size_t i = 0; i < sizeof late / sizeof late[0]; i++)
        if (point >= late[i].first && point <= late[i].last)
            return true;
    return false;
}

/* What lies before such a character and what lies after it have nothing to do with each other. */
static bool stands_by_itself(int32_t point)
{
    return point < 0x80 || point == HANGUL_NO_TRAIL || is_late_mark(point);
}

static int class_of(int32_t point)
{
    return stands_by_itself(point) ? 0 : utf8proc_get_property(point)->combining_class;
}

static enum status grow(void **memory, size_t *capacity, size_t wanted, size_t element_bytes)
{
    if (wanted <= *capacity)
        return STATUS_OK;
    size_t larger = wanted > 2 * *capacity ? wanted : 2 * *capacity;
    void *moved = realloc(*memory, larger * element_bytes);
    if (!moved)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to normalise a text: %zu bytes",
                    larger * element_bytes);
    *memory = moved;
    *capacity = larger;
    return STATUS_OK;
}

static enum status append(struct nfc *nfc, const char *text, size_t bytes)
{
    TRY(grow((void **)&nfc->text, &nfc->capacity, nfc->bytes + bytes, 1));
    if (bytes > 0)
        memcpy(nfc->text + nfc->bytes, text, bytes);
    nfc->bytes += bytes;
    return STATUS_OK;
}

/* Decomposes the characters from `place` up to the next that stands by itself. */
static enum status take_stretch(struct nfc *nfc, const char *text, size_t bytes, size_t *place,
                                utf8proc_option_t form)
{
    size_t first = *place;
    nfc->point_count = 0;
    while (*place < bytes) {
        int32_t point;
        int last_class = 0;
        utf8proc_ssize_t length = utf8proc_iterate((const uint8_t *)text + *place,
                                                   (utf8proc_ssize_t)(bytes - *place), &point);
        if (length <= 0)
            return fail(STATUS_INTERNAL, "a text that was checked is no UTF-8 at byte %zu", *place);
        if (*place > first && stands_by_itself(point))
            break;
        TRY(grow((void **)&nfc->points, &nfc->point_capacity, nfc->point_count + DECOMPOSED_MAX,
                 sizeof *nfc->points));
        if ((form & UTF8PROC_COMPAT) && is_late_compatible(point)) {
            nfc->points[nfc->point_count++] = point;
            *place += (size_t)length;
            continue;
        }
        utf8proc_ssize_t count = utf8proc_decompose_char(point, nfc->points + nfc->point_count,
                                                         DECOMPOSED_MAX, form, &last_class);
        if (count < 0 || count > DECOMPOSED_MAX)
            return fail(STATUS_INTERNAL, "utf8proc cannot decompose U+%04X: %s", (unsigned)point,
                        utf8proc_errmsg(count));
        nfc->point_count += (size_t)count;
        *place += (size_t)length;
    }
    return STATUS_OK;
}

/* Marks in a row by their class, those of one class as they came. */
static enum status sort_marks(struct nfc *nfc)
{
    int32_t *points = nfc->points;
    int classes[NFC_MARKS_MAX];
    size_t marks = 0;
    for (size_t i = 0; i < nfc->point_count; i++) {
        int32_t point = points[i];
        int class = class_of(point);
        if (class == 0) {
            marks = 0;
            continue;
        }
        if (marks == NFC_MARKS_MAX)
            return fail(STATUS_OUT_OF_RANGE,
                        "the text has more than %d combining characters in a row", NFC_MARKS_MAX);
        size_t place = marks++;
        for (; place > 0 && classes[place - 1] > class; place--) {
            classes[place] = classes[place - 1];
            points[i - marks + 1 + place] = points[i - marks + place];
        }
        classes[place] = class;
        points[i - marks + 1 + place] = point;
    }
    return STATUS_OK;
}

static enum status append_stretch(struct nfc *nfc, utf8proc_option_t form)
{
    utf8proc_ssize_t count =
        utf8proc_normalize_utf32(nfc->points, (utf8proc_ssize_t)nfc->point_count, form);
    if (count < 0)
        return fail(STATUS_INTERNAL, "utf8proc cannot compose a text: %s", utf8proc_errmsg(count));
    for (utf8proc_ssize_t i = 0; i < count; i++) {
        uint8_t encoded[4];
        utf8proc_ssize_t length = utf8proc_encode_char(nfc->points[i], encoded);
        TRY(append(nfc, (const char *)encoded, (size_t)length));
    }
    return STATUS_OK;
}

static size_t find_above_ascii(const char *text, size_t from, size_t bytes)
{
    while (from < bytes && (uint8_t)text[from] < 0x80)
        from++;
    return from;
}

enum status nfc_normalise(struct nfc *nfc, const char **normal, size_t *normal_bytes,
                          const char *text, size_t bytes, bool compatible)
{
    const utf8proc_option_t form =
        UTF8PROC_STABLE | UTF8PROC_COMPOSE | (compatible ? UTF8PROC_COMPAT : 0);
    size_t found = find_above_ascii(text, 0, bytes);
    *normal = text;
    *normal_bytes = bytes;
    if (found == bytes)
        return STATUS_OK;
    nfc->bytes = 0;
    for (size_t place = 0; place < bytes; found = find_above_ascii(text, place, bytes)) {
        /* What combines may do so with the character before it. */
        size_t first = found > place && found < bytes ? found - 1 : found;
        TRY(append(nfc, text + place, first - place));
        place = first;
        if (place == bytes)
            break;
        TRY(take_stretch(nfc, text, bytes, &place, form));
        TRY(sort_marks(nfc));
        TRY(append_stretch(nfc, form));
    }
    *normal = nfc->text;
    *normal_bytes = nfc->bytes;
    return STATUS_OK;
}

void nfc_deinit(struct nfc *nfc)
{
    free(nfc->text);
    free(nfc->points);
    *nfc = (struct nfc){0};
}
