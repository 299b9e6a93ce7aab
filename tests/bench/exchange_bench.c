/* The exchange alone, as nccl-tests measures collectives: time, algorithm and bus bandwidth by
 * size, with a column that says how many bytes came wrong.
 *
 *   exchange_bench -t 3                                      ranks as threads (loopback)
 *   mpirun -np 2 exchange_bench                              ranks as processes, over MPI
 *   mpirun -np 2 --hostfile FILE exchange_bench              on several hosts
 *   mpirun -np 2 exchange_bench --transport nccl             a GPU each
 *   exchange_bench -t 2 --transport standin                  NCCL's path without GPUs: no figures
 */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/bench/samples.h"
#include "proto/clock.h"
#include "proto/flags.h"
#include "proto/json_writer.h"
#include "tests/bench/exchange_ops.h"
#include "tests/support/ranks.h"
#include "tests/support/standin.h"
#include "worker/engine/device/cuda_find.h"
#include "worker/engine/transport/transport_mpi.h"
#include "worker/engine/transport/transport_nccl.h"

enum { RANKS_MOST = 16, EXIT_WRONG = 1 };

struct options {
    const char *least_text, *most_text, *op_text, *transport;
    int64_t factor, iterations, warmup, batches, threads;
    bool apart, spoil, json, unchecked;
    size_t least, most;
    bool ops[EXCHANGE_OPS];
};

/* One rank's part of the bench. */
struct player {
    const struct options *options;
    struct cuda_streams streams;
    bool on_device;
    int64_t wrong; /* bytes on all ranks */
};

/* ---- one size ---- */

struct result {
    enum exchange_op op;
    size_t part, whole; /* bytes of each rank, and that each has at the end */
    struct samples_summary seconds;
    int64_t wrong;
};

static enum status time_batch(struct exchange *exchange, enum exchange_op op, size_t part,
                              int64_t iterations, double *seconds)
{
    TRY(transport_barrier(exchange->transport));
    const int64_t begin_ns = clock_now_ns();
    for (int64_t i = 0; i < iterations; i++)
        TRY(exchange_do(exchange, op, part));
    TRY(exchange_settle(exchange));
    *seconds = clock_seconds_since(begin_ns) / (double)iterations;
    return STATUS_OK;
}

/* Of the slowest rank. */
static enum status add_slowest(struct transport *t, struct samples *samples, double seconds)
{
    double all[RANKS_MOST];
    TRY(transport_gather_each(t, &seconds, all, sizeof seconds));
    for (int rank = 0; rank < t->size; rank++)
        seconds = fmax(seconds, all[rank]);
    return samples_add(samples, seconds);
}

static enum status sum_wrong(struct transport *t, int64_t *sum, size_t wrong)
{
    int64_t mine = (int64_t)wrong, all[RANKS_MOST];
    TRY(transport_gather_each(t, &mine, all, sizeof mine));
    *sum = 0;
    for (int rank = 0; rank < t->size; rank++)
        *sum += all[rank];
    return STATUS_OK;
}

static enum status measure(struct exchange *exchange, struct result *result,
                           const struct options *options)
{
    struct samples samples = {0};
    size_t wrong = 0;
    double seconds;
    enum status status = STATUS_OK;
    if (options->warmup > 0)
        TRY(time_batch(exchange, result->op, result->part, options->warmup, &seconds));
    for (int64_t b = 0; b < options->batches && status == STATUS_OK; b++) {
        status = time_batch(exchange, result->op, result->part, options->iterations, &seconds);
        if (status == STATUS_OK)
            status = add_slowest(exchange->transport, &samples, seconds);
    }
    result->seconds = samples_summarise(&samples);
    samples_deinit(&samples);
    if (status == STATUS_OK && !options->unchecked)
        status = exchange_check(exchange, result->op, result->part, result->whole + 1, &wrong);
    return status == STATUS_OK ? sum_wrong(exchange->transport, &result->wrong, wrong) : status;
}

/* ---- what is told ---- */

static void print_head(const struct transport *t, const struct options *options)
{
    if (options->json)
        return;
    printf("# %d ranks, %s\n# times are medians of %" PRId64 " batches of %" PRId64
           " exchanges, of the slowest rank\n#\n",
           t->size, t->facts, options->batches, options->iterations);
    printf("# %9s %12s %12s %11s %9s %11s %11s %8s\n", "op", "size, B", "part, B", "time, us", "+-",
           "algbw, GB/s", "busbw, GB/s", "#wrong");
}

static void print_json(const struct transport *t, const struct result *result, double algorithm,
                       double bus)
{
    struct json_writer writer = {.file = stdout};
    json_writer_begin_object(&writer, NULL);
    json_writer_text(&writer, "transport", t->name);
    json_writer_text(&writer, "facts", t->facts);
    json_writer_integer(&writer, "ranks", t->size);
    json_writer_text(&writer, "op", exchange_op_names[result->op]);
    json_writer_integer(&writer, "bytes", (int64_t)result->whole);
    json_writer_integer(&writer, "part_bytes", (int64_t)result->part);
    json_writer_real(&writer, "seconds", result->seconds.median);
    json_writer_real(&writer, "deviation", result->seconds.deviation);
    json_writer_real(&writer, "algorithm_bytes_per_second", algorithm);
    json_writer_real(&writer, "bus_bytes_per_second", bus);
    json_writer_integer(&writer, "wrong_bytes", result->wrong);
    json_writer_end_object(&writer);
    putchar('\n');
}

static void print_result(const struct transport *t, const struct result *result,
                         const struct options *options)
{
    const double seconds = result->seconds.median, whole = (double)result->whole;
    const double algorithm = exchange_algorithm_rate(whole, seconds);
    const double bus = exchange_bus_rate(result->op, t->size, whole, seconds);
    char wrong[24] = "N/A";
    if (!options->unchecked)
        snprintf(wrong, sizeof wrong, "%" PRId64, result->wrong);
    if (options->json)
        print_json(t, result, algorithm, bus);
    else
        printf("  %9s %12zu %12zu %11.2f %9.2f %11.3f %11.3f %8s\n", exchange_op_names[result->op],
               result->whole, result->part, 1e6 * seconds, 1e6 * result->seconds.deviation,
               1e-9 * algorithm, 1e-9 * bus, wrong);
    fflush(stdout);
}

/* ---- all sizes ---- */

/* Each rank's part of so many bytes that it has at the end; at least one. */
static size_t part_of(enum exchange_op op, size_t whole, int ranks)
{
    const size_t part = op == EXCHANGE_BROADCAST ? whole : whole / (size_t)ranks;
    return part > 0 ? part : 1;
}

static enum status measure_op(struct exchange *exchange, struct player *player, enum exchange_op op)
{
    const struct options *options = player->options;
    struct transport *t = exchange->transport;
    for (size_t bytes = options->least; bytes <= options->most; bytes *= (size_t)options->factor) {
        struct result result = {.op = op};
        if (op != EXCHANGE_BARRIER) {
            result.part = part_of(op, bytes, t->size);
            result.whole = op == EXCHANGE_BROADCAST ? result.part : result.part * (size_t)t->size;
        }
        TRY(measure(exchange, &result, options));
        player->wrong += result.wrong;
        if (t->rank == 0)
            print_result(t, &result, options);
        if (op == EXCHANGE_BARRIER)
            break;
    }
    return STATUS_OK;
}

static enum status play(struct transport *t, void *context)
{
    struct player *player = context;
    struct exchange exchange;
    if (t->size > RANKS_MOST)
        return fail(STATUS_INVALID_ARGUMENT, "%d ranks; at most %d", t->size, RANKS_MOST);
    TRY(exchange_open(&exchange, t, player->on_device ? &player->streams : NULL,
                      player->options->most + (size_t)t->size));
    exchange.spoil = player->options->spoil;
    enum status status = STATUS_OK;
    if (t->rank == 0)
        print_head(t, player->options);
    for (int op = 0; op < EXCHANGE_OPS && status == STATUS_OK; op++)
        if (player->options->ops[op])
            status = measure_op(&exchange, player, (enum exchange_op)op);
    exchange_close(&exchange);
    return status;
}

/* ---- transports ---- */

/* Puts NCCL over the transport of the host. */
static enum status open_device(struct transport **t, void *context)
{
    struct player *player = context;
    const bool standin = strcmp(player->options->transport, "standin") == 0;
    const struct cuda_runtime *runtime = standin_runtime();
    const struct kernels_cuda *kernels = standin_kernels();
    const struct nccl_api *nccl = standin_nccl();
    if (!standin) {
        TRY(cuda_find(&runtime, &kernels));
        TRY(nccl_find(&nccl));
    }
    TRY(cuda_streams_open(&player->streams, runtime, kernels, (*t)->local_rank, (*t)->local_size,
                          standin));
    player->on_device = true;
    return transport_nccl_create(t, *t, &player->streams, nccl, NULL);
}

static void close_device(void *context)
{
    cuda_streams_close(&((struct player *)context)->streams);
}

static enum status run_threads(const struct options *options, bool on_device, int64_t *wrong)
{
    static struct player players[RANKS_MOST];
    static const struct ranks_setting setting = {open_device, close_device};
    void *contexts[RANKS_MOST];
    for (int rank = 0; rank < RANKS_MOST; rank++) {
        players[rank].options = options;
        contexts[rank] = &players[rank];
    }
    TRY(ranks_run_in((int)options->threads, NULL, on_device ? &setting : NULL, play, contexts));
    *wrong = players[0].wrong;
    return STATUS_OK;
}

static enum status run_processes(const struct options *options, bool on_device, int64_t *wrong)
{
    struct player player = {.options = options};
    const struct transport_options transport_options = {.apart = options->apart};
    struct transport *t;
    TRY(transport_mpi_create(&t, &transport_options));
    enum status status = on_device ? open_device(&t, &player) : STATUS_OK;
    if (status == STATUS_OK)
        status = play(t, &player);
    if (status != STATUS_OK)
        transport_abort(t, status_message());
    *wrong = player.wrong;
    transport_destroy(t);
    if (player.on_device)
        close_device(&player);
    return status;
}

/* ---- options ---- */

/* "64K": bytes, with K, M or G behind for 1024 and its powers. */
static enum status read_size(size_t *bytes, const char *option, const char *text)
{
    static const char letters[] = "KMG";
    char *end = NULL;
    const double value = strtod(text, &end);
    const char *letter = *end ? strchr(letters, *end) : NULL;
    const double factor = letter ? pow(1024, (double)(letter - letters) + 1) : 1;
    if (end == text || (*end && (!letter || end[1])) || !(value >= 1) || value * factor > 0x1p36)
        return fail(STATUS_INVALID_ARGUMENT, "--%s: \"%s\" is no size such as 64K", option, text);
    *bytes = (size_t)(value * factor);
    return STATUS_OK;
}

static enum status read_options(struct options *options)
{
    bool any = false;
    TRY(read_size(&options->least, "minbytes", options->least_text));
    TRY(read_size(&options->most, "maxbytes", options->most_text));
    if (options->least > options->most)
        return fail(STATUS_INVALID_ARGUMENT, "--minbytes is more than --maxbytes");
    for (int op = 0; op < EXCHANGE_OPS; op++) {
        options->ops[op] = strcmp(options->op_text, "all") == 0 ||
                           strcmp(options->op_text, exchange_op_names[op]) == 0;
        any |= options->ops[op];
    }
    if (!any)
        return fail(STATUS_INVALID_ARGUMENT,
                    "--op %s: direct, ring, gather, broadcast, barrier or all", options->op_text);
    return STATUS_OK;
}

static enum status run(struct options *options, bool processes, int64_t *wrong)
{
    static const char *const transports[] = {"auto", "loopback", "mpi", "nccl", "standin"};
    bool known = false;
    for (size_t i = 0; i < sizeof transports / sizeof transports[0]; i++)
        known |= strcmp(options->transport, transports[i]) == 0;
    if (!known)
        return fail(STATUS_INVALID_ARGUMENT, "--transport %s: auto, loopback, mpi, nccl or standin",
                    options->transport);
    TRY(read_options(options));
    const bool on_device =
        strcmp(options->transport, "nccl") == 0 || strcmp(options->transport, "standin") == 0;
    if (strcmp(options->transport, "nccl") == 0)
        TRY(cuda_find_load_eagerly());
    processes = (processes && strcmp(options->transport, "loopback") != 0) ||
                strcmp(options->transport, "mpi") == 0;
    return processes ? run_processes(options, on_device, wrong)
                     : run_threads(options, on_device, wrong);
}

int main(int argc, char **argv)
{
    const bool processes = getenv("OMPI_COMM_WORLD_SIZE") || getenv("PMIX_RANK");
    struct options options = {
        .least_text = "8",
        .most_text = "16M",
        .op_text = "all",
        .transport = "auto",
        .factor = 4,
        .iterations = 20,
        .warmup = 5,
        .batches = 9,
        .threads = 2,
    };
    int64_t wrong = 0;
    const struct flags_row rows[] = {
        {"minbytes", 'b', FLAGS_TEXT, &options.least_text, "SIZE",
         "smallest size that a rank holds at the end [8]", 0, 0, NULL},
        {"maxbytes", 'e', FLAGS_TEXT, &options.most_text, "SIZE", "largest [16M]", 0, 0, NULL},
        {"stepfactor", 'f', FLAGS_INTEGER, &options.factor, "N", "from one size to the next [4]", 2,
         1 << 20, NULL},
        {"iters", 'n', FLAGS_INTEGER, &options.iterations, "N", "exchanges a batch [20]", 1,
         1 << 20, NULL},
        {"warmup_iters", 'w', FLAGS_INTEGER, &options.warmup, "N", "before, not counted [5]", 0,
         1 << 20, NULL},
        {"batches", 'N', FLAGS_INTEGER, &options.batches, "N", "of which the median counts [9]", 1,
         1 << 20, NULL},
        {"threads", 't', FLAGS_INTEGER, &options.threads, "N", "ranks, as threads [2]", 1,
         RANKS_MOST, NULL},
        {"op", 'o', FLAGS_TEXT, &options.op_text, "NAME",
         "direct, ring, gather, broadcast, barrier [all]", 0, 0, NULL},
        {"transport", 0, FLAGS_TEXT, &options.transport, "NAME",
         "auto (mpi under mpirun), loopback, mpi, nccl, standin", 0, 0, NULL},
        {"apart", 0, FLAGS_SWITCH, &options.apart, NULL,
         "of MPI: as if each rank had a host of its own", 0, 0, NULL},
        {"unchecked", 0, FLAGS_SWITCH, &options.unchecked, NULL, "without the last column", 0, 0,
         NULL},
        {"spoil", 0, FLAGS_SWITCH, &options.spoil, NULL,
         "rank 0 sends a wrong byte: shows that the last column sees it", 0, 0, NULL},
        {"json", 0, FLAGS_SWITCH, &options.json, NULL, "JSON lines", 0, 0, NULL},
    };
    const struct flags_command command = {
        .program = "exchange_bench",
        .example = "  mpirun -np 2 exchange_bench -b 1K -e 64M -f 2 --op direct\n",
        .summary = "Measures exchanges between ranks, each alone.\n",
        .rows = rows,
        .rows_count = sizeof rows / sizeof rows[0],
    };
    const int exit_code = flags_parse(&command, argc, argv, NULL);
    if (exit_code != FLAGS_GO_ON)
        return exit_code;
    const enum status status = run(&options, processes, &wrong);
    if (status != STATUS_OK)
        fprintf(stderr, "exchange_bench: %s\n", status_message());
    if (status != STATUS_OK)
        return status_exit_code(status);
    return wrong > 0 ? EXIT_WRONG : 0;
}
