/* Who is next, by a clock that the tests turn. */
#include "tests/support/unit.h"

#include <inttypes.h>
#include <stdio.h>

#include "coordinator/fair_order.h"
#include "tests/support/random.h"

#define SECOND_NS INT64_C(1000000000)

enum { TICKETS = 64, NEVER = -1 };

static struct fair_order *fair;
static struct fair_ticket tickets[TICKETS];
static int ticket_count;
static int64_t now_ns;

static int start_anew(void **state)
{
    (void)state;
    ticket_count = 0;
    now_ns = SECOND_NS;
    return fair_order_create(&fair, TICKETS) == STATUS_OK ? 0 : -1;
}

static int end(void **state)
{
    (void)state;
    fair_order_destroy(fair);
    return 0;
}

static struct access_tenant tenant_of(const char *name, int weight)
{
    struct access_tenant tenant = {.weight = weight};
    snprintf(tenant.name, sizeof tenant.name, "%s", name);
    return tenant;
}

static enum fair_answer ask(const struct access_tenant *tenant, int64_t tokens, int priority,
                            int64_t deadline_ns)
{
    enum fair_answer answer = FAIR_ENTERED;
    const struct fair_request request = {tenant, priority, tokens, deadline_ns};
    assert_true(ticket_count < TICKETS);
    now_ns++;
    assert_int_equal(fair_order_enter(fair, &tickets[ticket_count], &answer, &request, now_ns),
                     STATUS_OK);
    return answer;
}

/* The number of the ticket. */
static int enter(const char *name, int weight, int64_t tokens)
{
    const struct access_tenant tenant = tenant_of(name, weight);
    assert_int_equal(ask(&tenant, tokens, 0, INT64_MAX), FAIR_ENTERED);
    return ticket_count++;
}

/* The ticket whose turn it is; NEVER where it is nobody's. */
static int next(void)
{
    int found = NEVER;
    for (int i = 0; i < ticket_count; i++) {
        if (!tickets[i].tenant || tickets[i].started ||
            !fair_order_may_try(fair, &tickets[i], now_ns))
            continue;
        if (tickets[i].blocked) /* it looked already */
            continue;
        assert_int_equal(found, NEVER); /* one at a time */
        found = i;
    }
    return found;
}

static int start_next(void)
{
    const int ticket = next();
    if (ticket != NEVER)
        fair_order_start(fair, &tickets[ticket], now_ns);
    return ticket;
}

static void leave(int ticket, int64_t used)
{
    fair_order_leave(fair, &tickets[ticket], used, now_ns);
    tickets[ticket].tenant = NULL;
}

/* Runs something alone, at so many tokens a second. */
static void show_pace(int64_t tokens, int64_t seconds)
{
    const int ticket = enter("pace", 1, tokens);
    assert_int_equal(start_next(), ticket);
    now_ns += seconds * SECOND_NS;
    leave(ticket, tokens);
    now_ns += 60 * SECOND_NS; /* nobody expects it back */
}

static void one_tenants_requests_begin_as_they_came(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++)
        assert_int_equal(enter("", 1, 100 - i), i);
    for (int i = 0; i < 5; i++) {
        assert_int_equal(fair_order_ahead(fair, &tickets[4]), 4);
        assert_int_equal(start_next(), i);
    }
    assert_int_equal(fair_order_waiting(fair), 0);
    assert_int_equal(fair_order_running(fair), 5);
}

static void tenants_share_by_tokens(void **state)
{
    (void)state;
    int64_t had[2] = {0};
    for (int i = 0; i < 32; i++) /* many short ones of one, a few long ones of the other */
        enter("short", 1, 100);
    for (int i = 0; i < 4; i++)
        enter("long", 1, 800);
    for (int i = 0; i < 30; i++) {
        const int ticket = start_next();
        had[ticket >= 32] += tickets[ticket].tokens;
        if (fair_order_waiting(fair) > 2 && had[1] < 4 * 800)
            assert_true(had[1] - had[0] <= 800 && had[0] - had[1] <= 800);
    }
    assert_int_equal(had[1], 3200);
}

static void shares_follow_weights(void **state)
{
    (void)state;
    int begun[2] = {0};
    for (int i = 0; i < 24; i++)
        enter("heavy", 3, 100);
    for (int i = 0; i < 16; i++)
        enter("light", 1, 100);
    for (int i = 0; i < 20; i++)
        begun[start_next() >= 24]++;
    assert_int_equal(begun[0], 15);
    assert_int_equal(begun[1], 5);
}

static void who_comes_back_has_nothing_saved_up(void **state)
{
    (void)state;
    const int first = enter("idle", 1, 10);
    assert_int_equal(start_next(), first);
    leave(first, 10);
    for (int i = 0; i < 10; i++)
        enter("busy", 1, 1000);
    for (int i = 0; i < 5; i++)
        start_next();
    for (int i = 0; i < 10; i++)
        enter("idle", 1, 1000);
    int idle = 0;
    for (int i = 0; i < 6; i++)
        idle += start_next() > 10;
    assert_int_equal(idle, 3);
}

static void what_was_not_used_is_given_back(void **state)
{
    (void)state;
    const int a = enter("a", 1, 1000);
    assert_int_equal(start_next(), a);
    leave(a, 10);
    const int b = enter("b", 1, 500);
    assert_int_equal(start_next(), b);
    leave(b, 500);
    const int more_b = enter("b", 1, 100), more_a = enter("a", 1, 100);
    assert_int_equal(start_next(), more_a); /* 10 of a beside 500 of b */
    assert_int_equal(start_next(), more_b);
}

static void priorities_count_within_a_tenant_alone(void **state)
{
    (void)state;
    const struct access_tenant a = tenant_of("a", 1), b = tenant_of("b", 1);
    for (int i = 0; i < 3; i++, ticket_count++)
        assert_int_equal(ask(&a, 100, i == 2 ? 100 : -i, INT64_MAX), FAIR_ENTERED);
    assert_int_equal(ask(&b, 100, -100, INT64_MAX), FAIR_ENTERED);
    ticket_count++;
    int seen[4];
    for (int i = 0; i < 4; i++)
        seen[i] = start_next();
    assert_int_equal(seen[0], 2); /* a's highest */
    assert_int_equal(seen[1], 3); /* b's turn, whatever its priority */
    assert_int_equal(seen[2], 0);
    assert_int_equal(seen[3], 1);
}

static void a_short_one_passes_a_long_one_for_as_long_as_that_takes(void **state)
{
    (void)state;
    show_pace(10000, 10); /* 1000 a second */
    const int first = ticket_count;
    const int long_one = enter("", 1, 20000);
    now_ns += 5 * SECOND_NS;
    const int soon = enter("", 1, 1000);
    now_ns += 16 * SECOND_NS;
    const int late = enter("", 1, 1000);
    assert_int_equal(first, long_one);
    assert_int_equal(start_next(), soon);
    assert_int_equal(start_next(), long_one);
    assert_int_equal(start_next(), late);
}

static void who_waits_for_memory_is_passed_by_as_much_as_it_asks_for(void **state)
{
    (void)state;
    const int large = enter("", 1, 1000);
    for (int i = 0; i < 6; i++)
        enter("", 1, 300);
    assert_int_equal(next(), large);
    fair_order_block(fair, &tickets[large]);
    for (int i = 1; i <= 3; i++)
        assert_int_equal(start_next(), large + i);
    assert_int_equal(next(), NEVER); /* 900 have passed: 300 more are too many */
    assert_true(fair_order_may_try(fair, &tickets[large], now_ns));
    leave(1, 300);
    assert_int_equal(next(), large); /* it may look again, first */
    fair_order_block(fair, &tickets[large]);
    assert_int_equal(next(), NEVER);
    fair_order_unblock(fair);
    assert_int_equal(start_next(), large);
    assert_int_equal(start_next(), large + 4);
}

static void nobody_waits_for_who_makes_room_for_itself(void **state)
{
    (void)state;
    const int large = enter("", 1, 1000);
    for (int i = 0; i < 6; i++)
        enter("", 1, 300);
    fair_order_block(fair, &tickets[large]);
    fair_order_step_aside(fair, &tickets[large], true);
    for (int i = 1; i <= 4; i++) {
        fair_order_unblock(fair); /* a worker that comes or goes ends none of it */
        assert_true(fair_order_may_try(fair, &tickets[large + i], now_ns));
        fair_order_start(fair, &tickets[large + i], now_ns);
    }
    fair_order_step_aside(fair, &tickets[large], false);
    assert_false(fair_order_may_try(fair, &tickets[large + 5], now_ns));
    assert_int_equal(next(), large);
    fair_order_block(fair, &tickets[large]);
    assert_int_equal(next(), NEVER); /* 1200 have passed it */
    fair_order_unblock(fair);
    assert_int_equal(start_next(), large);
}

static void the_last_place_is_kept_for_those_that_have_less(void **state)
{
    (void)state;
    fair_order_set_places(fair, 4);
    const int normal = enter("normal", 1, 10);
    assert_int_equal(start_next(), normal);
    for (int i = 0; i < 8; i++)
        enter("greedy", 1, 100);
    assert_int_equal(start_next(), 1);
    assert_int_equal(start_next(), 2);
    assert_int_equal(next(), NEVER); /* a place is free, and greedy has its share of four */
    leave(normal, 10);
    assert_int_equal(next(), 3); /* two are free now */
    assert_int_equal(start_next(), 3);
    assert_int_equal(next(), NEVER);
    const int again = enter("normal", 1, 10);
    assert_int_equal(start_next(), again);
    leave(again, 10);
    now_ns += 11 * SECOND_NS; /* normal is not expected any more */
    assert_int_equal(start_next(), 4);
}

static void a_tenant_alone_has_all_places(void **state)
{
    (void)state;
    fair_order_set_places(fair, 3);
    for (int i = 0; i < 3; i++) {
        enter("only", 1, 100);
        assert_int_equal(start_next(), i);
    }
}

static void quotas_hold(void **state)
{
    (void)state;
    struct access_tenant tenant = tenant_of("small", 1);
    tenant.quotas =
        (struct access_quotas){.queued_requests = 3, .queued_tokens = 1000, .running_requests = 1};
    assert_int_equal(ask(&tenant, 1001, 0, INT64_MAX), FAIR_TOKENS_QUOTA);
    assert_int_equal(fair_order_retry_ms(fair, FAIR_TOKENS_QUOTA, &tenant), 0); /* never */
    for (int i = 0; i < 2; i++, ticket_count++)
        assert_int_equal(ask(&tenant, 400, 0, INT64_MAX), FAIR_ENTERED);
    assert_int_equal(ask(&tenant, 201, 0, INT64_MAX), FAIR_TOKENS_QUOTA);
    assert_true(fair_order_retry_ms(fair, FAIR_TOKENS_QUOTA, &tenant) > 0);
    assert_int_equal(ask(&tenant, 200, 0, INT64_MAX), FAIR_ENTERED);
    ticket_count++;
    assert_int_equal(fair_order_check(fair, &tenant), FAIR_REQUESTS_QUOTA);
    assert_int_equal(ask(&tenant, 1, 0, INT64_MAX), FAIR_REQUESTS_QUOTA);
    const int other = enter("other", 1, 5000); /* nobody else is concerned */
    assert_int_equal(start_next(), 0);
    assert_int_equal(start_next(), other); /* one of small's runs, so the next waits */
    assert_int_equal(next(), NEVER);
    leave(0, 400);
    assert_int_equal(start_next(), 1);
}

static void one_tenant_leaves_room_for_the_next(void **state)
{
    (void)state;
    struct access_tenant greedy = tenant_of("greedy", 1), normal = tenant_of("normal", 1),
                         nameless = tenant_of("", 1);
    int entered = 0;
    while (fair_order_check(fair, &greedy) == FAIR_ENTERED) {
        assert_int_equal(ask(&greedy, 10, 0, INT64_MAX), FAIR_ENTERED);
        ticket_count++;
        entered++;
    }
    assert_int_equal(entered, TICKETS / 2);
    assert_int_equal(ask(&greedy, 10, 0, INT64_MAX), FAIR_QUEUE_FULL);
    assert_int_equal(ask(&normal, 10, 0, INT64_MAX), FAIR_ENTERED);
    ticket_count++;
    while (ticket_count < TICKETS) {
        assert_int_equal(ask(&nameless, 10, 0, INT64_MAX), FAIR_ENTERED);
        ticket_count++;
    }
    assert_int_equal(fair_order_check(fair, &normal), FAIR_QUEUE_FULL);
}

static void the_time_to_ask_again_follows_the_pace(void **state)
{
    (void)state;
    const struct access_tenant tenant = tenant_of("", 1);
    assert_int_equal(fair_order_retry_ms(fair, FAIR_QUEUE_FULL, &tenant), 2000); /* not known */
    show_pace(1000, 2);                                                          /* 500 a second */
    for (int i = 0; i < 4; i++)
        enter("", 1, 1000);
    assert_int_equal(fair_order_retry_ms(fair, FAIR_QUEUE_FULL, &tenant), 4000);
    const struct access_tenant other = tenant_of("other", 1);
    enter("other", 1, 1000);
    assert_int_equal(fair_order_retry_ms(fair, FAIR_REQUESTS_QUOTA, &other), 2000);
}

static void a_deadline_that_cannot_be_met_is_refused(void **state)
{
    (void)state;
    const struct access_tenant tenant = tenant_of("", 1);
    enter("", 1, 10000);
    assert_int_equal(ask(&tenant, 10, 0, now_ns + 1), FAIR_ENTERED); /* no pace is known */
    leave(ticket_count, 0);
    leave(0, 0);
    show_pace(2000, 1);
    enter("", 1, 10000); /* 5 s */
    assert_int_equal(start_next(), ticket_count - 1);
    enter("", 1, 2000);
    /* One runs, for nobody knows how long; the other takes a second at least. */
    assert_int_equal(ask(&tenant, 1900, 0, now_ns + SECOND_NS / 2), FAIR_ENTERED);
    leave(ticket_count, 0);
    assert_int_equal(ask(&tenant, 4000, 0, now_ns + SECOND_NS / 2), FAIR_TOO_LATE);
    assert_int_equal(fair_order_waiting(fair), 1);
    assert_int_equal(ask(&tenant, 4000, 0, now_ns + 2 * SECOND_NS), FAIR_ENTERED);
}

/* Whatever comes and goes, everybody begins in the end, and nobody is kept out without a reason. */
static void nobody_starves(void **state)
{
    (void)state;
    static const char *const names[] = {"a", "b", "c"};
    end(NULL); /* each seed has one of its own */
    for (uint64_t seed = 1; seed <= 300; seed++) {
        struct random random = {seed};
        int came = 0, running[TICKETS], running_count = 0;
        assert_int_equal(start_anew(NULL), 0);
        fair_order_set_places(fair, 3);
        for (int step = 0; step < 20000 && (came < TICKETS || fair_order_waiting(fair) > 0);
             step++) {
            now_ns += random_between(&random, 0, SECOND_NS);
            if (came < TICKETS && random_between(&random, 0, 2)) {
                const struct access_tenant tenant = tenant_of(
                    names[random_between(&random, 0, 3)], 1 + (int)(random_between(&random, 0, 3)));
                const int64_t tokens = 1 + random_between(&random, 0, 10000);
                if (ask(&tenant, tokens, (int)(random_between(&random, 0, 3)) - 1, INT64_MAX) ==
                    FAIR_ENTERED)
                    came = ++ticket_count;
            }
            const int ticket = running_count < 3 ? next() : NEVER;
            if (ticket != NEVER && random_between(&random, 0, 4) == 0)
                fair_order_block(fair, &tickets[ticket]);
            else if (ticket != NEVER) {
                fair_order_start(fair, &tickets[ticket], now_ns);
                running[running_count++] = ticket;
            }
            if (running_count == 0 && fair_order_waiting(fair) > 0 && ticket == NEVER)
                fair_order_unblock(fair);
            if (running_count > 0 && random_between(&random, 0, 3) == 0) {
                const int gone = (int)(random_between(&random, 0, running_count));
                leave(running[gone], random_between(&random, 0, 10000));
                running[gone] = running[--running_count];
            }
        }
        if (fair_order_waiting(fair) != 0)
            fail_msg("seed %" PRIu64 ": %" PRId64 " still wait", seed, fair_order_waiting(fair));
        end(NULL);
    }
    assert_int_equal(start_anew(NULL), 0);
}

#define TEST(function) cmocka_unit_test_setup_teardown(function, start_anew, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(one_tenants_requests_begin_as_they_came),
        TEST(tenants_share_by_tokens),
        TEST(shares_follow_weights),
        TEST(who_comes_back_has_nothing_saved_up),
        TEST(what_was_not_used_is_given_back),
        TEST(priorities_count_within_a_tenant_alone),
        TEST(a_short_one_passes_a_long_one_for_as_long_as_that_takes),
        TEST(who_waits_for_memory_is_passed_by_as_much_as_it_asks_for),
        TEST(nobody_waits_for_who_makes_room_for_itself),
        TEST(the_last_place_is_kept_for_those_that_have_less),
        TEST(a_tenant_alone_has_all_places),
        TEST(quotas_hold),
        TEST(one_tenant_leaves_room_for_the_next),
        TEST(the_time_to_ask_again_follows_the_pace),
        TEST(a_deadline_that_cannot_be_met_is_refused),
        TEST(nobody_starves),
    };
    return cmocka_run_group_tests_name("fair order", tests, NULL, NULL);
}
