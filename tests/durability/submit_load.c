/* submit_load --server HOST:PORT [--clients N] [--seconds S] [--share PERCENT] [--empty PATH]: row
 * F17 of the contract, over gRPC. So many clients create batches of one line, each as soon as its
 * last one is on the coordinator's disk. Prints how many a second, the time that 99 of 100 take at
 * most, and what a submission takes of the clients' processor; the gates are such a share of the
 * contract's figures. With --empty they make empty calls of a method instead, to compare with. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "longhaul/v1/batches.pb-c.h"
#include "proto/flags.h"
#include "tests/durability/figure.h"
#include "tests/durability/unary_load.h"

/* The contract's figures for up to 256 clients, and for more. */
enum {
    CLIENTS_MAX = 1024,
    FEW = 256,
    RATE = 10000,
    P99_MS = 100,
    RATE_MANY = 8000,
    P99_MANY_MS = 300
};

static struct {
    const char *server, *empty;
    int64_t clients, share;
    double seconds;
} options = {.clients = 256, .share = 100, .seconds = 5};

static int64_t pack_submission(uint8_t *bytes, int64_t index)
{
    static const char line[] =
        "{\"custom_id\": \"a\", \"method\": \"POST\", \"url\": \"/v1/completions\","
        " \"body\": {\"prompt\": \"A QUESTION\", \"max_tokens\": 8}}\n";
    Longhaul__V1__CreateBatchRequest request = LONGHAUL__V1__CREATE_BATCH_REQUEST__INIT;
    char request_id[48];
    snprintf(request_id, sizeof request_id, "submit-%lld-%lld", (long long)getpid(),
             (long long)index);
    request.request_id = request_id;
    request.lines = (ProtobufCBinaryData){sizeof line - 1, (uint8_t *)line};
    return (int64_t)longhaul__v1__create_batch_request__pack(&request, bytes);
}

static int64_t pack_nothing(uint8_t *bytes, int64_t index)
{
    (void)bytes;
    (void)index;
    return 0;
}

static bool print(const struct unary_load *load)
{
    char name[64];
    const char *what = options.empty ? "empty_calls" : "submissions";
    const double part = options.empty ? 0 : (double)options.share / 100;
    const bool few = load->clients <= FEW;
    const int rate = few ? RATE : RATE_MANY, p99_ms = few ? P99_MS : P99_MANY_MS;
    snprintf(name, sizeof name, "F17.%s_a_second.%lld", what, (long long)load->clients);
    bool passes = figure_at_least(name, load->calls_a_second, rate * part, 0);
    snprintf(name, sizeof name, "F17.%s_p99_ms.%lld", what, (long long)load->clients);
    passes &= figure_at_most(name, load->calls ? load->milliseconds[load->calls * 99 / 100] : 1e9,
                             part > 0 ? p99_ms / part : 1e9, 0);
    printf("client_cpu_us %.1f\nacknowledged %lld\n", load->own_cpu_us, (long long)load->calls);
    return passes;
}

int main(int argc, char **argv)
{
    const struct flags_row rows[] = {
        {.name = "server",
         .type = FLAGS_TEXT,
         .target = &options.server,
         .value = "HOST:PORT",
         .help = "the coordinator, with --store"},
        {.name = "clients",
         .type = FLAGS_INTEGER,
         .target = &options.clients,
         .value = "N",
         .help = "at a time",
         .least = 1,
         .most = CLIENTS_MAX},
        {.name = "seconds",
         .type = FLAGS_REAL,
         .target = &options.seconds,
         .value = "S",
         .help = "for which they submit",
         .least = 0.1,
         .most = 3600},
        {.name = "share",
         .type = FLAGS_INTEGER,
         .target = &options.share,
         .value = "PERCENT",
         .help = "of the contract's rate that is asked for; 0: none, for a machine that is busy",
         .least = 0,
         .most = 100},
        {.name = "empty",
         .type = FLAGS_TEXT,
         .target = &options.empty,
         .value = "PATH",
         .help = "empty calls of this method, without a gate"},
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
    if (!options.server)
        return 2;
    struct unary_load load = {.server = options.server,
                              .path = options.empty ? options.empty
                                                    : "/longhaul.v1.Batches/CreateBatch",
                              .clients = options.clients,
                              .seconds = options.seconds,
                              .request = options.empty ? pack_nothing : pack_submission};
    const int code = unary_load_run(&load);
    const bool passes = print(&load);
    free(load.milliseconds);
    return code ? 70 : passes ? 0 : 1;
}
