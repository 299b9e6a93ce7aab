/* Owns the lines that are on their way to standard error and the thread that writes them. Promises
 * that a line is written whole and in order or is counted as dropped, and that nobody but the
 * thread ever waits for standard error.
 *
 * The thread starts with the first line. A forked child begins with an empty store and a thread of
 * its own.
 */
#include "proto/log_output.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/clock.h"

enum {
    AGAIN_MS = 1000, /* between tries where another process made the descriptor non-blocking */
    THREAD_STACK_BYTES = 256 << 10,
};

static struct {
    pthread_mutex_t lock; /* of all that follows */
    pthread_cond_t changed;
    char store[LOG_OUTPUT_STORE_BYTES]; /* a ring of whole lines */
    size_t first, used;
    int64_t dropped; /* since the last notice that was written or is being written */
    bool notify;     /* a notice may be tried: something has come since the last one failed */
    bool writing;
    bool started;
    log_output_notice *notice;
} output = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

/* ---- the thread ---- */

/* Whether all of it went out. Waits for as long as it takes. */
static bool write_whole(const char *line, size_t bytes)
{
    while (bytes > 0) {
        ssize_t written = write(STDERR_FILENO, line, bytes);
        if (written > 0) {
            line += written;
            bytes -= (size_t)written;
            continue;
        }
        if (written < 0 && errno == EAGAIN) {
            struct pollfd room = {.fd = STDERR_FILENO, .events = POLLOUT};
            (void)poll(&room, 1, AGAIN_MS);
        } else if (written == 0 || errno != EINTR) {
            return false;
        }
    }
    return true;
}

/* Takes the oldest line out of the store. Under the lock. */
static size_t take_line(char line[LOG_OUTPUT_LINE_BYTES])
{
    size_t bytes = 0;
    do {
        line[bytes++] = output.store[output.first];
        output.first = (output.first + 1) % LOG_OUTPUT_STORE_BYTES;
    } while (line[bytes - 1] != '\n');
    output.used -= bytes;
    return bytes;
}

static bool has_work(void)
{
    return output.used > 0 || (output.dropped > 0 && output.notify);
}

/* Writes one line, or the notice where there is none. Under the lock, which it leaves meanwhile. */
static void write_next(void)
{
    char line[LOG_OUTPUT_LINE_BYTES];
    bool is_notice = output.used == 0;
    int64_t told = is_notice ? output.dropped : 0;
    size_t bytes = is_notice ? output.notice(line, told) : take_line(line);
    output.dropped -= told; /* what comes while the notice is written follows it */
    output.writing = true;
    pthread_mutex_unlock(&output.lock);
    bool written = write_whole(line, bytes);
    pthread_mutex_lock(&output.lock);
    output.writing = false;
    if (!written && is_notice) {
        output.dropped += told;
        output.notify = false;
    } else if (!written) {
        output.dropped++;
    }
    pthread_cond_broadcast(&output.changed);
}

static void *write_lines(void *none)
{
    (void)none;
    pthread_mutex_lock(&output.lock);
    for (;;) {
        /* No deadline: this wait ends with the process. */
        while (!has_work())
            (void)clock_wait(&output.changed, &output.lock, CLOCK_NEVER_NS);
        write_next();
    }
    return NULL;
}

/* ---- its start and its end ---- */

static void flush_at_end(void)
{
    log_output_flush(LOG_OUTPUT_END_MS);
}

/* The parent writes what it has kept. */
static void begin_anew(void)
{
    pthread_mutex_init(&output.lock, NULL);
    pthread_cond_init(&output.changed, NULL);
    output.first = output.used = 0;
    output.dropped = 0;
    output.writing = output.started = false;
}

/* Under the lock. Where no thread can be had, lines are kept and the next one tries again. */
static void start(void)
{
    static bool prepared;
    if (!prepared) {
        prepared = true;
        atexit(flush_at_end);
        pthread_atfork(NULL, NULL, begin_anew);
    }
    pthread_t thread;
    pthread_attr_t attributes;
    sigset_t all, before;
    sigfillset(&all);
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, THREAD_STACK_BYTES);
    /* Signals are other threads' business; SIGPIPE is an error of write here. */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    output.started = pthread_create(&thread, &attributes, write_lines, NULL) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    pthread_attr_destroy(&attributes);
}

/* ---- what others call ---- */

static void keep(const char *line, size_t bytes)
{
    size_t end = (output.first + output.used) % LOG_OUTPUT_STORE_BYTES;
    size_t before_wrap = LOG_OUTPUT_STORE_BYTES - end;
    size_t head = bytes < before_wrap ? bytes : before_wrap;
    memcpy(output.store + end, line, head);
    memcpy(output.store, line + head, bytes - head);
    output.used += bytes;
}

void log_output_put(const char *line, size_t bytes, log_output_notice *notice)
{
    assert(bytes > 0 && bytes <= LOG_OUTPUT_LINE_BYTES && line[bytes - 1] == '\n');
    pthread_mutex_lock(&output.lock);
    output.notice = notice;
    output.notify = true;
    /* After the first loss none is kept before that loss is told: lines stay in order. */
    if (output.dropped > 0 || output.used + bytes > LOG_OUTPUT_STORE_BYTES)
        output.dropped++;
    else
        keep(line, bytes);
    if (!output.started)
        start();
    pthread_cond_broadcast(&output.changed);
    pthread_mutex_unlock(&output.lock);
}

void log_output_flush(int64_t timeout_ms)
{
    int64_t deadline_ns = clock_after_ms(timeout_ms);
    pthread_mutex_lock(&output.lock);
    while (output.started && (has_work() || output.writing) &&
           clock_wait(&output.changed, &output.lock, deadline_ns))
        ;
    pthread_mutex_unlock(&output.lock);
}
