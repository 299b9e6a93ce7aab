/* Calls that their handlers leave to somebody else, who ends them before or after. */
#include "tests/support/unit.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <unistd.h>

#include "longhaul/v1/inference.pb-c.h"
#include "proto/rpc/rpc_client.h"
#include "proto/rpc/rpc_server.h"

enum { TOGETHER = 12 }; /* more than the threads that brief requests share */

static struct rpc_server *server;
static struct rpc_client *client;

/* Ends a call that its handler has left to it. */
static void *end_later(void *context)
{
    struct rpc_call *call = context;
    int32_t length = 7;
    Longhaul__V1__TokenizeResponse response = LONGHAUL__V1__TOKENIZE_RESPONSE__INIT;
    response.n_token_ids = 1;
    response.token_ids = &length;
    usleep(20000);
    (void)rpc_call_answer(call, &response.base);
    rpc_call_end(call, STATUS_OK);
    return NULL;
}

/* Waits in the handler until as many are in it; UNAVAILABLE where they do not come. */
static enum status meet(void)
{
    static atomic_int there;
    atomic_fetch_add(&there, 1);
    for (int looks = 0; atomic_load(&there) < TOGETHER; looks++) {
        if (looks == 1000)
            return fail(STATUS_UNAVAILABLE, "%d are there", atomic_load(&there));
        usleep(5000);
    }
    return STATUS_OK;
}

/* Ends the call at once where it is told how, or leaves it to a thread. */
static enum status defer(struct rpc_call *call, const ProtobufCMessage *message, void *context)
{
    (void)context;
    const Longhaul__V1__TokenizeRequest *request = (const void *)message;
    pthread_t thread;
    if (strcmp(request->text, "together") == 0)
        TRY(meet());
    rpc_call_defer(call);
    if (strcmp(request->text, "fail") == 0) {
        rpc_call_details(call)->retry_ms = 1500;
        rpc_call_end(call, fail(STATUS_UNAVAILABLE, "not any more"));
        (void)!fail(STATUS_INTERNAL, "another sentence of the same thread");
        return STATUS_OK;
    }
    if (pthread_create(&thread, NULL, end_later, call) != 0)
        rpc_call_end(call, fail(STATUS_INTERNAL, "no thread"));
    else
        pthread_detach(thread);
    return STATUS_OK;
}

static bool is_brief(const uint8_t *bytes, size_t size)
{
    return !memmem(bytes, size, "together", strlen("together"));
}

static enum status tokenize(const char *text, int32_t *length)
{
    const struct rpc_stream_args args = {.path = "/longhaul.v1.Inference/Tokenize",
                                         .response = &longhaul__v1__tokenize_response__descriptor,
                                         .timeout_ms = 5000};
    Longhaul__V1__TokenizeRequest request = LONGHAUL__V1__TOKENIZE_REQUEST__INIT;
    request.text = (char *)text;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    TRY(rpc_client_call(client, &stream, &reply, &args, &request.base));
    *length = ((const Longhaul__V1__TokenizeResponse *)reply)->token_ids[0];
    rpc_stream_close(stream);
    return STATUS_OK;
}

static void a_call_ends_when_whoever_has_it_says_so(void **state)
{
    (void)state;
    int32_t length = 0;
    for (int i = 0; i < 20; i++) {
        assert_int_equal(tokenize("later", &length), STATUS_OK);
        assert_int_equal(length, 7);
        assert_int_equal(tokenize("fail", &length), STATUS_UNAVAILABLE);
        assert_string_equal(status_message(), "not any more");
    }
}

static void requests_that_are_not_brief_have_threads_of_their_own(void **state)
{
    (void)state;
    const struct rpc_stream_args args = {.path = "/longhaul.v1.Inference/Tokenize",
                                         .response = &longhaul__v1__tokenize_response__descriptor,
                                         .timeout_ms = 20000};
    Longhaul__V1__TokenizeRequest request = LONGHAUL__V1__TOKENIZE_REQUEST__INIT;
    struct rpc_stream *streams[TOGETHER];
    request.text = (char *)"together";
    for (int i = 0; i < TOGETHER; i++)
        assert_int_equal(rpc_stream_ask(&streams[i], client, &args, &request.base), STATUS_OK);
    for (int i = 0; i < TOGETHER; i++) {
        const ProtobufCMessage *reply = NULL;
        assert_int_equal(rpc_stream_read(streams[i], &reply, 20000), STATUS_OK);
        assert_non_null(reply);
        assert_int_equal(rpc_stream_finish(streams[i]), STATUS_OK);
        rpc_stream_close(streams[i]);
    }
}

/* The server's end waits for calls that were left, and the client hears of each. */
static void a_server_that_ends_waits_for_calls_that_were_left(void **state)
{
    (void)state;
    const struct rpc_stream_args args = {.path = "/longhaul.v1.Inference/Tokenize",
                                         .response = &longhaul__v1__tokenize_response__descriptor,
                                         .timeout_ms = 5000};
    Longhaul__V1__TokenizeRequest request = LONGHAUL__V1__TOKENIZE_REQUEST__INIT;
    struct rpc_stream *streams[16];
    int32_t length = 0;
    assert_int_equal(tokenize("later", &length), STATUS_OK);
    for (int i = 0; i < 16; i++)
        assert_int_equal(rpc_stream_ask(&streams[i], client, &args, &request.base), STATUS_OK);
    usleep(100000); /* all of them have come; the answers of some are out */
    rpc_server_destroy(server, 5000);
    server = NULL;
    for (int i = 0; i < 16; i++) {
        const ProtobufCMessage *reply = NULL;
        assert_int_equal(rpc_stream_read(streams[i], &reply, 5000), STATUS_OK);
        assert_non_null(reply);
        assert_int_equal(rpc_stream_finish(streams[i]), STATUS_OK);
        rpc_stream_close(streams[i]);
    }
}

static int start(void **state)
{
    (void)state;
    static const struct rpc_limits limits = {.connections_max = 8, .calls_max = 64};
    static const struct rpc_method methods[] = {
        {.service = "longhaul.v1.Inference",
         .name = "Tokenize",
         .request = &longhaul__v1__tokenize_request__descriptor,
         .request_bytes_max = RPC_SMALL_MESSAGE_BYTES_MAX,
         .handle = defer,
         .is_brief = is_brief},
    };
    const struct rpc_port open_port = {
        .address = "127.0.0.1:0", .methods = methods, .method_count = 1};
    char target[64];
    int port = 0;
    if (rpc_server_create(&server, &limits) != STATUS_OK ||
        rpc_server_listen(server, &port, &open_port) != STATUS_OK)
        return -1;
    snprintf(target, sizeof target, "127.0.0.1:%d", port);
    return rpc_client_create(&client, target) == STATUS_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    rpc_client_destroy(client);
    rpc_server_destroy(server, 1000);
    return 0;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_call_ends_when_whoever_has_it_says_so),
        cmocka_unit_test(requests_that_are_not_brief_have_threads_of_their_own),
        cmocka_unit_test(a_server_that_ends_waits_for_calls_that_were_left),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
