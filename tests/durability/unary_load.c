/* Owns the calls of one run. */
#include "tests/durability/unary_load.h"

#include <assert.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>

#include "proto/clock.h"

enum { CHANNELS = 4, TIMES_MAX = 1 << 23, OPS = 6, CALL_SECONDS = 60 };

struct unary_call {
    struct unary_load *load;
    grpc_channel *channel;
    grpc_call *raw;
    grpc_metadata_array initial, trailing;
    grpc_byte_buffer *sent, *got;
    grpc_status_code code;
    grpc_slice sentence;
    int64_t begun_ns;
};

struct run {
    struct unary_load *load;
    grpc_completion_queue *queue;
    grpc_slice path;
    int64_t begun, until_ns;
};

static void begin(struct run *run, struct unary_call *call)
{
    const gpr_timespec deadline = gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                                               gpr_time_from_seconds(CALL_SECONDS, GPR_TIMESPAN));
    uint8_t bytes[UNARY_LOAD_REQUEST_BYTES];
    grpc_slice slice = grpc_slice_from_copied_buffer(
        (const char *)bytes, (size_t)run->load->request(bytes, run->begun++));
    call->sent = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    call->got = NULL;
    call->sentence = grpc_empty_slice();
    grpc_metadata_array_init(&call->initial);
    grpc_metadata_array_init(&call->trailing);
    call->raw = grpc_channel_create_call(call->channel, NULL, GRPC_PROPAGATE_DEFAULTS, run->queue,
                                         run->path, NULL, deadline, NULL);
    grpc_op ops[OPS];
    memset(ops, 0, sizeof ops);
    ops[0].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[0].flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY;
    ops[1].op = GRPC_OP_SEND_MESSAGE;
    ops[1].data.send_message.send_message = call->sent;
    ops[2].op = GRPC_OP_SEND_CLOSE_FROM_CLIENT;
    ops[3].op = GRPC_OP_RECV_INITIAL_METADATA;
    ops[3].data.recv_initial_metadata.recv_initial_metadata = &call->initial;
    ops[4].op = GRPC_OP_RECV_MESSAGE;
    ops[4].data.recv_message.recv_message = &call->got;
    ops[5].op = GRPC_OP_RECV_STATUS_ON_CLIENT;
    ops[5].data.recv_status_on_client.trailing_metadata = &call->trailing;
    ops[5].data.recv_status_on_client.status = &call->code;
    ops[5].data.recv_status_on_client.status_details = &call->sentence;
    call->begun_ns = clock_now_ns();
    const grpc_call_error error = grpc_call_start_batch(call->raw, ops, OPS, call, NULL);
    assert(error == GRPC_CALL_OK);
}

/* Whether the call was answered. */
static bool end(struct run *run, struct unary_call *call)
{
    struct unary_load *load = run->load;
    const bool good = call->code == GRPC_STATUS_OK && call->got;
    if (good && load->calls < TIMES_MAX)
        load->milliseconds[load->calls++] = (float)(clock_seconds_since(call->begun_ns) * 1e3);
    if (!good)
        fprintf(stderr, "%s: status %d: %.*s\n", load->path, (int)call->code,
                (int)GRPC_SLICE_LENGTH(call->sentence),
                (const char *)GRPC_SLICE_START_PTR(call->sentence));
    grpc_byte_buffer_destroy(call->sent);
    if (call->got)
        grpc_byte_buffer_destroy(call->got);
    grpc_metadata_array_destroy(&call->initial);
    grpc_metadata_array_destroy(&call->trailing);
    grpc_slice_unref(call->sentence);
    grpc_call_unref(call->raw);
    return good;
}

static int compare_times(const void *a, const void *b)
{
    const float left = *(const float *)a, right = *(const float *)b;
    return (left > right) - (left < right);
}

static double cpu_seconds(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
}

/* Keeps every client busy until the end, and then takes what is under way. */
static int drive(struct run *run, struct unary_call *calls)
{
    int64_t open = run->load->clients;
    int code = 0;
    for (int64_t i = 0; i < run->load->clients; i++)
        begin(run, &calls[i]);
    while (open > 0) {
        const grpc_event event = grpc_completion_queue_next(
            run->queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL); /* calls have deadlines */
        assert(event.type == GRPC_OP_COMPLETE);
        if (!end(run, event.tag))
            code = 1;
        if (code == 0 && clock_now_ns() < run->until_ns)
            begin(run, event.tag);
        else
            open--;
    }
    return code;
}

static grpc_channel *open_channel(const char *server)
{
    grpc_arg list[] = {
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_ENABLE_RETRIES},
        {.type = GRPC_ARG_INTEGER, .key = (char *)GRPC_ARG_ENABLE_HTTP_PROXY},
        {.type = GRPC_ARG_INTEGER,
         .key = (char *)GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL,
         .value.integer = 1},
    };
    const grpc_channel_args arguments = {sizeof list / sizeof list[0], list};
    grpc_channel_credentials *credentials = grpc_insecure_credentials_create();
    grpc_channel *channel = grpc_channel_create(server, credentials, &arguments);
    grpc_channel_credentials_release(credentials);
    return channel;
}

int unary_load_run(struct unary_load *load)
{
    grpc_channel *channels[CHANNELS];
    struct unary_call *calls = calloc((size_t)load->clients, sizeof *calls);
    load->milliseconds = calloc(TIMES_MAX, sizeof *load->milliseconds);
    assert(calls && load->milliseconds);
    grpc_init();
    struct run run = {.load = load,
                      .queue = grpc_completion_queue_create_for_next(NULL),
                      .path = grpc_slice_from_copied_string(load->path)};
    for (int i = 0; i < CHANNELS; i++)
        channels[i] = open_channel(load->server);
    for (int64_t i = 0; i < load->clients; i++)
        calls[i] = (struct unary_call){.load = load, .channel = channels[i % CHANNELS]};
    const double cpu_before = cpu_seconds();
    const int64_t start_ns = clock_now_ns();
    run.until_ns = start_ns + (int64_t)(load->seconds * 1e9);
    const int code = drive(&run, calls);
    load->calls_a_second = (double)load->calls / clock_seconds_since(start_ns);
    load->own_cpu_us = (cpu_seconds() - cpu_before) * 1e6 / (double)(load->calls ? load->calls : 1);
    qsort(load->milliseconds, (size_t)load->calls, sizeof *load->milliseconds, compare_times);
    for (int i = 0; i < CHANNELS; i++)
        grpc_channel_destroy(channels[i]);
    grpc_slice_unref(run.path);
    grpc_completion_queue_shutdown(run.queue);
    while (grpc_completion_queue_next(run.queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL).type !=
           GRPC_QUEUE_SHUTDOWN)
        ;
    grpc_completion_queue_destroy(run.queue);
    grpc_shutdown();
    free(calls);
    return code;
}
