/* submit_load --server HOST:PORT [--clients N] [--seconds S] [--share PERCENT]: row F17 of the
 * contract, over gRPC. So many clients create batches of one line, each as soon as its last one is
 * on the coordinator's disk. Prints how many a second, and the time that 99 of 100 take at most;
 * the gates are such a share of the contract's figures. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "longhaul/v1/batches.pb-c.h"
#include "proto/clock.h"
#include "proto/flags.h"
#include "proto/rpc/rpc_client.h"
#include "tests/durability/figure.h"

enum { CLIENTS_MAX = 1024, CHANNELS = 4, TIMES_MAX = 1 << 22, RATE = 10000, P99_MS = 100 };

static struct {
    const char *server;
    int64_t clients, share;
    double seconds;
    int64_t until_ns;
    int64_t made; /* atomic */
    struct rpc_client *channels[CHANNELS];
    float *times; /* milliseconds */
} load = {.clients = 256, .share = 100, .seconds = 5};

static void fail_run(const char *what)
{
    fprintf(stderr, "submit_load: %s: %s\n", what, status_message());
    exit(70);
}

static void create_one(struct rpc_client *client, int64_t index)
{
    static const char line[] =
        "{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/completions\","
        " \"body\": {\"prompt\": \"A QUESTION\", \"max_tokens\": 8}}\n";
    const struct rpc_stream_args call = {.path = "/longhaul.v1.Batches/CreateBatch",
                                         .response = &longhaul__v1__batch__descriptor,
                                         .timeout_ms = 60000};
    Longhaul__V1__CreateBatchRequest request = LONGHAUL__V1__CREATE_BATCH_REQUEST__INIT;
    struct rpc_stream *stream = NULL;
    const ProtobufCMessage *reply = NULL;
    char request_id[48];
    snprintf(request_id, sizeof request_id, "submit-%lld-%lld", (long long)getpid(),
             (long long)index);
    request.request_id = request_id;
    request.lines = (ProtobufCBinaryData){sizeof line - 1, (uint8_t *)line};
    if (rpc_client_call(client, &stream, &reply, &call, &request.base) != STATUS_OK)
        fail_run("create a batch");
    rpc_stream_close(stream);
}

static void *create_some(void *context)
{
    struct rpc_client *client = context;
    while (clock_now_ns() < load.until_ns) {
        const int64_t index = __atomic_fetch_add(&load.made, 1, __ATOMIC_RELAXED);
        const int64_t start_ns = clock_now_ns();
        create_one(client, index);
        if (index < TIMES_MAX)
            load.times[index] = (float)(clock_seconds_since(start_ns) * 1e3);
    }
    return NULL;
}

static int compare_times(const void *a, const void *b)
{
    const float left = *(const float *)a, right = *(const float *)b;
    return (left > right) - (left < right);
}

static bool measure(void)
{
    static pthread_t running[CLIENTS_MAX];
    char name[64];
    const int64_t start_ns = clock_now_ns();
    load.until_ns = start_ns + (int64_t)(load.seconds * 1e9);
    for (int64_t i = 0; i < load.clients; i++)
        if (pthread_create(&running[i], NULL, create_some, load.channels[i % CHANNELS]) != 0)
            fail_run("start a thread");
    for (int64_t i = 0; i < load.clients; i++)
        pthread_join(running[i], NULL);
    const double rate = (double)load.made / clock_seconds_since(start_ns);
    const int64_t timed = load.made < TIMES_MAX ? load.made : TIMES_MAX;
    qsort(load.times, (size_t)timed, sizeof *load.times, compare_times);
    const double part = (double)load.share / 100;
    snprintf(name, sizeof name, "F17.submissions_a_second.%lld", (long long)load.clients);
    bool passes = figure_at_least(name, rate, RATE * part, 0);
    snprintf(name, sizeof name, "F17.submission_p99_ms.%lld", (long long)load.clients);
    passes &= figure_at_most(name, load.times[timed * 99 / 100], part > 0 ? P99_MS / part : 1e9, 0);
    printf("acknowledged %lld\n", (long long)load.made);
    return passes;
}

int main(int argc, char **argv)
{
    const struct flags_row rows[] = {
        {.name = "server",
         .type = FLAGS_TEXT,
         .target = &load.server,
         .value = "HOST:PORT",
         .help = "the coordinator, with --store"},
        {.name = "clients",
         .type = FLAGS_INTEGER,
         .target = &load.clients,
         .value = "N",
         .help = "at a time",
         .least = 1,
         .most = CLIENTS_MAX},
        {.name = "seconds",
         .type = FLAGS_REAL,
         .target = &load.seconds,
         .value = "S",
         .help = "for which they submit",
         .least = 0.1,
         .most = 3600},
        {.name = "share",
         .type = FLAGS_INTEGER,
         .target = &load.share,
         .value = "PERCENT",
         .help = "of the contract's rate that is asked for; 0: none, for a machine that is busy",
         .least = 0,
         .most = 100},
    };
    const struct flags_command command = {
        .program = "submit_load",
        .example = "  submit_load --server 127.0.0.1:7711\n",
        .summary = "Creates batches of one line from many clients at a time.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    int first = 0;
    const int exit_code = flags_parse(&command, argc, argv, &first);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    load.times = calloc(TIMES_MAX, sizeof *load.times);
    if (!load.server || !load.times)
        return 2;
    for (int i = 0; i < CHANNELS; i++)
        if (rpc_client_create(&load.channels[i], load.server) != STATUS_OK)
            fail_run("make a client");
    const bool passes = measure();
    for (int i = 0; i < CHANNELS; i++)
        rpc_client_destroy(load.channels[i]);
    free(load.times);
    return passes ? 0 : 1;
}
