/* Owns one call. Promises that an interrupt is seen within a fifth of a second and that the call
 * has ended on return. */
#include "coordinator/cli/event_stream.h"

#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "coordinator/cli/interrupt.h"
#include "proto/clock.h"
#include "proto/rpc/rpc_client.h"
#include "proto/rpc/rpc_server.h"

enum { LOOK_UP_MS = 200 };

/* Where a call stands. */
struct attempt {
    const struct event_stream_args *args;
    struct rpc_stream *stream;
    int64_t deadline_ns;
    struct status_advice advice;
};

static enum status check_interrupt(void)
{
    return interrupt_count() > 0 ? fail(STATUS_CANCELLED, "interrupted") : STATUS_OK;
}

/* Nothing for LOOK_UP_MS is no failure of the call: its own end comes as a NULL message. */
static enum status next_event(struct attempt *attempt, const ProtobufCMessage **event)
{
    enum status status = rpc_stream_read(attempt->stream, event, LOOK_UP_MS);
    while (status == STATUS_DEADLINE_EXCEEDED) {
        TRY(check_interrupt());
        attempt->args->wait(attempt->args->context, NULL);
        status = rpc_stream_read(attempt->stream, event, LOOK_UP_MS);
    }
    return status;
}

static enum status read_events(struct attempt *attempt)
{
    const ProtobufCMessage *event = NULL;
    do {
        TRY(check_interrupt());
        TRY(next_event(attempt, &event));
        if (event)
            TRY(attempt->args->take(attempt->args->context, event));
    } while (event);
    return rpc_stream_finish(attempt->stream);
}

static enum status ask(struct attempt *attempt, struct rpc_client *client)
{
    const struct event_stream_args *args = attempt->args;
    int64_t left_ms = (attempt->deadline_ns - clock_now_ns()) / 1000000;
    const struct rpc_stream_args call = {
        .path = args->path,
        .response = args->response,
        .timeout_ms = !args->timeout_ms ? 0
                      : left_ms > 1     ? left_ms
                                        : 1,
    };
    TRY(rpc_stream_open(&attempt->stream, client, &call));
    enum status status = rpc_stream_write(attempt->stream, args->request);
    if (status == STATUS_OK) {
        rpc_stream_half_close(attempt->stream);
        status = read_events(attempt);
    }
    rpc_stream_advice(attempt->stream, &attempt->advice);
    rpc_stream_close(attempt->stream);
    return status;
}

/* What the server refuses now and says may work later. */
static bool may_work_later(const struct attempt *attempt, enum status status)
{
    const char *reason = attempt->advice.reason;
    bool waits = strcmp(reason, "NO_WORKERS") == 0 || strcmp(reason, "QUEUE_FULL") == 0;
    return (status == STATUS_UNAVAILABLE || status == STATUS_RESOURCE_EXHAUSTED) && waits &&
           attempt->advice.retry_ms > 0 && !*attempt->args->begun;
}

/* As long as the server says, at most until the deadline. */
static enum status wait_before_asking_again(const struct attempt *attempt)
{
    int64_t until_ns = clock_after_ms(attempt->advice.retry_ms);
    if (until_ns > attempt->deadline_ns)
        until_ns = attempt->deadline_ns;
    while (clock_now_ns() < until_ns) {
        TRY(check_interrupt());
        attempt->args->wait(attempt->args->context, attempt->advice.reason);
        const struct timespec pause = {.tv_nsec = LOOK_UP_MS * 1000000L};
        nanosleep(&pause, NULL);
    }
    return STATUS_OK;
}

enum status event_stream_check_size(const ProtobufCMessage *request)
{
    size_t bytes = protobuf_c_message_get_packed_size(request);
    if (bytes <= RPC_MESSAGE_BYTES_MAX)
        return STATUS_OK;
    return fail(STATUS_OUT_OF_RANGE,
                "the request has %.1f MB and a coordinator takes %.1f MB: shorten the text",
                (double)bytes / 1e6, (double)RPC_MESSAGE_BYTES_MAX / 1e6);
}

enum status event_stream_run(struct rpc_client *client, const struct event_stream_args *args)
{
    struct attempt attempt = {
        .args = args,
        .deadline_ns = args->timeout_ms ? clock_after_ms(args->timeout_ms) : CLOCK_NEVER_NS,
    };
    TRY(event_stream_check_size(args->request));
    enum status status = ask(&attempt, client);
    while (args->timeout_ms && may_work_later(&attempt, status)) {
        char sentence[512];
        snprintf(sentence, sizeof sentence, "%s", status_message());
        TRY(wait_before_asking_again(&attempt));
        status = clock_now_ns() < attempt.deadline_ns
                     ? ask(&attempt, client)
                     : fail(STATUS_DEADLINE_EXCEEDED, "%s", sentence);
        if (status == STATUS_DEADLINE_EXCEEDED && !*args->begun)
            status = fail(status, "%s", sentence);
    }
    if (status == STATUS_DEADLINE_EXCEEDED && args->timeout_ms) {
        bool ours = strcmp(status_message(), "Deadline Exceeded") == 0; /* gRPC's own clock */
        return fail(status, "not done within the %g s of --timeout%s%s",
                    (double)args->timeout_ms / 1000, ours ? "" : ": ",
                    ours ? "" : status_message());
    }
    return status;
}

enum status event_stream_keep(ProtobufCMessage **copy, const ProtobufCMessage *message)
{
    size_t bytes = protobuf_c_message_get_packed_size(message);
    uint8_t *packed = malloc(bytes ? bytes : 1);
    if (packed) {
        protobuf_c_message_pack(message, packed);
        *copy = protobuf_c_message_unpack(message->descriptor, NULL, bytes, packed);
    }
    free(packed);
    if (!packed || !*copy)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory to keep a reply");
    return STATUS_OK;
}
