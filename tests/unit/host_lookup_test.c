/* Names of many hosts, with a name server that is silent: getaddrinfo is this test's own. */
#include "tests/support/unit.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netdb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/host_lookup.h"
#include "proto/clock.h"

enum { HOSTS = 100, LONG_MS = 60000, SHORT_MS = 100 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int asked, silent; /* questions; those that wait */
static bool answering;    /* the silent ones, too */

static void wait_for_an_answer(void)
{
    silent++;
    pthread_cond_broadcast(&changed);
    while (!answering)
        pthread_cond_wait(&changed, &lock);
    silent--;
    pthread_cond_broadcast(&changed);
}

/* "hN" is 10.0.0.N, "silent" waits, others are not there. */
int getaddrinfo(const char *restrict name, const char *restrict service,
                const struct addrinfo *restrict wanted, struct addrinfo **restrict found)
{
    (void)service;
    assert_int_equal(wanted->ai_family, AF_INET);
    pthread_mutex_lock(&lock);
    asked++;
    if (strcmp(name, "silent") == 0)
        wait_for_an_answer();
    pthread_mutex_unlock(&lock);
    if (name[0] != 'h')
        return EAI_NONAME;
    struct addrinfo *made = calloc(1, sizeof *made + sizeof(struct sockaddr_in));
    assert_non_null(made);
    struct sockaddr_in *address = (struct sockaddr_in *)(void *)(made + 1);
    address->sin_addr.s_addr = htonl(0x0a000000 + (uint32_t)atoi(name + 1));
    made->ai_addr = (struct sockaddr *)address;
    *found = made;
    return 0;
}

void freeaddrinfo(struct addrinfo *found)
{
    free(found);
}

static void make_hosts(struct host hosts[HOSTS], int wanted[HOSTS])
{
    memset(hosts, 0, HOSTS * sizeof *hosts);
    for (int i = 0; i < HOSTS; i++) {
        snprintf(hosts[i].name, sizeof hosts[i].name, "h%d", i + 1);
        wanted[i] = i % 10 != 9;
    }
    asked = 0;
}

static void every_host_that_is_wanted_is_asked_once(void **state)
{
    (void)state;
    struct host hosts[HOSTS];
    struct in_addr addresses[HOSTS];
    int wanted[HOSTS];
    make_hosts(hosts, wanted);
    snprintf(hosts[9].name, sizeof hosts[9].name, "none"); /* is not wanted */
    assert_int_equal(host_lookup(addresses, hosts, wanted, HOSTS, LONG_MS), STATUS_OK);
    assert_int_equal(asked, HOSTS - HOSTS / 10);
    for (int i = 0; i < HOSTS; i++)
        if (wanted[i])
            assert_int_equal(ntohl(addresses[i].s_addr), 0x0a000000 + i + 1);
    assert_int_equal(host_lookup(addresses, hosts, wanted, 0, LONG_MS), STATUS_OK);
}

static void a_name_that_is_none_is_told(void **state)
{
    (void)state;
    struct host hosts[HOSTS];
    struct in_addr addresses[HOSTS];
    int wanted[HOSTS];
    make_hosts(hosts, wanted);
    snprintf(hosts[95].name, sizeof hosts[95].name, "none");
    assert_int_equal(host_lookup(addresses, hosts, wanted, HOSTS, LONG_MS), STATUS_NOT_FOUND);
    assert_non_null(strstr(status_message(), "host none has no IPv4 address here"));
}

/* All of them, so that every thread waits; they are let go once the caller has gone. */
static void a_silent_name_server_is_waited_for_until_the_deadline(void **state)
{
    (void)state;
    struct host hosts[HOSTS];
    struct in_addr addresses[HOSTS];
    int wanted[HOSTS];
    make_hosts(hosts, wanted);
    for (int i = 0; i < HOSTS; i++)
        snprintf(hosts[i].name, sizeof hosts[i].name, "silent");
    const int64_t begin_ns = clock_now_ns();
    assert_int_equal(host_lookup(addresses, hosts, wanted, HOSTS, SHORT_MS), STATUS_UNAVAILABLE);
    assert_true(clock_seconds_since(begin_ns) >= 0.1);
    assert_true(clock_seconds_since(begin_ns) < 10);
    assert_non_null(strstr(status_message(), "host silent: name servers gave none within 0.1 s"));
    memset(hosts, 0, sizeof hosts); /* which the threads no longer need */
    pthread_mutex_lock(&lock);
    const int waiting = asked;
    answering = true;
    pthread_cond_broadcast(&changed);
    while (silent > 0)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    assert_true(waiting > 0);
    assert_int_equal(asked, waiting); /* the others were asked no more */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_host_that_is_wanted_is_asked_once),
        cmocka_unit_test(a_name_that_is_none_is_told),
        cmocka_unit_test(a_silent_name_server_is_waited_for_until_the_deadline),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
