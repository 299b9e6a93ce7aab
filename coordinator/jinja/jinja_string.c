/* Owns how pieces are kept. Promises that no operation gives a byte another origin. */
#include "coordinator/jinja/jinja_string.h"

#include <string.h>

static enum status no_room(void)
{
    return fail(STATUS_OUT_OF_RANGE, "the chat template needs more memory than it may take");
}

enum status jinja_text_add(struct jinja_text *to, const char *text, size_t bytes, bool is_own)
{
    if (bytes == 0)
        return STATUS_OK;
    if (to->bytes_max > 0 && bytes > to->bytes_max - to->bytes)
        return fail(STATUS_OUT_OF_RANGE, "the chat template writes more than %zu bytes",
                    to->bytes_max);
    struct jinja_piece *last = to->count > 0 ? &to->pieces[to->count - 1] : NULL;
    to->bytes += bytes;
    if (last && last->is_own == is_own && last->text + last->bytes == text) {
        last->bytes += bytes;
        return STATUS_OK;
    }
    if (to->count == to->room) {
        const size_t room = to->room ? 2 * to->room : 4;
        struct jinja_piece *pieces = jinja_arena_take(to->arena, room * sizeof *pieces);
        if (!pieces)
            return no_room();
        if (to->count > 0)
            memcpy(pieces, to->pieces, to->count * sizeof *pieces);
        to->pieces = pieces;
        to->room = room;
    }
    to->pieces[to->count++] = (struct jinja_piece){text, bytes, is_own};
    return STATUS_OK;
}

enum status jinja_text_copy(struct jinja_text *to, const char *text, size_t bytes)
{
    if (bytes == 0)
        return STATUS_OK;
    char *copy = jinja_arena_take(to->arena, bytes);
    if (!copy)
        return no_room();
    memcpy(copy, text, bytes);
    return jinja_text_add(to, copy, bytes, false);
}

enum status jinja_text_add_string(struct jinja_text *to, const struct jinja_string *string)
{
    for (size_t i = 0; i < string->count; i++)
        TRY(jinja_text_add(to, string->pieces[i].text, string->pieces[i].bytes,
                           string->pieces[i].is_own));
    return STATUS_OK;
}

enum status jinja_text_add_slice(struct jinja_text *to, const struct jinja_string *string,
                                 size_t first, size_t end)
{
    size_t offset = 0;
    for (size_t i = 0; i < string->count && offset < end; i++) {
        const struct jinja_piece *piece = &string->pieces[i];
        const size_t from = first > offset ? first - offset : 0;
        const size_t to_end = end - offset < piece->bytes ? end - offset : piece->bytes;
        if (from < to_end)
            TRY(jinja_text_add(to, piece->text + from, to_end - from, piece->is_own));
        offset += piece->bytes;
    }
    return STATUS_OK;
}

enum status jinja_text_string(struct jinja_text *text, const struct jinja_string **string)
{
    struct jinja_string *made = jinja_arena_take(text->arena, sizeof *made);
    if (!made)
        return no_room();
    *made =
        (struct jinja_string){.bytes = text->bytes, .count = text->count, .pieces = text->pieces};
    *string = made;
    return STATUS_OK;
}

enum status jinja_string_make(struct jinja_arena *arena, const struct jinja_string **string,
                              const char *text, size_t bytes, bool is_own)
{
    struct jinja_text one = {.arena = arena};
    TRY(jinja_text_add(&one, text, bytes, is_own));
    return jinja_text_string(&one, string);
}

enum status jinja_string_slice(struct jinja_arena *arena, const struct jinja_string **slice,
                               const struct jinja_string *string, size_t first, size_t end)
{
    struct jinja_text text = {.arena = arena};
    TRY(jinja_text_add_slice(&text, string, first, end));
    TRY(jinja_text_string(&text, slice));
    ((struct jinja_string *)*slice)->is_safe = string->is_safe;
    return STATUS_OK;
}

enum status jinja_string_flat(struct jinja_arena *arena, const char **text,
                              const struct jinja_string *string)
{
    if (string->count == 0 || string->flat) {
        *text = string->flat ? string->flat : "";
        return STATUS_OK;
    }
    if (string->count == 1) {
        *text = string->pieces[0].text;
        return STATUS_OK;
    }
    char *flat = jinja_arena_take(arena, string->bytes);
    if (!flat)
        return no_room();
    size_t offset = 0;
    for (size_t i = 0; i < string->count; i++) {
        memcpy(flat + offset, string->pieces[i].text, string->pieces[i].bytes);
        offset += string->pieces[i].bytes;
    }
    /* Only strings of a rendering have several pieces, and no other thread sees those. */
    ((struct jinja_string *)string)->flat = flat;
    *text = flat;
    return STATUS_OK;
}

size_t jinja_string_length(const struct jinja_string *string)
{
    size_t length = 0;
    for (size_t i = 0; i < string->count; i++)
        for (size_t b = 0; b < string->pieces[i].bytes; b++)
            length += ((unsigned char)string->pieces[i].text[b] & 0xC0) != 0x80;
    return length;
}

int jinja_string_compare(const struct jinja_string *a, const struct jinja_string *b)
{
    size_t i = 0, j = 0, in_a = 0, in_b = 0;
    while (i < a->count && j < b->count) {
        const struct jinja_piece *left = &a->pieces[i], *right = &b->pieces[j];
        const size_t left_bytes = left->bytes - in_a, right_bytes = right->bytes - in_b;
        const size_t bytes = left_bytes < right_bytes ? left_bytes : right_bytes;
        const int order = memcmp(left->text + in_a, right->text + in_b, bytes);
        if (order != 0)
            return order;
        in_a += bytes;
        in_b += bytes;
        if (in_a == left->bytes) {
            i++;
            in_a = 0;
        }
        if (in_b == right->bytes) {
            j++;
            in_b = 0;
        }
    }
    return (a->bytes > b->bytes) - (a->bytes < b->bytes);
}

bool jinja_string_is(const struct jinja_string *string, const char *text)
{
    const size_t bytes = strlen(text);
    struct jinja_piece piece = {text, bytes, false};
    const struct jinja_string other = {
        .bytes = bytes, .count = bytes > 0, .pieces = bytes > 0 ? &piece : NULL};
    return string->bytes == bytes && jinja_string_compare(string, &other) == 0;
}
