/* Feeds bytes to the reading of an uploaded form, whole and in pieces: both must tell the same
 * parts, and no part may hold its own delimiter. */
#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/http/http_multipart.h"
#include "tests/fuzz/fuzz.h"

/* The first byte is the size of a piece, less one; then the Content-Type, a zero byte, the form. */
static const char seed[] =
    "\x03multipart/form-data; boundary=xyz\0--xyz\r\nContent-Disposition: form-data; "
    "name=\"purpose\"\r\n\r\nbatch\r\n--xyz\r\nContent-Disposition: form-data; name=\"file\"; "
    "filename=\"a\\\"b\"\r\n\r\none\r\n--xy\r\r\n--xyz--\r\n";

size_t fuzz_seed(int index, uint8_t *data, size_t room)
{
    if (index > 0 || sizeof seed - 1 > room)
        return 0;
    memcpy(data, seed, sizeof seed - 1);
    return sizeof seed - 1;
}

/* A digest of what was told that does not see how it was cut. */
struct told {
    uint64_t digest;
    int parts, open;
};

static void add(struct told *told, const char *bytes, size_t count)
{
    for (size_t i = 0; i < count; i++)
        told->digest = (told->digest ^ (unsigned char)bytes[i]) * UINT64_C(0x100000001b3);
}

static enum status begin(void *context, const char *name, const char *filename)
{
    struct told *told = context;
    assert(!told->open++ && told->parts++ < HTTP_MULTIPART_PARTS_MAX);
    add(told, name, strlen(name) + 1);
    add(told, filename, strlen(filename) + 1);
    return STATUS_OK;
}

static enum status data(void *context, const char *bytes, size_t count)
{
    struct told *told = context;
    assert(told->open == 1 && count > 0);
    add(told, bytes, count);
    return STATUS_OK;
}

static enum status end(void *context)
{
    struct told *told = context;
    assert(told->open-- == 1);
    add(told, ";", 1);
    return STATUS_OK;
}

static enum status read_form(struct told *told, const char *type, const char *form, size_t bytes,
                             size_t piece)
{
    static const struct http_multipart_row row = {begin, data, end};
    struct http_multipart multipart;
    *told = (struct told){.digest = UINT64_C(0xcbf29ce484222325)};
    TRY(http_multipart_init(&multipart, &row, told, type));
    for (size_t at = 0; at < bytes; at += piece)
        TRY(http_multipart_take(&multipart, form + at, bytes - at < piece ? bytes - at : piece));
    return http_multipart_finish(&multipart);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t count)
{
    const uint8_t *zero = count > 1 ? memchr(bytes + 1, 0, count - 1) : NULL;
    if (!zero)
        return 0;
    struct told whole, cut;
    const size_t form_bytes = (size_t)(bytes + count - (zero + 1));
    char *form = malloc(form_bytes + 1);
    assert(form);
    memcpy(form, zero + 1, form_bytes);
    const char *type = (const char *)bytes + 1;
    const enum status first = read_form(&whole, type, form, form_bytes, form_bytes + 1);
    const enum status second = read_form(&cut, type, form, form_bytes, (size_t)bytes[0] + 1);
    assert(first == second && whole.digest == cut.digest && whole.parts == cut.parts);
    assert(first != STATUS_OK || whole.open == 0);
    free(form);
    return 0;
}
