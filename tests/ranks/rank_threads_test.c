/* Ranks as threads: the first failure speaks for all, and a thread that cannot be started ends
 * those that were. The linker puts __wrap_pthread_create in pthread_create's place. */
#include "tests/support/unit.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "worker/engine/transport/transport_loopback.h"
#include "worker/rank_threads.h"

enum { RANKS = 4 };

static int threads_left; /* that may still be started */
static atomic_int begun, ended, cut_short;

int __real_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument);
int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument);

int __wrap_pthread_create(pthread_t *thread, const pthread_attr_t *attributes,
                          void *(*start)(void *), void *argument)
{
    return threads_left-- > 0 ? __real_pthread_create(thread, attributes, start, argument) : EAGAIN;
}

/* A rank that meets the others, and then fails where `context` says so. */
static enum status meet(struct transport *transport, void *context)
{
    const int *failing = context;
    atomic_fetch_add(&begun, 1);
    enum status status = transport_barrier(transport);
    if (status == STATUS_UNAVAILABLE)
        atomic_fetch_add(&cut_short, 1);
    if (status == STATUS_OK && transport->rank >= *failing)
        status = fail(STATUS_IO, "rank %d says so", transport->rank);
    transport_destroy(transport);
    atomic_fetch_add(&ended, 1);
    return status;
}

static enum status run(int failing, int threads)
{
    struct transport *transports[RANKS];
    const struct transport_options options = {.silence_ns = 60000000000};
    threads_left = threads;
    begun = ended = cut_short = 0;
    assert_int_equal(transport_loopback_create_group(transports, RANKS, &options), STATUS_OK);
    return rank_threads_run(transports, RANKS, meet, &failing);
}

static void all_ranks_are_waited_for_and_the_first_failure_is_told(void **state)
{
    (void)state;
    assert_int_equal(run(RANKS, RANKS), STATUS_OK);
    assert_int_equal(ended, RANKS);
    assert_int_equal(run(2, RANKS), STATUS_IO);
    assert_string_equal(status_message(), "rank 2 says so");
    assert_int_equal(ended, RANKS);
}

static void a_thread_that_cannot_be_started_ends_those_that_were(void **state)
{
    (void)state;
    for (int threads = 0; threads < RANKS; threads++) {
        char told[64];
        snprintf(told, sizeof told, "no thread for rank %d of %d", threads, RANKS);
        assert_int_equal(run(RANKS, threads), STATUS_RESOURCE_EXHAUSTED);
        assert_non_null(strstr(status_message(), told));
        assert_int_equal(begun, threads);
        assert_int_equal(ended, threads);
        assert_int_equal(cut_short, threads);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(all_ranks_are_waited_for_and_the_first_failure_is_told),
        cmocka_unit_test(a_thread_that_cannot_be_started_ends_those_that_were),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
