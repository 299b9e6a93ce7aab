/* Owns descriptors 0 to 2 and why standard output failed. Promises one message for lost output. */
#include "proto/standard_streams.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

enum { AFTER_SIGNAL_MS = 1000 };

static bool output_closed;
static int lost_reason; /* the errno of the first write that failed; 0: none has */

/* Opened the wrong way round, so that use fails as it does on a closed descriptor. The lowest free
 * number is the one that was closed. */
static void occupy_closed(void)
{
    static const int modes[] = {O_WRONLY, O_RDONLY, O_WRONLY};
    for (int descriptor = 0; descriptor <= STDERR_FILENO; descriptor++) {
        if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF)
            continue;
        output_closed = output_closed || descriptor == STDOUT_FILENO;
        if (open("/dev/null", modes[descriptor]) < 0)
            return;
    }
}

/* Before the libraries' own constructors: gRPC's opens a descriptor. */
typedef void before_all(void);
__attribute__((section(".preinit_array"), used)) static before_all *const first = occupy_closed;

void standard_streams_open(void)
{
    signal(SIGPIPE, SIG_IGN);
}

enum status standard_output_check(void)
{
    return output_closed ? fail(STATUS_IO, "standard output is closed") : STATUS_OK;
}

/* An earlier write has failed and its errno is gone. */
static int guess_reason(void)
{
    struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
    return poll(&output, 1, 0) == 1 && (output.revents & POLLERR) ? EPIPE : EIO;
}

/* All of it, past signals: what stdio has not written when one comes, it forgets. Where the reader
 * takes nothing after a signal the write has failed, so that the signal can end the process. */
static bool write_all(const char *text)
{
    size_t left = strlen(text);
    while (left > 0) {
        struct pollfd output = {.fd = STDOUT_FILENO, .events = POLLOUT};
        const ssize_t written = write(STDOUT_FILENO, text, left);
        if (written >= 0) {
            text += written;
            left -= (size_t)written;
        } else if (errno != EINTR) {
            return false;
        } else if (poll(&output, 1, AFTER_SIGNAL_MS) <= 0) {
            errno = EINTR;
            return false;
        }
    }
    return true;
}

enum status standard_output_text(const char *text)
{
    errno = 0;
    const bool refused = fflush(stdout) != 0 || !write_all(text);
    if (!lost_reason && refused)
        lost_reason = errno ? errno : EIO;
    if (!lost_reason && ferror(stdout))
        lost_reason = guess_reason();
    return lost_reason ? fail(STATUS_IO, "write standard output: %s",
                              lost_reason == EBADF ? "it is closed" : strerror(lost_reason))
                       : STATUS_OK;
}

int standard_streams_end(const char *program, int exit_code)
{
    if (standard_output_text("") == STATUS_OK)
        return exit_code;
    if (exit_code != 0 && exit_code != status_exit_code(STATUS_IO))
        return exit_code;
    if (exit_code == 0)
        fprintf(stderr, "%s: %s\n", program, status_message());
    return lost_reason == EPIPE ? 128 + SIGPIPE : status_exit_code(STATUS_IO);
}
