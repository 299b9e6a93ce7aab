/* Owns the layout of a checkpoint's header. Promises that what was read covers every parameter
 * once. */
#include "worker/trainer/state_header.h"

#include <stdlib.h>
#include <string.h>

#include "proto/model/cursor.h"

enum { MAGIC_BYTES = 8, DIGITS = DIGEST_HEX_BYTES - 1 };

static const char magic[MAGIC_BYTES + 1] = "LHSTATE1";

size_t state_header_bytes(uint32_t parts_count)
{
    const size_t head = MAGIC_BYTES + 3 * sizeof(uint64_t) + DIGITS + sizeof(uint32_t);
    const size_t part = 2 * sizeof(uint64_t) + (size_t)STATE_ARRAYS * DIGITS;
    return head + parts_count * part + DIGITS;
}

static uint8_t *put(uint8_t *at, const void *bytes, size_t count)
{
    memcpy(at, bytes, count);
    return at + count;
}

static uint8_t *put_number(uint8_t *at, uint64_t value, int count)
{
    for (int i = 0; i < count; i++)
        *at++ = (uint8_t)(value >> (8 * i));
    return at;
}

void state_header_write(void *bytes, const struct state_header *header)
{
    char digest[DIGEST_HEX_BYTES];
    uint8_t *at = put(bytes, magic, MAGIC_BYTES);
    at = put_number(at, header->step, 8);
    at = put_number(at, header->tokens, 8);
    at = put_number(at, header->count, 8);
    at = put(at, header->run, DIGITS);
    at = put_number(at, header->parts_count, 4);
    for (uint32_t p = 0; p < header->parts_count; p++) {
        at = put_number(at, header->parts[p].first, 8);
        at = put_number(at, header->parts[p].end, 8);
        for (int a = 0; a < STATE_ARRAYS; a++)
            at = put(at, header->parts[p].digests[a], DIGITS);
    }
    digest_bytes(digest, bytes, (size_t)(at - (uint8_t *)bytes));
    put(at, digest, DIGITS);
}

static enum status take_digits(struct cursor *cursor, char hex[DIGEST_HEX_BYTES], const char *what)
{
    const uint8_t *view;
    TRY(cursor_take(cursor, &view, DIGITS, what));
    memcpy(hex, view, DIGITS);
    hex[DIGITS] = '\0';
    return STATUS_OK;
}

static enum status take_parts(struct cursor *cursor, struct state_header *header)
{
    uint64_t end = 0;
    for (uint32_t p = 0; p < header->parts_count; p++) {
        struct state_part *part = &header->parts[p];
        TRY(cursor_u64(cursor, &part->first, "a part's first"));
        TRY(cursor_u64(cursor, &part->end, "a part's end"));
        if (part->first != end || part->end < part->first || part->end > header->count)
            return cursor_fail(cursor, cursor->offset, STATUS_DATA_LOSS, "parts",
                               "the parts do not lie end to end");
        end = part->end;
        for (int a = 0; a < STATE_ARRAYS; a++)
            TRY(take_digits(cursor, part->digests[a], "a part's digest"));
    }
    if (end != header->count)
        return cursor_fail(cursor, cursor->offset, STATUS_DATA_LOSS, "parts",
                           "the parts do not cover all parameters");
    return STATUS_OK;
}

/* Magic, length and digest: so that nothing is allocated for bytes that nobody wrote. */
static enum status check_whole(struct cursor *cursor)
{
    char digest[DIGEST_HEX_BYTES];
    if (cursor->bytes < state_header_bytes(0) || memcmp(cursor->data, magic, MAGIC_BYTES) != 0)
        return cursor_fail(cursor, 0, STATUS_DATA_LOSS, "magic", "this is no checkpoint's header");
    digest_bytes(digest, cursor->data, cursor->bytes - DIGITS);
    if (memcmp(digest, cursor->data + cursor->bytes - DIGITS, DIGITS) != 0)
        return cursor_fail(cursor, cursor->bytes - DIGITS, STATUS_DATA_LOSS, "digest",
                           "the bytes are not those that were written");
    cursor->offset = MAGIC_BYTES;
    return STATUS_OK;
}

static enum status read_header(struct state_header *header, struct cursor *cursor)
{
    TRY(check_whole(cursor));
    TRY(cursor_u64(cursor, &header->step, "the steps"));
    TRY(cursor_u64(cursor, &header->tokens, "the tokens"));
    TRY(cursor_u64(cursor, &header->count, "the parameters"));
    TRY(take_digits(cursor, header->run, "the run"));
    TRY(cursor_u32(cursor, &header->parts_count, "the parts"));
    if (header->parts_count > STATE_HEADER_PARTS_MOST ||
        cursor->bytes != state_header_bytes(header->parts_count))
        return cursor_fail(cursor, cursor->offset, STATUS_DATA_LOSS, "length",
                           "a header of %u parts is not %zu bytes long", header->parts_count,
                           cursor->bytes);
    header->parts = calloc(header->parts_count + 1, sizeof *header->parts);
    if (!header->parts)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a checkpoint's header");
    return take_parts(cursor, header);
}

enum status state_header_read(struct state_header *header, const char *name, const void *data,
                              size_t bytes)
{
    struct cursor cursor = {.data = data, .bytes = bytes, .name = name};
    struct state_header made = {0};
    const enum status status = read_header(&made, &cursor);
    if (status != STATUS_OK)
        state_header_deinit(&made);
    else
        *header = made;
    return status;
}

void state_header_deinit(struct state_header *header)
{
    free(header->parts);
    header->parts = NULL;
}
