/* Owns nothing outside of the caller's struct. Promises to keep no more of a part than its head.
 *
 * A delimiter begins with a carriage return and has no other: where the comparison with it fails, a
 * new one can begin only at a carriage return that failed it. */
#include "coordinator/http/http_multipart.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* ---- parameters of a header: NAME=VALUE or NAME="VALUE" behind semicolons ---- */

/* Copies a value from behind its '=' to `value` [room]; returns what follows, NULL where it does
 * not end or has no room. */
static const char *read_value(char *value, size_t room, const char *from)
{
    const bool quoted = *from == '"';
    size_t bytes = 0;
    for (from += quoted; *from && (quoted ? *from != '"' : !strchr("; \t", *from)); from++) {
        if (quoted && *from == '\\' && (from[1] == '"' || from[1] == '\\'))
            from++;
        if (bytes + 1 >= room)
            return NULL;
        value[bytes++] = *from;
    }
    value[bytes] = 0;
    if (!quoted)
        return from;
    return *from == '"' ? from + 1 : NULL;
}

/* The parameter `name` of a header's value; false where it is not there, or broken. */
static bool find_parameter(char *value, size_t room, const char *header, const char *name)
{
    char skipped[HTTP_MULTIPART_HEADING_MAX];
    const size_t name_bytes = strlen(name);
    const char *at = header + strcspn(header, ";");
    while (*at == ';') {
        at += 1 + strspn(at + 1, " \t");
        const size_t bytes = strcspn(at, "=;");
        if (at[bytes] != '=')
            return false;
        const bool found = bytes == name_bytes && strncasecmp(at, name, bytes) == 0;
        at = read_value(found ? value : skipped, found ? room : sizeof skipped, at + bytes + 1);
        if (found || !at)
            return at != NULL;
        at += strspn(at, " \t");
    }
    return false;
}

static bool is_of_boundary(const char *text)
{
    return text[0] && !text[strspn(text, "0123456789abcdefghijklmnopqrstuvwxyz"
                                         "ABCDEFGHIJKLMNOPQRSTUVWXYZ'()+_,-./:=?")];
}

enum status http_multipart_init(struct http_multipart *multipart,
                                const struct http_multipart_row *row, void *context,
                                const char *content_type)
{
    static const char type[] = "multipart/form-data";
    char boundary[HTTP_MULTIPART_BOUNDARY_MAX + 1];
    *multipart = (struct http_multipart){.row = row, .context = context};
    if (!content_type || strncasecmp(content_type, type, sizeof type - 1) != 0)
        return fail(STATUS_INVALID_ARGUMENT, "a file is uploaded as %s", type);
    if (!find_parameter(boundary, sizeof boundary, content_type, "boundary") ||
        !is_of_boundary(boundary))
        return fail(STATUS_INVALID_ARGUMENT, "%s has no boundary of 1 to %d characters", type,
                    HTTP_MULTIPART_BOUNDARY_MAX);
    const int bytes =
        snprintf(multipart->delimiter, sizeof multipart->delimiter, "\r\n--%s", boundary);
    multipart->delimiter_bytes = (size_t)bytes;
    multipart->matched = multipart->lent = 2; /* the first boundary needs no line before it */
    return STATUS_OK;
}

/* ---- the parts ---- */

/* The line of a part's head that begins with this name, without it; NULL where there is none. The
 * line ends in 0. */
static char *find_line(char *heading, const char *name)
{
    char *found = NULL;
    for (char *line = heading; line && *line && !found;) {
        char *end = strstr(line, "\r\n");
        if (end)
            *end = 0;
        if (strncasecmp(line, name, strlen(name)) == 0)
            found = line + strlen(name);
        line = end ? end + 2 : NULL;
    }
    return found;
}

static enum status begin_part(struct http_multipart *multipart)
{
    char name[HTTP_MULTIPART_NAME_BYTES], filename[HTTP_MULTIPART_NAME_BYTES];
    if (strlen(multipart->heading) != multipart->heading_bytes)
        return fail(STATUS_INVALID_ARGUMENT, "the head of a part has a NUL");
    char *disposition = find_line(multipart->heading, "Content-Disposition:");
    if (++multipart->parts > HTTP_MULTIPART_PARTS_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "a form has at most %d parts",
                    HTTP_MULTIPART_PARTS_MAX);
    if (!disposition || !find_parameter(name, sizeof name, disposition, "name"))
        return fail(STATUS_INVALID_ARGUMENT, "part %d of the form has no name of at most %d bytes",
                    multipart->parts, HTTP_MULTIPART_NAME_BYTES - 1);
    if (!find_parameter(filename, sizeof filename, disposition, "filename"))
        filename[0] = 0;
    multipart->state = HTTP_MULTIPART_INSIDE;
    multipart->heading_bytes = 0;
    /* The empty line before it is the line end of a delimiter, too: a part may have no bytes. */
    multipart->matched = multipart->lent = 2;
    return multipart->row->begin(multipart->context, name, filename);
}

static enum status take_heading(struct http_multipart *multipart, char byte)
{
    static const char end[] = "\r\n\r\n";
    if (multipart->heading_bytes == HTTP_MULTIPART_HEADING_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "the head of a part is longer than %d bytes",
                    HTTP_MULTIPART_HEADING_MAX);
    multipart->heading[multipart->heading_bytes++] = byte;
    multipart->heading[multipart->heading_bytes] = 0;
    const size_t bytes = multipart->heading_bytes, end_bytes = sizeof end - 1;
    if (bytes < end_bytes || memcmp(multipart->heading + bytes - end_bytes, end, end_bytes) != 0)
        return STATUS_OK;
    return begin_part(multipart);
}

/* A line end or "--"; white space may stand before a line end. */
static enum status take_after_boundary(struct http_multipart *multipart, char byte)
{
    if (multipart->tail_bytes == 0 && (byte == ' ' || byte == '\t'))
        return STATUS_OK;
    multipart->tail[multipart->tail_bytes++] = byte;
    if (multipart->tail_bytes < 2)
        return STATUS_OK;
    multipart->tail_bytes = 0;
    if (memcmp(multipart->tail, "--", 2) == 0)
        multipart->state = HTTP_MULTIPART_OVER;
    else if (memcmp(multipart->tail, "\r\n", 2) == 0)
        multipart->state = HTTP_MULTIPART_HEADING;
    else
        return fail(STATUS_INVALID_ARGUMENT, "a boundary of the form is followed by other bytes");
    return STATUS_OK;
}

/* What turned out to be no delimiter, and what is none, is the part's. Before the first boundary it
 * is nobody's. */
static enum status give(struct http_multipart *multipart, const char *bytes, size_t count)
{
    return multipart->state == HTTP_MULTIPART_INSIDE && count > 0
               ? multipart->row->data(multipart->context, bytes, count)
               : STATUS_OK;
}

/* Of a part, up to the next byte that may begin a delimiter; `*used` bytes. */
static enum status take_inside(struct http_multipart *multipart, const char *bytes, size_t count,
                               size_t *used)
{
    if (multipart->matched == 0) {
        const char *begin = memchr(bytes, '\r', count);
        *used = begin ? (size_t)(begin - bytes) + 1 : count;
        multipart->matched = begin != NULL;
        return give(multipart, bytes, begin ? *used - 1 : count);
    }
    if (bytes[0] != multipart->delimiter[multipart->matched]) {
        const size_t matched = multipart->matched, lent = multipart->lent;
        multipart->matched = multipart->lent = 0; /* this byte is looked at again */
        *used = 0;
        return give(multipart, multipart->delimiter + lent, matched - lent);
    }
    *used = 1;
    if (++multipart->matched < multipart->delimiter_bytes)
        return STATUS_OK;
    multipart->matched = multipart->lent = 0;
    const bool inside = multipart->state == HTTP_MULTIPART_INSIDE;
    multipart->state = HTTP_MULTIPART_BOUNDARY;
    return inside ? multipart->row->end(multipart->context) : STATUS_OK;
}

enum status http_multipart_take(struct http_multipart *multipart, const char *bytes, size_t count)
{
    while (count > 0) {
        size_t used = 1;
        switch (multipart->state) {
        case HTTP_MULTIPART_OPENING:
        case HTTP_MULTIPART_INSIDE:
            TRY(take_inside(multipart, bytes, count, &used));
            break;
        case HTTP_MULTIPART_BOUNDARY:
            TRY(take_after_boundary(multipart, bytes[0]));
            break;
        case HTTP_MULTIPART_HEADING:
            TRY(take_heading(multipart, bytes[0]));
            break;
        default:
            return STATUS_OK;
        }
        bytes += used;
        count -= used;
    }
    return STATUS_OK;
}

enum status http_multipart_finish(const struct http_multipart *multipart)
{
    return multipart->state == HTTP_MULTIPART_OVER
               ? STATUS_OK
               : fail(STATUS_INVALID_ARGUMENT, "the form ends before its last boundary");
}
