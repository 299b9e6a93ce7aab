/* A server and a client in one process: every way in which a call can end. */
#include "tests/support/unit.h"

#include <dirent.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "grpc/health/v1/health.pb-c.h"
#include "grpc/reflection/v1/reflection.pb-c.h"
#include "proto/clock.h"
#include "longhaul/control/v1/control.pb-c.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/rpc/descriptors.h"
#include "proto/rpc/health.h"
#include "proto/rpc/reflection.h"
#include "proto/rpc/rpc_client.h"
#include "proto/rpc/rpc_message.h"
#include "proto/rpc/rpc_server.h"

enum { PIECES = 50, OWN_METHODS = 5 };

static const struct rpc_limits limits = {.connections_max = 8, .calls_max = 64};
static struct rpc_server *server;
static int port;
static struct rpc_client *client;
static struct health *health;
static struct reflection *reflection;
static atomic_int left_after_cancel;

static enum status echo_length(struct rpc_call *call, const ProtobufCMessage *message,
                               void *context)
{
    (void)context;
    const Longhaul__V1__TokenizeRequest *request = (const void *)message;
    int32_t length = (int32_t)strlen(request->text);
    Longhaul__V1__TokenizeResponse response = LONGHAUL__V1__TOKENIZE_RESPONSE__INIT;
    response.n_token_ids = 1;
    response.token_ids = &length;
    TRY(rpc_call_answer(call, &response.base));
    return strcmp(request->text, "regret") == 0
               ? fail(STATUS_FAILED_PRECONDITION, "on second thoughts")
               : STATUS_OK;
}

/* Streams pieces, or waits for the end of the call when asked for no tokens. */
static enum status generate(struct rpc_call *call, const ProtobufCMessage *message, void *context)
{
    (void)context;
    const Longhaul__V1__GenerateRequest *request = (const void *)message;
    if (request->max_tokens == 0) {
        int64_t deadline_ns = clock_after_ms(5000);
        while (!rpc_call_cancelled(call) && clock_now_ns() < deadline_ns)
            usleep(10000);
        atomic_fetch_add(&left_after_cancel, rpc_call_cancelled(call));
        return fail(STATUS_CANCELLED, "the client left");
    }
    for (int32_t i = 0; i < request->max_tokens; i++) {
        Longhaul__V1__Tokens tokens = LONGHAUL__V1__TOKENS__INIT;
        tokens.n_ids = 1;
        tokens.ids = &i;
        Longhaul__V1__GenerateResponse response = LONGHAUL__V1__GENERATE_RESPONSE__INIT;
        response.event_case = LONGHAUL__V1__GENERATE_RESPONSE__EVENT_TOKENS;
        response.tokens = &tokens;
        TRY(rpc_call_write(call, &response.base));
    }
    return STATUS_OK;
}

static enum status refuse(struct rpc_call *call, const ProtobufCMessage *message, void *context)
{
    (void)message;
    (void)context;
    rpc_call_details(call)->reason = "NO_WORKERS";
    rpc_call_details(call)->retry_ms = 1500;
    return fail(STATUS_UNAVAILABLE, "no worker group");
}

/* Answers each message of a rank by a Welcome that carries its rank. */
static enum status join(struct rpc_call *call, const ProtobufCMessage *none, void *context)
{
    (void)none;
    (void)context;
    for (;;) {
        const ProtobufCMessage *message = NULL;
        TRY(rpc_call_read(call, &message, 300));
        if (!message)
            return STATUS_OK;
        const Longhaul__Control__V1__WorkerMessage *from = (const void *)message;
        Longhaul__Control__V1__Welcome welcome = LONGHAUL__CONTROL__V1__WELCOME__INIT;
        welcome.heartbeat_ms = from->hello->rank;
        Longhaul__Control__V1__CoordinatorMessage to =
            LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__INIT;
        to.kind_case = LONGHAUL__CONTROL__V1__COORDINATOR_MESSAGE__KIND_WELCOME;
        to.welcome = &welcome;
        TRY(rpc_call_write(call, &to.base));
    }
}

static char shown[64];

/* Notes by what the caller shows who it is, and refuses it. */
static enum status note_authorization(struct rpc_call *call, const ProtobufCMessage *message,
                                      void *context)
{
    (void)message;
    (void)context;
    size_t bytes = 0;
    const char *text = rpc_call_authorization(call, &bytes);
    snprintf(shown, sizeof shown, "%.*s", (int)bytes, text ? text : "");
    return fail(STATUS_UNAUTHENTICATED, "not known");
}

static const char INFERENCE[] = "longhaul.v1.Inference";
static struct rpc_method methods[OWN_METHODS + HEALTH_METHODS + REFLECTION_METHODS] = {
    {.service = INFERENCE,
     .name = "Tokenize",
     .request = &longhaul__v1__tokenize_request__descriptor,
     .request_bytes_max = RPC_SMALL_MESSAGE_BYTES_MAX,
     .handle = echo_length},
    {.service = INFERENCE,
     .name = "Generate",
     .request = &longhaul__v1__generate_request__descriptor,
     .request_bytes_max = RPC_MESSAGE_BYTES_MAX,
     .handle = generate},
    {.service = INFERENCE,
     .name = "GetCluster",
     .request = &longhaul__v1__get_cluster_request__descriptor,
     .request_bytes_max = RPC_SMALL_MESSAGE_BYTES_MAX,
     .handle = refuse},
    {.service = "longhaul.control.v1.WorkerControl",
     .name = "Join",
     .request = &longhaul__control__v1__worker_message__descriptor,
     .client_streams = true,
     .request_bytes_max = RPC_SMALL_MESSAGE_BYTES_MAX,
     .handle = join},
    {.service = INFERENCE,
     .name = "Plan",
     .request = &longhaul__v1__plan_request__descriptor,
     .request_bytes_max = RPC_SMALL_MESSAGE_BYTES_MAX,
     .handle = note_authorization},
};

static enum status listen_at(struct rpc_server *at, int *bound, const char *address,
                             const struct rpc_method *rows, size_t count)
{
    const struct rpc_port open_port = {.address = address, .methods = rows, .method_count = count};
    return rpc_server_listen(at, bound, &open_port);
}

static int start(void **state)
{
    (void)state;
    char target[64];
    if (health_create(&health, INFERENCE) != STATUS_OK ||
        reflection_create(&reflection, descriptors_set, descriptors_set_bytes) != STATUS_OK)
        return -1;
    health_methods(health, methods + OWN_METHODS);
    reflection_methods(reflection, methods + OWN_METHODS + HEALTH_METHODS);
    if (rpc_server_create(&server, &limits) != STATUS_OK ||
        listen_at(server, &port, "127.0.0.1:0", methods, sizeof methods / sizeof methods[0]) !=
            STATUS_OK)
        return -1;
    snprintf(target, sizeof target, "127.0.0.1:%d", port);
    return rpc_client_create(&client, target) == STATUS_OK ? 0 : -1;
}

static int stop(void **state)
{
    (void)state;
    rpc_client_destroy(client);
    rpc_server_destroy(server, 1000);
    reflection_destroy(reflection);
    health_destroy(health);
    return 0;
}

static enum status call_text(const char *path, const char *text, int32_t *length)
{
    const struct rpc_stream_args args = {
        .path = path, .response = &longhaul__v1__tokenize_response__descriptor, .timeout_ms = 5000};
    Longhaul__V1__TokenizeRequest request = LONGHAUL__V1__TOKENIZE_REQUEST__INIT;
    request.text = (char *)text;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    TRY(rpc_client_call(client, &stream, &reply, &args, &request.base));
    *length = ((const Longhaul__V1__TokenizeResponse *)reply)->token_ids[0];
    rpc_stream_close(stream);
    return STATUS_OK;
}

static enum status tokenize(const char *text, int32_t *length)
{
    return call_text("/longhaul.v1.Inference/Tokenize", text, length);
}

static enum status open_generate(struct rpc_stream **stream, int64_t max_tokens, int64_t timeout_ms)
{
    const struct rpc_stream_args args = {.path = "/longhaul.v1.Inference/Generate",
                                         .response = &longhaul__v1__generate_response__descriptor,
                                         .timeout_ms = timeout_ms};
    Longhaul__V1__GenerateRequest request = LONGHAUL__V1__GENERATE_REQUEST__INIT;
    request.optional_max_tokens_case =
        LONGHAUL__V1__GENERATE_REQUEST__OPTIONAL_MAX_TOKENS_MAX_TOKENS;
    request.max_tokens = max_tokens;
    return rpc_stream_ask(stream, client, &args, &request.base);
}

static void a_unary_call_is_answered(void **state)
{
    (void)state;
    int32_t length = 0;
    assert_int_equal(tokenize("caf\xc3\xa9", &length), STATUS_OK);
    assert_int_equal(length, 5);
}

static void an_answer_does_not_go_out_with_a_failure(void **state)
{
    (void)state;
    int32_t length = -1;
    assert_int_equal(tokenize("regret", &length), STATUS_FAILED_PRECONDITION);
    assert_string_equal(status_message(), "on second thoughts");
    assert_int_equal(length, -1);
}

static int count_threads(void)
{
    int count = 0;
    DIR *tasks = opendir("/proc/self/task");
    assert_non_null(tasks);
    while (readdir(tasks))
        count++;
    closedir(tasks);
    return count;
}

/* Slow clients hold a place each, which they lose by their deadline, and no thread. */
static void a_call_has_no_thread_until_its_request_is_there(void **state)
{
    (void)state;
    const struct rpc_stream_args args = {.path = "/longhaul.v1.Inference/Tokenize",
                                         .response = &longhaul__v1__tokenize_response__descriptor,
                                         .timeout_ms = 2000};
    struct rpc_stream *streams[64];
    int32_t length = 0;
    assert_int_equal(tokenize("abc", &length), STATUS_OK);
    const int before = count_threads();
    for (int i = 0; i < limits.calls_max; i++)
        assert_int_equal(rpc_stream_open(&streams[i], client, &args), STATUS_OK);
    assert_int_equal(tokenize("abc", &length), STATUS_RESOURCE_EXHAUSTED);
    assert_in_range(count_threads(), 1, before + limits.calls_max / 4);
    for (int i = 0; i < limits.calls_max; i++) {
        assert_int_equal(rpc_stream_finish(streams[i]), STATUS_DEADLINE_EXCEEDED);
        rpc_stream_close(streams[i]);
    }
    enum status status = STATUS_RESOURCE_EXHAUSTED;
    for (int i = 0; i < 500 && status == STATUS_RESOURCE_EXHAUSTED; i++) {
        usleep(10000);
        status = tokenize("abc", &length);
    }
    assert_int_equal(status, STATUS_OK);
}

static void a_stream_arrives_whole_and_in_order(void **state)
{
    (void)state;
    struct rpc_stream *stream = NULL;
    assert_int_equal(open_generate(&stream, PIECES, 5000), STATUS_OK);
    const ProtobufCMessage *message = NULL;
    for (int i = 0; i < PIECES; i++) {
        assert_int_equal(rpc_stream_read(stream, &message, 0), STATUS_OK);
        assert_non_null(message);
        assert_int_equal(((const Longhaul__V1__GenerateResponse *)message)->tokens->ids[0], i);
    }
    assert_int_equal(rpc_stream_read(stream, &message, 0), STATUS_OK);
    assert_null(message);
    assert_int_equal(rpc_stream_finish(stream), STATUS_OK);
    rpc_stream_close(stream);
}

static void both_sides_of_a_stream_may_talk(void **state)
{
    (void)state;
    const struct rpc_stream_args args = {
        .path = "/longhaul.control.v1.WorkerControl/Join",
        .response = &longhaul__control__v1__coordinator_message__descriptor};
    struct rpc_stream *stream = NULL;
    assert_int_equal(rpc_stream_open(&stream, client, &args), STATUS_OK);
    for (int rank = 1; rank < 20; rank++) {
        Longhaul__Control__V1__Hello hello = LONGHAUL__CONTROL__V1__HELLO__INIT;
        hello.rank = rank;
        Longhaul__Control__V1__WorkerMessage from = LONGHAUL__CONTROL__V1__WORKER_MESSAGE__INIT;
        from.kind_case = LONGHAUL__CONTROL__V1__WORKER_MESSAGE__KIND_HELLO;
        from.hello = &hello;
        assert_int_equal(rpc_stream_write(stream, &from.base), STATUS_OK);
        const ProtobufCMessage *message = NULL;
        assert_int_equal(rpc_stream_read(stream, &message, 5000), STATUS_OK);
        const Longhaul__Control__V1__CoordinatorMessage *to = (const void *)message;
        assert_int_equal(to->welcome->heartbeat_ms, rank);
    }
    rpc_stream_half_close(stream);
    assert_int_equal(rpc_stream_finish(stream), STATUS_OK);
    rpc_stream_close(stream);
}

static void a_silent_peer_ends_a_bounded_read(void **state)
{
    (void)state;
    const struct rpc_stream_args args = {
        .path = "/longhaul.control.v1.WorkerControl/Join",
        .response = &longhaul__control__v1__coordinator_message__descriptor};
    struct rpc_stream *stream = NULL;
    assert_int_equal(rpc_stream_open(&stream, client, &args), STATUS_OK);
    const ProtobufCMessage *message = NULL;
    int64_t start_ns = clock_now_ns();
    assert_int_equal(rpc_stream_read(stream, &message, 50), STATUS_DEADLINE_EXCEEDED);
    assert_true(clock_seconds_since(start_ns) < 0.25);
    /* The server gives up after 300 ms; the read under way sees the end. */
    assert_int_equal(rpc_stream_read(stream, &message, 5000), STATUS_OK);
    assert_null(message);
    assert_int_equal(rpc_stream_finish(stream), STATUS_DEADLINE_EXCEEDED);
    rpc_stream_close(stream);
}

static void a_handler_sees_that_its_client_left(void **state)
{
    (void)state;
    struct rpc_stream *stream = NULL;
    int before = atomic_load(&left_after_cancel);
    assert_int_equal(open_generate(&stream, 0, 0), STATUS_OK);
    usleep(100000);
    rpc_stream_cancel(stream);
    assert_int_equal(rpc_stream_finish(stream), STATUS_CANCELLED);
    rpc_stream_close(stream);
    for (int i = 0; i < 100 && atomic_load(&left_after_cancel) == before; i++)
        usleep(10000);
    assert_int_equal(atomic_load(&left_after_cancel), before + 1);
}

static void a_deadline_ends_both_sides(void **state)
{
    (void)state;
    struct rpc_stream *stream = NULL;
    int before = atomic_load(&left_after_cancel);
    assert_int_equal(open_generate(&stream, 0, 150), STATUS_OK);
    assert_int_equal(rpc_stream_finish(stream), STATUS_DEADLINE_EXCEEDED);
    rpc_stream_close(stream);
    for (int i = 0; i < 100 && atomic_load(&left_after_cancel) == before; i++)
        usleep(10000);
    assert_int_equal(atomic_load(&left_after_cancel), before + 1);
}

static void the_servers_sentence_reaches_the_client(void **state)
{
    (void)state;
    const struct rpc_stream_args args = {.path = "/longhaul.v1.Inference/GetCluster",
                                         .response =
                                             &longhaul__v1__get_cluster_response__descriptor,
                                         .timeout_ms = 5000};
    Longhaul__V1__GetClusterRequest request = LONGHAUL__V1__GET_CLUSTER_REQUEST__INIT;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    assert_int_equal(rpc_client_call(client, &stream, &reply, &args, &request.base),
                     STATUS_UNAVAILABLE);
    assert_string_equal(status_message(), "no worker group");
}

static void the_servers_advice_reaches_the_client(void **state)
{
    (void)state;
    const struct rpc_stream_args args = {.path = "/longhaul.v1.Inference/GetCluster",
                                         .response =
                                             &longhaul__v1__get_cluster_response__descriptor,
                                         .timeout_ms = 5000};
    Longhaul__V1__GetClusterRequest request = LONGHAUL__V1__GET_CLUSTER_REQUEST__INIT;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    struct status_advice advice;
    assert_int_equal(rpc_stream_ask(&stream, client, &args, &request.base), STATUS_OK);
    assert_int_equal(rpc_stream_read(stream, &reply, 5000), STATUS_OK);
    assert_null(reply);
    assert_int_equal(rpc_stream_finish(stream), STATUS_UNAVAILABLE);
    rpc_stream_advice(stream, &advice);
    assert_string_equal(advice.reason, "NO_WORKERS");
    assert_int_equal(advice.retry_ms, 1500);
    rpc_stream_close(stream);
}

/* What any server may send: details that are cut off say nothing, or a part. */
static void damaged_advice_is_no_advice(void **state)
{
    (void)state;
    const struct status_details details = {.reason = "QUEUE_FULL", .retry_ms = 2500};
    struct status_advice advice;
    grpc_slice slice;
    assert_true(status_details_pack(&details, &slice, 8, "the queue is full"));
    const uint8_t *bytes = GRPC_SLICE_START_PTR(slice);
    for (size_t size = 0; size < GRPC_SLICE_LENGTH(slice); size++) {
        status_details_read(&advice, bytes, size);
        assert_true(advice.retry_ms == 0 || advice.retry_ms == 2500);
        assert_true(advice.reason[0] == '\0' || strcmp(advice.reason, "QUEUE_FULL") == 0);
        assert_false(advice.retry_ms == 2500 && advice.reason[0]);
    }
    status_details_read(&advice, bytes, GRPC_SLICE_LENGTH(slice));
    assert_string_equal(advice.reason, "QUEUE_FULL");
    assert_int_equal(advice.retry_ms, 2500);
    grpc_slice_unref(slice);
}

static void an_unknown_method_is_unimplemented(void **state)
{
    (void)state;
    const struct rpc_stream_args args = {.path = "/longhaul.v1.Inference/Nothing",
                                         .response =
                                             &longhaul__v1__get_cluster_response__descriptor,
                                         .timeout_ms = 5000};
    Longhaul__V1__GetClusterRequest request = LONGHAUL__V1__GET_CLUSTER_REQUEST__INIT;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    assert_int_equal(rpc_client_call(client, &stream, &reply, &args, &request.base),
                     STATUS_UNIMPLEMENTED);
}

static void text_that_is_no_utf8_is_refused_by_field(void **state)
{
    (void)state;
    int32_t length = 0;
    assert_int_equal(tokenize("ab\xff", &length), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "TokenizeRequest.text: byte 2"));
    assert_int_equal(tokenize("\xed\xa0\x80", &length), STATUS_INVALID_ARGUMENT);
    assert_int_equal(tokenize("\xc0\x80", &length), STATUS_INVALID_ARGUMENT);
    assert_int_equal(tokenize("\xf4\x90\x80\x80", &length), STATUS_INVALID_ARGUMENT);
}

static void a_message_over_its_methods_limit_is_refused(void **state)
{
    (void)state;
    size_t size = RPC_SMALL_MESSAGE_BYTES_MAX + 1;
    char *text = malloc(size + 1);
    memset(text, 'x', size);
    text[size] = 0;
    int32_t length = 0;
    assert_int_equal(tokenize(text, &length), STATUS_OUT_OF_RANGE);
    text[size / 2] = 0;
    assert_int_equal(tokenize(text, &length), STATUS_OK);
    assert_int_equal(length, size / 2);
    free(text);
}

static enum status unpack(const void *bytes, size_t size,
                          const ProtobufCMessageDescriptor *descriptor)
{
    struct rpc_arena *arena = NULL;
    const ProtobufCMessage *message = NULL;
    TRY(rpc_arena_create(&arena));
    enum status status = rpc_message_unpack(arena, &message, descriptor, bytes, size);
    rpc_arena_destroy(arena);
    return status;
}

static void hostile_bytes_are_refused(void **state)
{
    (void)state;
    const ProtobufCMessageDescriptor *request = &longhaul__v1__tokenize_request__descriptor;
    assert_int_equal(unpack("\x0a\x03"
                            "a\0b",
                            5, request),
                     STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "NUL"));
    assert_int_equal(unpack("\x0a\x7f"
                            "a",
                            3, request),
                     STATUS_INVALID_ARGUMENT);
    assert_int_equal(unpack("\x0b", 1, request), STATUS_INVALID_ARGUMENT);
    assert_int_equal(unpack("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", 11, request),
                     STATUS_INVALID_ARGUMENT);
    assert_int_equal(unpack("", 0, request), STATUS_OK);
}

static void small_bytes_cannot_become_much_memory(void **state)
{
    (void)state;
    /* Chat { messages {} messages {} ... }: 2 bytes each on the wire. */
    size_t size = 2 << 20;
    uint8_t *bytes = malloc(size);
    for (size_t i = 0; i < size; i += 2) {
        bytes[i] = 0x0a;
        bytes[i + 1] = 0;
    }
    assert_int_equal(unpack(bytes, size, &longhaul__v1__chat__descriptor), STATUS_INVALID_ARGUMENT);
    assert_int_equal(unpack(bytes, 2000, &longhaul__v1__chat__descriptor), STATUS_OK);
    free(bytes);
}

static void a_port_in_use_is_said_so(void **state)
{
    (void)state;
    char listen[64];
    struct rpc_server *second = NULL;
    int unused = 0;
    snprintf(listen, sizeof listen, "127.0.0.1:%d", port);
    assert_int_equal(rpc_server_create(&second, &limits), STATUS_OK);
    assert_int_equal(listen_at(second, &unused, listen, methods, 4), STATUS_UNAVAILABLE);
    assert_non_null(strstr(status_message(), "Address already in use"));
    assert_int_equal(listen_at(second, &unused, "nowhere", methods, 4), STATUS_INVALID_ARGUMENT);
    rpc_server_destroy(second, 0);
}

static void each_port_has_its_own_methods(void **state)
{
    (void)state;
    struct rpc_client *kept = client;
    char target[64];
    int second = 0;
    int32_t length = 0;
    assert_int_equal(listen_at(server, &second, "127.0.0.1:0", methods + 1, 1), STATUS_OK);
    assert_int_not_equal(second, port);
    snprintf(target, sizeof target, "127.0.0.1:%d", second);
    assert_int_equal(rpc_client_create(&client, target), STATUS_OK);
    assert_int_equal(tokenize("x", &length), STATUS_UNIMPLEMENTED);
    struct rpc_stream *stream = NULL;
    assert_int_equal(open_generate(&stream, 1, 5000), STATUS_OK);
    const ProtobufCMessage *message = NULL;
    assert_int_equal(rpc_stream_read(stream, &message, 0), STATUS_OK);
    assert_non_null(message);
    rpc_stream_close(stream);
    rpc_client_destroy(client);
    client = kept;
    assert_int_equal(tokenize("x", &length), STATUS_OK);
}

static void no_server_is_unavailable_at_once(void **state)
{
    (void)state;
    struct rpc_client *lost = NULL;
    assert_int_equal(rpc_client_create(&lost, "127.0.0.1:1"), STATUS_OK);
    const struct rpc_stream_args args = {.path = "/longhaul.v1.Inference/GetCluster",
                                         .response =
                                             &longhaul__v1__get_cluster_response__descriptor,
                                         .timeout_ms = 5000};
    Longhaul__V1__GetClusterRequest request = LONGHAUL__V1__GET_CLUSTER_REQUEST__INIT;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    int64_t start_ns = clock_now_ns();
    assert_int_equal(rpc_client_call(lost, &stream, &reply, &args, &request.base),
                     STATUS_UNAVAILABLE);
    assert_true(clock_seconds_since(start_ns) < 2);
    rpc_client_destroy(lost);
}

static void a_drained_server_refuses_and_a_destroyed_one_cancels(void **state)
{
    (void)state;
    struct rpc_server *own = NULL;
    struct rpc_client *kept = client;
    char target[64];
    int own_port = 0;
    assert_int_equal(rpc_server_create(&own, &limits), STATUS_OK);
    assert_int_equal(listen_at(own, &own_port, "127.0.0.1:0", methods, 4), STATUS_OK);
    snprintf(target, sizeof target, "127.0.0.1:%d", own_port);
    assert_int_equal(rpc_client_create(&client, target), STATUS_OK);
    struct rpc_stream *running = NULL;
    assert_int_equal(open_generate(&running, 0, 0), STATUS_OK);
    int32_t length = 0;
    assert_int_equal(tokenize("x", &length), STATUS_OK);
    rpc_server_drain(own);
    assert_int_equal(tokenize("x", &length), STATUS_UNAVAILABLE);
    int64_t start_ns = clock_now_ns();
    rpc_server_destroy(own, 100);
    assert_true(clock_seconds_since(start_ns) < 3);
    assert_int_not_equal(rpc_stream_finish(running), STATUS_OK);
    rpc_stream_close(running);
    rpc_client_destroy(client);
    client = kept;
}

static void what_a_caller_shows_reaches_the_handler(void **state)
{
    (void)state;
    static const char *const said[] = {"short", "0123456789abcdef0123456789abcdef", NULL};
    const Longhaul__V1__PlanRequest request = LONGHAUL__V1__PLAN_REQUEST__INIT;
    for (int i = 0; i < 3; i++) {
        const struct rpc_stream_args args = {.path = "/longhaul.v1.Inference/Plan",
                                             .response = &longhaul__v1__plan_response__descriptor,
                                             .timeout_ms = 5000,
                                             .authorization = said[i]};
        struct rpc_stream *stream = NULL;
        const ProtobufCMessage *reply = NULL;
        assert_int_equal(rpc_client_call(client, &stream, &reply, &args, &request.base),
                         STATUS_UNAUTHENTICATED);
        assert_string_equal(shown, said[i] ? said[i] : "");
    }
}

static enum status health_check(const char *service, int *serving)
{
    const struct rpc_stream_args args = {.path = "/grpc.health.v1.Health/Check",
                                         .response =
                                             &grpc__health__v1__health_check_response__descriptor,
                                         .timeout_ms = 5000};
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    request.service = (char *)service;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    TRY(rpc_client_call(client, &stream, &reply, &args, &request.base));
    *serving = (int)((const Grpc__Health__V1__HealthCheckResponse *)reply)->status;
    rpc_stream_close(stream);
    return STATUS_OK;
}

static void health_is_told_and_watched(void **state)
{
    (void)state;
    int serving = 0;
    assert_int_equal(health_check("", &serving), STATUS_OK);
    assert_int_equal(serving, 2);
    assert_int_equal(health_check("no.such.Service", &serving), STATUS_NOT_FOUND);
    const struct rpc_stream_args args = {.path = "/grpc.health.v1.Health/Watch",
                                         .response =
                                             &grpc__health__v1__health_check_response__descriptor};
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *message = NULL;
    assert_int_equal(rpc_stream_ask(&stream, client, &args, &request.base), STATUS_OK);
    for (int i = 0; i < 4; i++) {
        assert_int_equal(rpc_stream_read(stream, &message, 2000), STATUS_OK);
        assert_int_equal(((const Grpc__Health__V1__HealthCheckResponse *)message)->status,
                         i % 2 ? 1 : 2);
        health_set(health, i % 2 == 0);
    }
    assert_int_equal(health_check(INFERENCE, &serving), STATUS_OK);
    assert_int_equal(serving, 2);
    rpc_stream_close(stream);
}

/* What reflection says of a symbol: how many files, or minus the error's code. */
static int files_of(const char *symbol)
{
    const struct rpc_stream_args args = {
        .path = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        .response = &grpc__reflection__v1__server_reflection_response__descriptor};
    struct rpc_stream *stream = NULL;
    assert_int_equal(rpc_stream_open(&stream, client, &args), STATUS_OK);
    Grpc__Reflection__V1__ServerReflectionRequest request =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__INIT;
    request.message_request_case =
        GRPC__REFLECTION__V1__SERVER_REFLECTION_REQUEST__MESSAGE_REQUEST_FILE_CONTAINING_SYMBOL;
    request.file_containing_symbol = (char *)symbol;
    const ProtobufCMessage *message = NULL;
    assert_int_equal(rpc_stream_write(stream, &request.base), STATUS_OK);
    assert_int_equal(rpc_stream_read(stream, &message, 5000), STATUS_OK);
    const Grpc__Reflection__V1__ServerReflectionResponse *response = (const void *)message;
    int count =
        response->message_response_case ==
                GRPC__REFLECTION__V1__SERVER_REFLECTION_RESPONSE__MESSAGE_RESPONSE_ERROR_RESPONSE
            ? -response->error_response->error_code
            : (int)response->file_descriptor_response->n_file_descriptor_proto;
    rpc_stream_close(stream);
    return count;
}

static void reflection_describes_what_clients_are_offered(void **state)
{
    (void)state;
    assert_true(files_of("longhaul.v1.Inference.Generate") >= 1);
    assert_int_equal(files_of("longhaul.v1.Nothing"), -STATUS_NOT_FOUND);
    assert_int_equal(files_of("longhaul.control.v1.WorkerControl.Join"), -STATUS_NOT_FOUND);
}

static void reflection_sends_a_file_with_those_it_imports(void **state)
{
    (void)state;
    /* A FileDescriptorSet of package p: a.proto with message A; b.proto, which imports it, with
       message B. */
    static const uint8_t set[] = "\x0a\x11"
                                 "\x0a\x07"
                                 "a.proto"
                                 "\x12\x01"
                                 "p"
                                 "\x22\x03\x0a\x01"
                                 "A"
                                 "\x0a\x1a"
                                 "\x0a\x07"
                                 "b.proto"
                                 "\x12\x01"
                                 "p"
                                 "\x1a\x07"
                                 "a.proto"
                                 "\x22\x03\x0a\x01"
                                 "B";
    struct reflection *pair = NULL;
    struct rpc_server *own = NULL;
    struct rpc_client *kept = client;
    struct rpc_method rows[REFLECTION_METHODS];
    char target[64];
    assert_int_equal(reflection_create(&pair, set, sizeof set - 1), STATUS_OK);
    reflection_methods(pair, rows);
    int own_port = 0;
    assert_int_equal(rpc_server_create(&own, &limits), STATUS_OK);
    assert_int_equal(listen_at(own, &own_port, "127.0.0.1:0", rows, REFLECTION_METHODS), STATUS_OK);
    snprintf(target, sizeof target, "127.0.0.1:%d", own_port);
    assert_int_equal(rpc_client_create(&client, target), STATUS_OK);
    assert_int_equal(files_of("p.A"), 1);
    assert_int_equal(files_of("p.B"), 2);
    rpc_client_destroy(client);
    client = kept;
    rpc_server_destroy(own, 100);
    reflection_destroy(pair);
}

/* True when `descriptor` can contain one of the types on the way to it. */
static bool recurs(const ProtobufCMessageDescriptor *descriptor,
                   const ProtobufCMessageDescriptor **way, int depth)
{
    for (int i = 0; i < depth; i++)
        if (way[i] == descriptor)
            return true;
    assert_true(depth < 32);
    way[depth] = descriptor;
    for (unsigned i = 0; i < descriptor->n_fields; i++)
        if (descriptor->fields[i].type == PROTOBUF_C_TYPE_MESSAGE &&
            recurs(descriptor->fields[i].descriptor, way, depth + 1))
            return true;
    return false;
}

static void no_message_contains_itself(void **state)
{
    (void)state;
    const ProtobufCServiceDescriptor *services[] = {
        &longhaul__v1__inference__descriptor, &longhaul__control__v1__worker_control__descriptor};
    const ProtobufCMessageDescriptor *way[33];
    int seen = 0;
    for (int s = 0; s < 2; s++) {
        for (unsigned m = 0; m < services[s]->n_methods; m++) {
            assert_false(recurs(services[s]->methods[m].input, way, 0));
            assert_false(recurs(services[s]->methods[m].output, way, 0));
            seen++;
        }
    }
    assert_true(seen >= 6);
    const ProtobufCMessageDescriptor *loop[] = {&longhaul__v1__method__descriptor};
    assert_true(recurs(&longhaul__v1__method__descriptor, loop, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_unary_call_is_answered),
        cmocka_unit_test(an_answer_does_not_go_out_with_a_failure),
        cmocka_unit_test(a_call_has_no_thread_until_its_request_is_there),
        cmocka_unit_test(a_stream_arrives_whole_and_in_order),
        cmocka_unit_test(both_sides_of_a_stream_may_talk),
        cmocka_unit_test(a_silent_peer_ends_a_bounded_read),
        cmocka_unit_test(a_handler_sees_that_its_client_left),
        cmocka_unit_test(a_deadline_ends_both_sides),
        cmocka_unit_test(the_servers_sentence_reaches_the_client),
        cmocka_unit_test(the_servers_advice_reaches_the_client),
        cmocka_unit_test(damaged_advice_is_no_advice),
        cmocka_unit_test(an_unknown_method_is_unimplemented),
        cmocka_unit_test(text_that_is_no_utf8_is_refused_by_field),
        cmocka_unit_test(a_message_over_its_methods_limit_is_refused),
        cmocka_unit_test(hostile_bytes_are_refused),
        cmocka_unit_test(small_bytes_cannot_become_much_memory),
        cmocka_unit_test(a_port_in_use_is_said_so),
        cmocka_unit_test(each_port_has_its_own_methods),
        cmocka_unit_test(no_server_is_unavailable_at_once),
        cmocka_unit_test(a_drained_server_refuses_and_a_destroyed_one_cancels),
        cmocka_unit_test(health_is_told_and_watched),
        cmocka_unit_test(reflection_describes_what_clients_are_offered),
        cmocka_unit_test(reflection_sends_a_file_with_those_it_imports),
        cmocka_unit_test(what_a_caller_shows_reaches_the_handler),
        cmocka_unit_test(no_message_contains_itself),
    };
    return cmocka_run_group_tests(tests, start, stop);
}
