/* Owns the input. Promises the same bytes each time that it is read. */
#include "coordinator/cli/waiting_lines.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/openai/batch_line.h"

static enum status failed(const struct waiting_lines *lines)
{
    return fail(STATUS_IO, "read %s: %s", lines->path, strerror(errno));
}

static bool is_empty(const char *line, size_t bytes)
{
    return bytes == 0 || line[0] == '\n' || (line[0] == '\r' && bytes <= 2);
}

static bool is_done(const struct waiting_lines *lines)
{
    struct status_details details = {.reason = NULL};
    struct batch_line parts;
    if (lines->in_order)
        return lines->number <= lines->done;
    /* What is wrong with it is the coordinator's to say: here only its name counts. */
    const size_t bytes = lines->bytes - (lines->line[lines->bytes - 1] == '\n');
    if (batch_line_parse(&parts, &details, lines->line, bytes) != STATUS_OK && !parts.custom_id[0])
        return false;
    return text_set_has(&lines->kept->ids, parts.custom_id);
}

/* The next line that waits, with its line feed; `bytes` 0: the end. */
static enum status next_line(struct waiting_lines *lines)
{
    lines->told = lines->bytes = 0;
    for (ssize_t got; (got = getline(&lines->line, &lines->room, lines->file)) > 0;) {
        if (is_empty(lines->line, (size_t)got))
            continue;
        lines->number++;
        lines->bytes = (size_t)got;
        if (!is_done(lines))
            return STATUS_OK;
        lines->bytes = 0;
    }
    return ferror(lines->file) ? failed(lines) : STATUS_OK;
}

static enum status begin_again(struct waiting_lines *lines)
{
    rewind(lines->file);
    lines->number = 0;
    lines->offset = 0;
    return next_line(lines);
}

enum status waiting_lines_open(struct waiting_lines *lines, const char *path,
                               const struct kept_results *kept, bool in_order)
{
    *lines = (struct waiting_lines){
        .path = path, .kept = kept, .in_order = in_order, .done = kept->lines};
    lines->file = fopen(path, "re");
    if (!lines->file)
        return fail(STATUS_NOT_FOUND, "open %s: %s", path, strerror(errno));
    TRY(begin_again(lines));
    for (; lines->bytes > 0; lines->count++)
        TRY(next_line(lines));
    return begin_again(lines);
}

void waiting_lines_close(struct waiting_lines *lines)
{
    if (lines->file)
        fclose(lines->file);
    free(lines->line);
    *lines = (struct waiting_lines){.file = NULL};
}

/* Fills the piece; where it is NULL, passes over as many bytes. */
static enum status fill(struct waiting_lines *lines, char *piece, size_t size, size_t *bytes)
{
    *bytes = 0;
    while (*bytes < size && lines->bytes > 0) {
        const size_t rest = lines->bytes - lines->told;
        const size_t part = rest < size - *bytes ? rest : size - *bytes;
        if (piece)
            memcpy(piece + *bytes, lines->line + lines->told, part);
        *bytes += part;
        lines->told += part;
        lines->offset += (int64_t)part;
        if (lines->told == lines->bytes)
            TRY(next_line(lines));
    }
    return STATUS_OK;
}

enum status waiting_lines_read(void *context, int64_t offset, void *piece, size_t size,
                               size_t *bytes)
{
    struct waiting_lines *lines = context;
    if (offset < lines->offset)
        TRY(begin_again(lines));
    if (offset > lines->offset)
        TRY(fill(lines, NULL, (size_t)(offset - lines->offset), bytes));
    return fill(lines, piece, size, bytes);
}
