/* Owns the room for one line, which grows with the longest. */
#include "coordinator/batch/line_splitter.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM_FIRST = 4096 };

void line_splitter_init(struct line_splitter *splitter, size_t line_bytes_max, int64_t number,
                        int64_t offset)
{
    *splitter = (struct line_splitter){
        .line_bytes_max = line_bytes_max, .number = number, .offset = offset};
}

void line_splitter_deinit(struct line_splitter *splitter)
{
    free(splitter->text);
    splitter->text = NULL;
}

/* Room for `bytes` and a 0. */
static enum status make_room(struct line_splitter *splitter, size_t bytes)
{
    size_t room = splitter->room ? splitter->room : ROOM_FIRST;
    if (bytes < splitter->room)
        return STATUS_OK;
    while (room <= bytes)
        room *= 2;
    char *wider = realloc(splitter->text, room);
    if (!wider)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a line of %zu bytes", bytes);
    splitter->text = wider;
    splitter->room = room;
    return STATUS_OK;
}

/* Keeps at most one byte more than a line may have, so that it is seen to be too long. */
static enum status keep(struct line_splitter *splitter, const char *bytes, size_t count)
{
    const size_t left = splitter->line_bytes_max + 1 - splitter->bytes;
    const size_t kept = count < left ? count : left;
    TRY(make_room(splitter, splitter->bytes + kept));
    memcpy(splitter->text + splitter->bytes, bytes, kept);
    splitter->bytes += kept;
    return STATUS_OK;
}

static enum status tell(struct line_splitter *splitter, line_splitter_take *take, void *context)
{
    if (splitter->bytes > 0 && splitter->text[splitter->bytes - 1] == '\r')
        splitter->bytes--;
    if (splitter->bytes == 0)
        return STATUS_OK;
    splitter->text[splitter->bytes] = 0;
    const struct split_line line = {splitter->text, splitter->bytes, ++splitter->number,
                                    splitter->offset, splitter->passed};
    return take(context, &line);
}

enum status line_splitter_feed(struct line_splitter *splitter, const void *bytes, size_t count,
                               line_splitter_take *take, void *context)
{
    const char *from = bytes, *end = from + count;
    while (from < end) {
        const char *feed = memchr(from, '\n', (size_t)(end - from));
        const size_t part = (size_t)((feed ? feed : end) - from);
        TRY(keep(splitter, from, part));
        splitter->passed += (int64_t)part;
        if (!feed)
            break;
        TRY(tell(splitter, take, context));
        splitter->offset += splitter->passed + 1;
        splitter->passed = 0;
        splitter->bytes = 0;
        from = feed + 1;
    }
    return STATUS_OK;
}

enum status line_splitter_end(struct line_splitter *splitter, line_splitter_take *take,
                              void *context)
{
    if (splitter->passed == 0)
        return STATUS_OK;
    TRY(tell(splitter, take, context));
    splitter->offset += splitter->passed;
    splitter->passed = 0;
    splitter->bytes = 0;
    return STATUS_OK;
}
