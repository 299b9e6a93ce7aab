/* bare_server: answers every unary call with an empty message, from one thread on gRPC's C core and
 * with nothing else around it: what a call costs at least. Prints its address, ends with its
 * standard input, and then prints the calls and the processor time that each has taken. */
#include <assert.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/support/time.h>

enum { ARMED = 512 };

static grpc_server *server;
static grpc_completion_queue *queue;
static int64_t answered;

struct bare_call {
    grpc_call *raw;
    grpc_call_details about;
    grpc_metadata_array metadata;
    grpc_byte_buffer *request, *answer;
    int cancelled;
    bool arrived;
};

static void arm(struct bare_call *call)
{
    memset(call, 0, sizeof *call);
    grpc_call_details_init(&call->about);
    grpc_metadata_array_init(&call->metadata);
    const grpc_call_error error = grpc_server_request_call(server, &call->raw, &call->about,
                                                           &call->metadata, queue, queue, call);
    assert(error == GRPC_CALL_OK);
}

static void answer(struct bare_call *call)
{
    grpc_slice nothing = grpc_empty_slice();
    grpc_op ops[5];
    memset(ops, 0, sizeof ops);
    call->arrived = true;
    call->answer = grpc_raw_byte_buffer_create(&nothing, 1);
    ops[0].op = GRPC_OP_RECV_MESSAGE;
    ops[0].data.recv_message.recv_message = &call->request;
    ops[1].op = GRPC_OP_SEND_INITIAL_METADATA;
    ops[2].op = GRPC_OP_SEND_MESSAGE;
    ops[2].data.send_message.send_message = call->answer;
    ops[3].op = GRPC_OP_SEND_STATUS_FROM_SERVER;
    ops[4].op = GRPC_OP_RECV_CLOSE_ON_SERVER;
    ops[4].data.recv_close_on_server.cancelled = &call->cancelled;
    const grpc_call_error error = grpc_call_start_batch(call->raw, ops, 5, call, NULL);
    assert(error == GRPC_CALL_OK);
}

static void end(struct bare_call *call)
{
    answered++;
    if (call->request)
        grpc_byte_buffer_destroy(call->request);
    grpc_byte_buffer_destroy(call->answer);
    grpc_call_details_destroy(&call->about);
    grpc_metadata_array_destroy(&call->metadata);
    grpc_call_unref(call->raw);
}

static void *serve(void *nothing)
{
    (void)nothing;
    for (;;) {
        const grpc_event event =
            grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), NULL);
        struct bare_call *call = event.tag;
        if (event.type == GRPC_QUEUE_SHUTDOWN)
            return NULL;
        if (!call->arrived && event.success) {
            answer(call);
        } else if (call->arrived) {
            end(call);
            arm(call);
        }
    }
}

int main(void)
{
    static struct bare_call calls[ARMED];
    char byte;
    pthread_t thread;
    struct rusage usage;
    grpc_init();
    server = grpc_server_create(NULL, NULL);
    queue = grpc_completion_queue_create_for_next(NULL);
    grpc_server_register_completion_queue(server, queue, NULL);
    grpc_server_credentials *credentials = grpc_insecure_server_credentials_create();
    const int port = grpc_server_add_http2_port(server, "127.0.0.1:0", credentials);
    grpc_server_credentials_release(credentials);
    if (!port)
        return 70;
    grpc_server_start(server);
    for (int i = 0; i < ARMED; i++)
        arm(&calls[i]);
    if (pthread_create(&thread, NULL, serve, NULL) != 0)
        return 70;
    printf("127.0.0.1:%d\n", port);
    fflush(stdout);
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    getrusage(RUSAGE_SELF, &usage);
    const double seconds = (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                           (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    printf("calls %lld cpu_us %.1f\n", (long long)answered,
           answered ? seconds * 1e6 / (double)answered : 0);
    return 0; /* with whatever is under way: nobody waits for it */
}
