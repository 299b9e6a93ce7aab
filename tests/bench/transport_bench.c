/* What a decode step pays for its collectives and jobs: gather, broadcast and barrier between
 * ranks, and an empty job.
 *
 * transport_bench [RANKS]: loopback, ranks as threads (2 unless given). Under mpirun: over MPI;
 * `apart` as the argument takes the way between hosts. Prints the median of batches, since a laptop
 * has other things to do. */
#include "proto/clock.h"
#include "worker/engine/device/thread_pool.h"
#include "worker/engine/transport/transport_loopback.h"
#include "worker/engine/transport/transport_mpi.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { MOST_RANKS = 16, BATCHES = 41, REPEATS = 500, MOST_BYTES = 64 << 10 };

static int compare(const void *a, const void *b)
{
    const double difference = *(const double *)a - *(const double *)b;
    return (difference > 0) - (difference < 0);
}

static double median(double *values)
{
    qsort(values, BATCHES, sizeof *values, compare);
    return values[BATCHES / 2];
}

static enum status time_gather(struct transport *t, size_t bytes, double *microseconds)
{
    static _Thread_local unsigned char all[MOST_RANKS * MOST_BYTES];
    size_t offsets[MOST_RANKS];
    size_t sizes[MOST_RANKS];
    for (int rank = 0; rank < t->size; rank++) {
        offsets[rank] = (size_t)rank * bytes;
        sizes[rank] = bytes;
    }
    double values[BATCHES];
    for (int batch = 0; batch < BATCHES; batch++) {
        const int64_t begun_ns = clock_now_ns();
        for (int repeat = 0; repeat < REPEATS; repeat++)
            TRY(transport_gather(t, all + offsets[t->rank], all, offsets, sizes));
        values[batch] = (double)(clock_now_ns() - begun_ns) * 1e-3 / REPEATS;
    }
    *microseconds = median(values);
    return STATUS_OK;
}

static enum status time_verdicts(struct transport *t, double *broadcast, double *barrier)
{
    double broadcasts[BATCHES];
    double barriers[BATCHES];
    for (int batch = 0; batch < BATCHES; batch++) {
        int64_t begun_ns = clock_now_ns();
        for (int repeat = 0; repeat < REPEATS; repeat++) {
            int word = repeat;
            TRY(transport_broadcast(t, &word, sizeof word));
        }
        broadcasts[batch] = (double)(clock_now_ns() - begun_ns) * 1e-3 / REPEATS;
        begun_ns = clock_now_ns();
        for (int repeat = 0; repeat < REPEATS; repeat++)
            TRY(transport_barrier(t));
        barriers[batch] = (double)(clock_now_ns() - begun_ns) * 1e-3 / REPEATS;
    }
    *broadcast = median(broadcasts);
    *barrier = median(barriers);
    return STATUS_OK;
}

static enum status time_rank(struct transport *t)
{
    static const size_t sizes[] = {8, 512, 2048, 16384, 65536};
    if (t->rank == 0)
        printf("%s\n", t->facts);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        double microseconds;
        TRY(time_gather(t, sizes[i], &microseconds));
        if (t->rank == 0)
            printf("gather bytes_per_rank=%zu us=%.2f\n", sizes[i], microseconds);
    }
    double broadcast;
    double barrier;
    TRY(time_verdicts(t, &broadcast, &barrier));
    if (t->rank == 0)
        printf("broadcast bytes=4 us=%.2f\nbarrier us=%.2f\n", broadcast, barrier);
    return STATUS_OK;
}

static void *play(void *argument)
{
    struct transport *t = argument;
    if (time_rank(t) != STATUS_OK)
        transport_abort(t, status_message());
    transport_destroy(t);
    return NULL;
}

static void empty_item(void *context, int thread, size_t item)
{
    (void)context;
    (void)thread;
    (void)item;
}

static enum status time_jobs(int threads)
{
    struct thread_pool *pool;
    TRY(thread_pool_create(&pool, threads, NULL, false));
    double values[BATCHES];
    for (int batch = 0; batch < BATCHES; batch++) {
        const int64_t begun_ns = clock_now_ns();
        for (int repeat = 0; repeat < REPEATS; repeat++)
            thread_pool_run(pool, (size_t)threads, empty_item, NULL, NULL);
        values[batch] = (double)(clock_now_ns() - begun_ns) * 1e-3 / REPEATS;
    }
    printf("thread_pool threads=%d items=%d us=%.2f\n", threads, threads, median(values));
    thread_pool_destroy(pool);
    return STATUS_OK;
}

static enum status time_loopback(int ranks)
{
    struct transport *transports[MOST_RANKS];
    pthread_t threads[MOST_RANKS];
    TRY(transport_loopback_create_group(transports, ranks, NULL));
    for (int rank = 0; rank < ranks; rank++)
        if (pthread_create(&threads[rank], NULL, play, transports[rank]) != 0)
            abort();
    for (int rank = 0; rank < ranks; rank++)
        pthread_join(threads[rank], NULL);
    return STATUS_OK;
}

static enum status time_mpi(bool apart)
{
    const struct transport_options options = {.apart = apart};
    struct transport *t;
    TRY(transport_mpi_create(&t, &options));
    const enum status status = time_rank(t);
    transport_destroy(t);
    return status;
}

int main(int argc, char **argv)
{
    const bool mpi = getenv("OMPI_COMM_WORLD_SIZE") != NULL;
    int ranks = argc > 1 ? atoi(argv[1]) : 2;
    ranks = ranks < 1 || ranks > MOST_RANKS ? 2 : ranks;
    enum status status =
        mpi ? time_mpi(argc > 1 && strcmp(argv[1], "apart") == 0) : time_loopback(ranks);
    if (status == STATUS_OK && !mpi)
        status = time_jobs(2);
    if (status != STATUS_OK)
        fprintf(stderr, "transport_bench: %s\n", status_message());
    return status_exit_code(status);
}
