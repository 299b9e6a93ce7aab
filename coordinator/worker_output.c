/* Owns the pipe from the launched workers and the thread that reads it. Promises that each line is
 * passed on once, whole up to LINE_BYTES, and in order. */
#include "coordinator/worker_output.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "proto/log.h"

enum { LOOK_MS = 100, LINE_BYTES = 4000, WORDS_BYTES = 512 };

struct worker_output {
    int reading_end; /* non-blocking */
    int writing_end;
    pthread_t thread;
    atomic_bool ending;
    pthread_mutex_t lock;  /* of reading and of what follows */
    char line[LINE_BYTES]; /* the one that is not complete yet */
    size_t used;
    bool in_frame;              /* between two rules of dashes */
    char failure[WORDS_BYTES];  /* the last sentence of a worker that failed */
    char unframed[WORDS_BYTES]; /* the last line outside frames that is none of the log */
    char last[WORDS_BYTES];     /* the last line that has words */
};

/* ---- lines; all under the lock ---- */

static void keep(char kept[WORDS_BYTES], const char *text, size_t bytes)
{
    snprintf(kept, WORDS_BYTES, "%.*s", (int)bytes, text);
}

static bool is_rule(const char *line, size_t bytes)
{
    size_t i = 0;
    while (i < bytes && (line[i] == '-' || line[i] == ' '))
        i++;
    return i == bytes;
}

/* Lines of the log begin with a time, or are objects. */
static bool is_logged(const char *line, size_t bytes)
{
    return bytes > 0 && (line[0] == '{' || (line[0] >= '0' && line[0] <= '9'));
}

static void take_line(struct worker_output *output)
{
    static const char prefix[] = "longhaul-worker: ";
    const char *line = output->line;
    size_t bytes = output->used;
    output->used = 0;
    log_relay(line, bytes);
    if (bytes > sizeof prefix && memcmp(line, prefix, sizeof prefix - 1) == 0)
        keep(output->failure, line + sizeof prefix - 1, bytes - (sizeof prefix - 1));
    if (is_rule(line, bytes)) {
        output->in_frame = output->in_frame != (bytes > 0 && line[0] == '-');
        return;
    }
    keep(output->last, line, bytes);
    if (!output->in_frame && !is_logged(line, bytes))
        keep(output->unframed, line, bytes);
}

static void read_all(struct worker_output *output)
{
    char piece[4096];
    ssize_t got;
    while ((got = read(output->reading_end, piece, sizeof piece)) > 0) {
        for (ssize_t i = 0; i < got; i++) {
            if (piece[i] != '\n')
                output->line[output->used++] = piece[i];
            if (piece[i] == '\n' || output->used == LINE_BYTES)
                take_line(output);
        }
    }
}

static void *read_lines(void *argument)
{
    struct worker_output *output = argument;
    while (!atomic_load(&output->ending)) {
        struct pollfd input = {.fd = output->reading_end, .events = POLLIN};
        if (poll(&input, 1, LOOK_MS) <= 0)
            continue;
        pthread_mutex_lock(&output->lock);
        read_all(output);
        pthread_mutex_unlock(&output->lock);
    }
    return NULL;
}

/* ---- life ---- */

enum status worker_output_create(struct worker_output **output)
{
    int ends[2];
    struct worker_output *made = calloc(1, sizeof *made);
    if (!made)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for the workers' output");
    if (pipe2(ends, O_CLOEXEC) != 0) {
        free(made);
        return fail(STATUS_IO, "make a pipe for the workers' output: %s", strerror(errno));
    }
    made->reading_end = ends[0];
    made->writing_end = ends[1];
    fcntl(made->reading_end, F_SETFL, O_NONBLOCK);
    pthread_mutex_init(&made->lock, NULL);
    int error = pthread_create(&made->thread, NULL, read_lines, made);
    if (error) {
        close(ends[0]);
        close(ends[1]);
        free(made);
        return fail(STATUS_RESOURCE_EXHAUSTED, "start a thread for the workers' output: %s",
                    strerror(error));
    }
    *output = made;
    return STATUS_OK;
}

int worker_output_descriptor(const struct worker_output *output)
{
    return output->writing_end;
}

void worker_output_begin(struct worker_output *output)
{
    pthread_mutex_lock(&output->lock);
    read_all(output);
    output->failure[0] = output->unframed[0] = output->last[0] = 0;
    output->in_frame = false;
    pthread_mutex_unlock(&output->lock);
}

void worker_output_last_words(struct worker_output *output, char *text, size_t bytes)
{
    pthread_mutex_lock(&output->lock);
    read_all(output);
    snprintf(text, bytes, "%s",
             output->failure[0]    ? output->failure
             : output->unframed[0] ? output->unframed
                                   : output->last);
    pthread_mutex_unlock(&output->lock);
}

void worker_output_destroy(struct worker_output *output)
{
    if (!output)
        return;
    atomic_store(&output->ending, true);
    pthread_join(output->thread, NULL);
    read_all(output);
    if (output->used > 0)
        take_line(output);
    close(output->reading_end);
    close(output->writing_end);
    pthread_mutex_destroy(&output->lock);
    free(output);
}
