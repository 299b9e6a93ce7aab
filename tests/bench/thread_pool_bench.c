/* What a decode step pays for each of its jobs: an empty one, for a pool of threads.
 *
 * thread_pool_bench [THREADS]: 2 unless given. Prints the median of batches, since a laptop has
 * other things to do. */
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/bench/samples.h"
#include "proto/clock.h"
#include "worker/engine/device/thread_pool.h"

enum { BATCHES = 41, REPEATS = 500, THREADS_MOST = 512 };

static void empty_item(void *context, int thread, size_t item)
{
    (void)context;
    (void)thread;
    (void)item;
}

static enum status time_jobs(struct thread_pool *pool, int threads)
{
    struct samples microseconds = {0};
    enum status status = STATUS_OK;
    for (int batch = 0; batch < BATCHES && status == STATUS_OK; batch++) {
        const int64_t begin_ns = clock_now_ns();
        for (int repeat = 0; repeat < REPEATS; repeat++)
            thread_pool_run(pool, (size_t)threads, empty_item, NULL, NULL);
        status = samples_add(&microseconds, 1e6 * clock_seconds_since(begin_ns) / REPEATS);
    }
    printf("thread_pool threads=%d items=%d us=%.2f\n", threads, threads,
           samples_summarise(&microseconds).median);
    samples_deinit(&microseconds);
    return status;
}

int main(int argc, char **argv)
{
    const int asked = argc > 1 ? atoi(argv[1]) : 2;
    const int threads = asked < 1 || asked > THREADS_MOST ? 2 : asked;
    struct thread_pool *pool = NULL;
    enum status status = thread_pool_create(&pool, threads, NULL, false);
    if (status == STATUS_OK) {
        status = time_jobs(pool, threads);
        thread_pool_destroy(pool);
    }
    if (status != STATUS_OK)
        fprintf(stderr, "thread_pool_bench: %s\n", status_message());
    return status_exit_code(status);
}
