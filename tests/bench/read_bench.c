/* read_bench [THREADS [MEBIBYTES]]
 *
 * What memory gives: THREADS threads (2) read their parts of MEBIBYTES (256, on huge pages, more
 * than caches hold) from end to end, again and again for a second. Prints one JSON line: bytes a
 * second by the clock, the median and the best of the rounds. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tests/bench/bench_memory.h"
#include "tests/bench/peak.h"

enum { THREADS_MAX = 64, ROUNDS_MAX = 1000 };

struct reader {
    const char *part;
    size_t bytes;
};

static void *read_part(void *context)
{
    const struct reader *reader = context;
    (void)peak_read_gbytes(reader->part, reader->bytes);
    return NULL;
}

static double round_gbytes(const char *memory, size_t bytes, int threads)
{
    pthread_t handles[THREADS_MAX];
    struct reader readers[THREADS_MAX];
    const size_t part = bytes / (size_t)threads / 64 * 64;
    const double start = peak_seconds();
    for (int t = 0; t < threads; t++) {
        readers[t] = (struct reader){memory + (size_t)t * part, part};
        if (pthread_create(&handles[t], NULL, read_part, &readers[t]) != 0)
            exit(1);
    }
    for (int t = 0; t < threads; t++)
        pthread_join(handles[t], NULL);
    return (double)part * threads / (peak_seconds() - start) * 1e-9;
}

static int ascending(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    const int threads = argc > 1 ? atoi(argv[1]) : 2;
    const size_t bytes = (argc > 2 ? (size_t)atol(argv[2]) : 256) << 20;
    if (threads < 1 || threads > THREADS_MAX || bytes == 0) {
        fprintf(stderr, "usage: read_bench [THREADS [MEBIBYTES]], 1 to %d threads\n", THREADS_MAX);
        return 2;
    }
    char *memory = bench_memory(bytes);
    memset(memory, 1, bytes);
    static double rates[ROUNDS_MAX];
    int rounds = 0;
    const double start = peak_seconds();
    while (rounds < ROUNDS_MAX && (rounds < 3 || peak_seconds() - start < 1))
        rates[rounds++] = round_gbytes(memory, bytes, threads);
    qsort(rates, (size_t)rounds, sizeof *rates, ascending);
    printf("{\"bench\": \"read\", \"threads\": %d, \"mebibytes\": %zu, \"rounds\": %d, "
           "\"gbytes_median\": %.1f, \"gbytes_best\": %.1f}\n",
           threads, bytes >> 20, rounds, rates[rounds / 2], rates[rounds - 1]);
    free(memory);
    return 0;
}
