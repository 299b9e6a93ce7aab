/* Owns the bytes between what the system hands over and the lines. Promises that an interrupt is
 * seen within a fifth of a second. */
#include "coordinator/cli/line_input.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "coordinator/cli/interrupt.h"
#include "proto/utf8_check.h"

enum { LOOK_UP_MS = 200, ROOM_LEAST = 4096 };

void line_input_deinit(struct line_input *input)
{
    free(input->bytes);
    *input = (struct line_input){0};
}

static enum status make_room(struct line_input *input)
{
    if (input->room - input->used >= ROOM_LEAST)
        return STATUS_OK;
    size_t room = 2 * input->room + ROOM_LEAST;
    char *larger = realloc(input->bytes, room);
    if (!larger)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a line of %zu bytes", input->used);
    input->bytes = larger;
    input->room = room;
    return STATUS_OK;
}

/* Waits for more bytes, or the end. */
static enum status read_more(struct line_input *input)
{
    struct pollfd wanted = {.fd = STDIN_FILENO, .events = POLLIN};
    TRY(make_room(input));
    for (;;) {
        if (interrupt_count() > 0)
            return fail(STATUS_CANCELLED, "interrupted");
        if (poll(&wanted, 1, LOOK_UP_MS) <= 0)
            continue;
        ssize_t got = read(STDIN_FILENO, input->bytes + input->used, input->room - input->used);
        if (got < 0 && (errno == EINTR || errno == EAGAIN))
            continue;
        if (got < 0)
            return fail(STATUS_IO, "read standard input: %s",
                        errno == EBADF ? "it is closed" : strerror(errno));
        input->used += (size_t)got;
        input->ended = got == 0;
        return STATUS_OK;
    }
}

/* Gives out the first `bytes` and drops `skipped` of them all. */
static enum status take(struct line_input *input, char **line, size_t bytes, size_t skipped)
{
    char *copy = malloc(bytes + 1);
    if (!copy)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a line of %zu bytes", bytes);
    memcpy(copy, input->bytes, bytes);
    copy[bytes] = '\0';
    input->used -= skipped;
    memmove(input->bytes, input->bytes + skipped, input->used);
    enum status status = utf8_check(copy, bytes, "the line");
    if (status == STATUS_OK && strlen(copy) != bytes)
        status = fail(STATUS_INVALID_ARGUMENT, "the line is no text: it holds a zero byte");
    if (status == STATUS_OK)
        *line = copy;
    else
        free(copy);
    return status;
}

enum status line_input_read(struct line_input *input, char **line)
{
    size_t searched = 0;
    *line = NULL;
    for (;;) {
        const char *end = NULL;
        if (searched < input->used)
            end = memchr(input->bytes + searched, '\n', input->used - searched);
        if (end) {
            size_t bytes = (size_t)(end - input->bytes);
            return take(input, line, bytes, bytes + 1);
        }
        if (input->ended)
            return input->used ? take(input, line, input->used, input->used) : STATUS_OK;
        searched = input->used;
        TRY(read_more(input));
    }
}
