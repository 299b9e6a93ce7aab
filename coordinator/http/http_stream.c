/* Owns a request, its errand's thread and the bytes that the client has not taken. Promises that
 * those are bounded, and that the thread has ended before the connection is closed.
 *
 *   begun     --the first bytes are there (post)-->              telling
 *   begun     --the errand failed before (run)-->               failed: an error with its code
 *   telling   --the errand is over (run)-->                     done: the rest is taken
 *   telling   --the client takes nothing for too long (end)-->   ended: the connection is closed
 *   any       --the connection is gone (stop)-->                 gone
 */
#include "coordinator/http/http_stream.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/http/http_client.h"
#include "coordinator/openai/openai_error.h"
#include "coordinator/errand.h"
#include "proto/clock.h"

/* A client and what lies between see a connection that lives, however long a prompt takes. */
enum { UNSENT_BYTES_MAX = 1 << 20, KEEP_ALIVE_MS = 5000 };

struct stream {
    struct http_exchange *exchange;
    struct openai_request *request;
    struct openai_answer *answer;
    pthread_t thread;
    pthread_mutex_t lock; /* of what follows */
    pthread_cond_t changed;
    char *unsent; /* [first, end) of it */
    size_t first, end, room;
    int64_t taken_ns; /* when the client last took something, or there was nothing for it */
    bool begun, done, ended, gone;
    enum status failure; /* of an errand that told nothing */
    char sentence[HTTP_SENTENCE_BYTES];
};

/* ---- the errand's side ---- */

/* Under the lock. */
static enum status keep(struct stream *stream, const char *bytes, size_t count)
{
    if (stream->first > 0 && stream->end + count > stream->room) {
        memmove(stream->unsent, stream->unsent + stream->first, stream->end - stream->first);
        stream->end -= stream->first;
        stream->first = 0;
    }
    if (stream->end + count > stream->room) {
        const size_t room = 2 * (stream->end + count);
        char *longer = realloc(stream->unsent, room);
        if (!longer)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an answer");
        stream->unsent = longer;
        stream->room = room;
    }
    if (stream->first == stream->end)
        stream->taken_ns = clock_now_ns();
    memcpy(stream->unsent + stream->end, bytes, count);
    stream->end += count;
    stream->begun = true;
    pthread_cond_broadcast(&stream->changed);
    return STATUS_OK;
}

static enum status send_text(struct stream *stream, struct http_text *text)
{
    enum status status = STATUS_OK;
    if (fclose(text->file) != 0)
        status = fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an answer");
    pthread_mutex_lock(&stream->lock);
    if (status == STATUS_OK && (stream->gone || stream->ended))
        status = fail(STATUS_CANCELLED, "the client left");
    if (status == STATUS_OK && text->bytes > 0)
        status = keep(stream, text->text, text->bytes);
    pthread_mutex_unlock(&stream->lock);
    free(text->text);
    return status;
}

static enum status post(void *context, const ProtobufCMessage *event)
{
    struct stream *stream = context;
    const Longhaul__V1__GenerateResponse *response = (const void *)event;
    struct http_text text;
    http_client_name(stream->exchange, response->request_id);
    TRY(http_text_open(&text));
    const enum status status = openai_answer_tell(stream->answer, response, text.file);
    if (status != STATUS_OK) {
        http_text_drop(&text);
        return status;
    }
    return send_text(stream, &text);
}

static bool has_room(void *context, int64_t timeout_ms)
{
    struct stream *stream = context;
    const int64_t until_ns = clock_after_ms(timeout_ms);
    pthread_mutex_lock(&stream->lock);
    while (stream->end - stream->first >= UNSENT_BYTES_MAX && !stream->gone && !stream->ended &&
           clock_wait(&stream->changed, &stream->lock, until_ns))
        ;
    const bool room = stream->end - stream->first < UNSENT_BYTES_MAX;
    pthread_mutex_unlock(&stream->lock);
    return room;
}

static int64_t stalled_ms(void *context)
{
    struct stream *stream = context;
    pthread_mutex_lock(&stream->lock);
    const int64_t ms =
        stream->first < stream->end ? (clock_now_ns() - stream->taken_ns) / 1000000 : 0;
    pthread_mutex_unlock(&stream->lock);
    return ms;
}

static bool left(void *context)
{
    struct stream *stream = context;
    pthread_mutex_lock(&stream->lock);
    const bool gone = stream->gone || stream->ended;
    pthread_mutex_unlock(&stream->lock);
    return gone || http_client_left(stream->exchange);
}

static void end(void *context)
{
    struct stream *stream = context;
    pthread_mutex_lock(&stream->lock);
    stream->ended = true;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    http_connection_limit(stream->exchange->peer, 0); /* its thread may wait for the client */
}

static void note(void *context, struct log_field field)
{
    struct stream *stream = context;
    http_note(stream->exchange, field);
}

static void tell_end(struct stream *stream, enum status status)
{
    struct http_text text;
    if (http_text_open(&text) != STATUS_OK)
        return;
    if (status == STATUS_OK)
        openai_answer_tell_end(text.file);
    else
        openai_error_tell(text.file, status, &stream->exchange->details, stream->sentence);
    if (send_text(stream, &text) != STATUS_OK)
        http_connection_limit(stream->exchange->peer, 0); /* a cut answer is seen to be one */
}

static void *run(void *context)
{
    static const struct errand_client_row row = {
        .post = post,
        .has_room = has_room,
        .stalled_ms = stalled_ms,
        .left = left,
        .end = end,
        .note = note,
    };
    struct stream *stream = context;
    const struct errand_client client = {
        .row = &row,
        .context = stream,
        .details = &stream->exchange->details,
        .deadline_ns = CLOCK_NEVER_NS,
        .tenant = stream->exchange->caller.tenant.name,
    };
    const enum status status =
        errand_generate(&client, stream->exchange->tools->errand, stream->request->generate);
    snprintf(stream->sentence, sizeof stream->sentence, "%s", status_message());
    pthread_mutex_lock(&stream->lock);
    const bool begun = stream->begun;
    stream->failure = status;
    pthread_mutex_unlock(&stream->lock);
    if (begun)
        tell_end(stream, status);
    pthread_mutex_lock(&stream->lock);
    stream->done = true;
    if (begun && !stream->ended)
        http_connection_pace(stream->exchange->peer, clock_now_ns(), stream->end - stream->first);
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    return NULL;
}

/* ---- the connection's side ---- */

static ssize_t give(void *context, uint64_t position, char *buffer, size_t most)
{
    static const char alive[] = ": \n\n";
    struct stream *stream = context;
    const int64_t until_ns = clock_after_ms(KEEP_ALIVE_MS);
    ssize_t given = 0;
    (void)position;
    pthread_mutex_lock(&stream->lock);
    while (stream->first == stream->end && !stream->done && !stream->ended &&
           clock_wait(&stream->changed, &stream->lock, until_ns))
        ;
    const size_t there = stream->end - stream->first;
    if (stream->ended) {
        given = MHD_CONTENT_READER_END_WITH_ERROR;
    } else if (there > 0) {
        given = (ssize_t)(there < most ? there : most);
        memcpy(buffer, stream->unsent + stream->first, (size_t)given);
        stream->first += (size_t)given;
        stream->taken_ns = clock_now_ns();
        pthread_cond_broadcast(&stream->changed);
    } else if (stream->done) {
        given = MHD_CONTENT_READER_END_OF_STREAM;
    } else if (most >= sizeof alive - 1) {
        given = sizeof alive - 1;
        memcpy(buffer, alive, sizeof alive - 1);
    }
    pthread_mutex_unlock(&stream->lock);
    return given;
}

static void destroy(struct stream *stream)
{
    pthread_cond_destroy(&stream->changed);
    pthread_mutex_destroy(&stream->lock);
    openai_answer_destroy(stream->answer);
    openai_request_free(stream->request);
    free(stream->unsent);
    free(stream);
}

/* The answer is out, or the connection gone. */
static void stop(void *context)
{
    struct stream *stream = context;
    pthread_mutex_lock(&stream->lock);
    stream->gone = true;
    pthread_cond_broadcast(&stream->changed);
    pthread_mutex_unlock(&stream->lock);
    pthread_join(stream->thread, NULL);
    if (stream->failure != STATUS_OK && stream->exchange->failure == STATUS_OK) {
        stream->exchange->failure = stream->failure;
        memcpy(stream->exchange->sentence, stream->sentence, sizeof stream->sentence);
    }
    destroy(stream);
}

static enum status start(struct stream *stream, struct http_exchange *exchange)
{
    const int failure = pthread_create(&stream->thread, NULL, run, stream);
    if (failure)
        return fail(STATUS_RESOURCE_EXHAUSTED, "start a thread for a request: %s",
                    strerror(failure));
    exchange->work = stream;
    exchange->end_work = stop;
    return STATUS_OK;
}

static enum status create(struct stream **stream, struct http_exchange *exchange,
                          struct openai_request *request, const struct openai_answer_facts *facts)
{
    struct stream *s = calloc(1, sizeof *s);
    if (!s) {
        openai_request_free(request);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a request");
    }
    s->exchange = exchange;
    s->request = request;
    s->taken_ns = clock_now_ns();
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    enum status status = openai_answer_create(&s->answer, facts);
    if (status == STATUS_OK)
        status = start(s, exchange);
    if (status != STATUS_OK)
        destroy(s);
    else
        *stream = s;
    return status;
}

enum status http_stream_answer(struct http_exchange *exchange, struct openai_request *request,
                               const struct openai_answer_facts *facts)
{
    struct stream *stream = NULL;
    TRY(create(&stream, exchange, request, facts));
    pthread_mutex_lock(&stream->lock);
    while (!stream->begun && !stream->done)
        clock_wait(&stream->changed, &stream->lock, clock_after_ms(KEEP_ALIVE_MS));
    const bool begun = stream->begun;
    pthread_mutex_unlock(&stream->lock);
    if (!begun)
        return fail(stream->failure, "%s", stream->sentence);
    return http_reply_stream(exchange, "text/event-stream", give, stream);
}
