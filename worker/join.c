/* Owns nothing. Promises that a rank which comes before its coordinator, or before the coordinator
 * has written its secret, waits for it, and no longer than it may. */
#include "worker/join.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "proto/clock.h"
#include "proto/join_secret.h"
#include "proto/log.h"
#include "proto/plan/choice.h"

enum {
    ANSWER_MS = 5000, /* at least, for a coordinator on a busy host */
    AGAIN_MS = 200,   /* between attempts */
    STRANGER_AGAIN_MS = 1000,
    STRANGER_MS = 3000, /* for a coordinator that has just started to write its secret; peers that
                           wait for this rank meanwhile take it for stuck after 5 s */
    LOOK_MS = 50,
    CAUSE_BYTES = 512,
};

/* What is known of the attempts so far. */
struct attempts {
    int64_t begun_ns, deadline_ns;
    int64_t stranger_ns; /* since when the secret is refused; 0: it is not */
    char cause[CAUSE_BYTES];
};

static int64_t answer_ms(const struct join_args *args)
{
    return args->silence_ms > ANSWER_MS ? args->silence_ms : ANSWER_MS;
}

static enum status say_hello(struct rpc_stream *stream, struct join_welcome *welcome,
                             const struct join_args *args)
{
    Longhaul__Control__V1__WorkerMessage message = LONGHAUL__CONTROL__V1__WORKER_MESSAGE__INIT;
    message.kind_case = LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_HELLO;
    message.hello = (Longhaul__Control__V1__Hello *)args->hello;
    TRY(rpc_stream_post(stream, &message.base));
    const ProtobufCMessage *reply = NULL;
    enum status status = rpc_stream_read(stream, &reply, answer_ms(args));
    if (status == STATUS_DEADLINE_EXCEEDED)
        return fail(STATUS_UNAVAILABLE, "the coordinator did not answer within %.1f s",
                    (double)answer_ms(args) / 1000);
    TRY(status);
    if (!reply) {
        TRY(rpc_stream_finish(stream));
        return fail(STATUS_UNAVAILABLE, "the coordinator ended the control stream");
    }
    const Longhaul__Control__V1__CoordinatorMessage *answer = (const void *)reply;
    if (answer->kind_case != LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_WELCOME)
        return fail(STATUS_INTERNAL, "the coordinator's first message is no welcome");
    const Longhaul__Control__V1__Welcome *said = answer->welcome;
    if (said->heartbeat_ms < 1 || said->runs_wanted < 1 ||
        said->runs_wanted > CHOICE_SEQUENCES_MAX || said->context_tokens < 1)
        return fail(STATUS_INTERNAL, "the coordinator's welcome lacks what the rank must know");
    *welcome = (struct join_welcome){said->heartbeat_ms, said->runs_wanted, said->context_tokens};
    return STATUS_OK;
}

/* One attempt. Without a secret it asks too: the refusal tells a coordinator from a wrong address.
 */
static enum status attempt(struct rpc_stream **stream, struct join_welcome *welcome,
                           const struct join_args *args, const char *secret)
{
    const struct rpc_stream_args call = {
        .path = "/longhaul.control.v1.WorkerControl/Join",
        .response = &longhaul__control__v1__coordinator_message__descriptor,
        .authorization = secret,
    };
    struct rpc_stream *made = NULL;
    TRY(rpc_stream_open(&made, args->client, &call));
    enum status status = say_hello(made, welcome, args);
    if (status == STATUS_OK)
        *stream = made;
    else
        rpc_stream_close(made);
    if (status == STATUS_UNIMPLEMENTED)
        return fail(status, "--coordinator names an address where no workers join: name the one "
                            "that the coordinator prints for them, by default the clients' port "
                            "+ 1");
    return status;
}

/* Whether another attempt may succeed where this one failed; under the cause of the failure. */
static bool is_worth_another(struct attempts *attempts, enum status status)
{
    if (status != STATUS_UNAUTHENTICATED)
        attempts->stranger_ns = 0;
    else if (!attempts->stranger_ns)
        attempts->stranger_ns = clock_now_ns();
    if (status == STATUS_UNAUTHENTICATED)
        return clock_seconds_since(attempts->stranger_ns) * 1000 < STRANGER_MS &&
               clock_now_ns() < attempts->deadline_ns;
    return status == STATUS_UNAVAILABLE && clock_now_ns() < attempts->deadline_ns;
}

/* Waits for the next attempt; a peer that is lost meanwhile ends the rank. */
static enum status pause_between(struct attempts *attempts, const struct join_args *args)
{
    if (strcmp(attempts->cause, status_message()) != 0) {
        snprintf(attempts->cause, sizeof attempts->cause, "%s", status_message());
        log_line(LOG_WARN, "waiting for the coordinator", log_text("cause", attempts->cause));
    }
    int64_t until_ns = clock_after_ms(attempts->stranger_ns ? STRANGER_AGAIN_MS : AGAIN_MS);
    while (clock_now_ns() < until_ns) {
        const struct timespec pause = {.tv_nsec = LOOK_MS * 1000000};
        TRY(transport_progress(args->transport));
        nanosleep(&pause, NULL);
    }
    return STATUS_OK;
}

enum status join(struct rpc_stream **stream, struct join_welcome *welcome,
                 const struct join_args *args)
{
    struct attempts attempts = {.begun_ns = clock_now_ns(),
                                .deadline_ns = clock_after_ms(args->deadline_ms)};
    char secret[JOIN_SECRET_ROOM];
    char unread[CAUSE_BYTES];
    for (;;) {
        /* Read anew each time: the file is the coordinator's, which may come after us. */
        enum status found = join_secret_read(secret, args->secret_file);
        if (found != STATUS_OK && found != STATUS_NOT_FOUND && found != STATUS_UNAVAILABLE)
            return found;
        snprintf(unread, sizeof unread, "%s", found == STATUS_OK ? "" : status_message());
        enum status status = attempt(stream, welcome, args, found == STATUS_OK ? secret : NULL);
        if (status == STATUS_OK)
            return STATUS_OK;
        if (status == STATUS_UNAUTHENTICATED && found != STATUS_OK)
            status = fail(status,
                          "%s; on host %s: where hosts share no folder for it, copy the "
                          "coordinator's file there, or name it with --join-secret",
                          unread, args->hello->host);
        if (!is_worth_another(&attempts, status))
            return status == STATUS_UNAVAILABLE
                       ? fail(status, "no coordinator within %.1f s: %s",
                              clock_seconds_since(attempts.begun_ns), status_message())
                       : status;
        TRY(pause_between(&attempts, args));
    }
}
