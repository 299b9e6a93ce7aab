/* Which lines are set aside because groups were lost with them: by hand, and in a simulation of two
 * groups whose ranks die of random faults, of poisonous lines, or of both. */
#include <stdlib.h>
#include <string.h>

#include "coordinator/batch/line_outcome.h"
#include "coordinator/batch/loss_record.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

static bool charge(struct loss_record *record, int64_t line, int64_t losses, bool in_company,
                   double seconds)
{
    static uint64_t group;
    const struct loss_charge charged = {.batch = 1,
                                        .line = line,
                                        .group = ++group,
                                        .seconds = seconds,
                                        .losses = losses,
                                        .in_company = in_company};
    return loss_record_charge(record, &charged);
}

static struct loss_record *make_record(void)
{
    struct loss_record *record = NULL;
    assert_int_equal(loss_record_create(&record), STATUS_OK);
    return record;
}

static void where_groups_live_long_two_losses_are_enough(void **state)
{
    (void)state;
    struct loss_record *record = make_record();
    assert_false(charge(record, 1, 0, false, 2));
    assert_true(charge(record, 1, 1, false, 2));
    loss_record_destroy(record);
    record = make_record();
    assert_false(charge(record, 2, 0, true, 2)); /* with others: whose fault is not known */
    assert_false(charge(record, 2, 1, true, 2)); /* it alone was in both, yet not alone */
    assert_false(charge(record, 2, 2, false, 2));
    assert_true(charge(record, 2, 3, false, 2));
    loss_record_destroy(record);
}

static void what_was_charged_to_a_line_goes_with_it(void **state)
{
    (void)state;
    struct loss_record *record = make_record();
    assert_false(charge(record, 3, 0, false, 2));
    loss_record_forget(record, 1, 3);
    assert_false(charge(record, 3, 0, false, 2));
    assert_true(charge(record, 3, 1, false, 2));
    loss_record_destroy(record);
}

static void a_line_rests_while_a_group_is_watched(void **state)
{
    (void)state;
    struct loss_record *record = make_record();
    const uint64_t group = 1000;
    loss_record_look(record, &group, 1, 0);
    assert_false(loss_record_rests(record, 1, 1));
    assert_false(charge(record, 1, 0, false, 0.1));
    loss_record_look(record, &group, 0, 1); /* nothing serves from now on: nothing is seen */
    loss_record_look(record, &group, 1, 100);
    assert_true(loss_record_rests(record, 1, 1));
    assert_false(loss_record_rests(record, 1, 2));
    loss_record_look(record, &group, 1, 5);
    assert_false(loss_record_rests(record, 1, 1));
    loss_record_destroy(record);
}

static void the_longer_a_line_runs_the_less_a_loss_says(void **state)
{
    (void)state;
    struct loss_record *record = make_record();
    int losses = 0;
    while (!charge(record, 1, losses, false, 3600)) /* of the day that a group lives */
        losses++;
    assert_in_range(losses, 3, 6);
    loss_record_destroy(record);
}

static void where_groups_die_all_the_time_a_loss_says_little(void **state)
{
    (void)state;
    struct loss_record *record = make_record();
    for (uint64_t group = 1000; group < 1100; group++)
        loss_record_look(record, &group, 1, 1);
    int losses = 0;
    while (!charge(record, 1, losses, false, 0.2))
        losses++;
    assert_in_range(losses, 4, 10);
    loss_record_destroy(record);
}

/* ---- a simulation ---- */

enum { GROUPS = 2, PLACES = 8, LINES = 1000, SEEDS = 200 };
enum { TICK_MS = 10, DOWN_MS = 300, LOOK_TICKS = 10 };

struct sim_line {
    int64_t losses;
    bool poison, running, over, aside;
    int group, begun, lasts; /* ms */
};

struct sim {
    struct sim_line lines[LINES];
    struct loss_record *record;
    struct random random;
    int now, back[GROUPS]; /* ms at which a group serves again */
    uint64_t life[GROUPS];
    struct line_company company;
    int held[GROUPS]; /* places */
    int kills, over, innocent_aside, poison_aside, poison_losses;
};

/* A line begins (1) or ends (-1). */
static void count(struct sim *sim, struct sim_line *line, int by)
{
    line->running = by > 0;
    sim->company.running += by;
    sim->company.suspects += line->losses > 0 ? by : 0;
    sim->company.loner = by > 0 && line_outcome_is_loner(line->losses);
    sim->held[line->group] += by;
}

static void lose(struct sim *sim, int group)
{
    const bool in_company = sim->company.running > 1;
    for (int i = 0; i < LINES; i++) {
        struct sim_line *line = &sim->lines[i];
        if (!line->running || line->group != group)
            continue;
        const struct loss_charge charged = {
            .batch = 1,
            .line = i + 1,
            .group = sim->life[group],
            .seconds = (sim->now - line->begun) / 1e3,
            .losses = line->losses,
            .in_company = in_company,
        };
        count(sim, line, -1);
        line->aside = line->over = loss_record_charge(sim->record, &charged);
        line->losses++;
        sim->over += line->over;
        sim->innocent_aside += line->aside && !line->poison;
        sim->poison_aside += line->aside && line->poison;
        sim->poison_losses += line->poison;
    }
    sim->life[group] += GROUPS;
    sim->back[group] = sim->now + DOWN_MS;
    sim->kills++;
}

static void begin_lines(struct sim *sim)
{
    for (int i = 0; i < LINES; i++) {
        struct sim_line *line = &sim->lines[i];
        int group = 0;
        while (group < GROUPS && (sim->back[group] > sim->now || sim->held[group] == PLACES))
            group++;
        if (group == GROUPS)
            return;
        if (line->running || line->over || loss_record_rests(sim->record, 1, i + 1))
            continue;
        if (!line_outcome_may_begin(line->losses, &sim->company)) {
            if (line_outcome_is_loner(line->losses)) /* it is next, and waits until nothing runs */
                return;
            continue;
        }
        line->group = group;
        count(sim, line, 1);
        line->begun = sim->now;
        line->lasts = (int)random_between(&sim->random, 60, 240);
    }
}

static void step(struct sim *sim, double kills_a_second)
{
    for (int g = 0; g < GROUPS; g++)
        if (sim->back[g] <= sim->now &&
            random_between(&sim->random, 0, 1000000) < (int64_t)(1e3 * TICK_MS * kills_a_second))
            lose(sim, g);
    for (int i = 0; i < LINES; i++) {
        struct sim_line *line = &sim->lines[i];
        if (!line->running || sim->now < line->begun + line->lasts / (1 + line->poison))
            continue;
        if (line->poison) {
            lose(sim, line->group);
        } else {
            count(sim, line, -1);
            line->over = true;
            sim->over++;
            loss_record_forget(sim->record, 1, i + 1);
        }
    }
    begin_lines(sim);
    sim->now += TICK_MS;
    uint64_t serving[GROUPS];
    int groups = 0;
    for (int g = 0; g < GROUPS; g++)
        if (sim->back[g] <= sim->now)
            serving[groups++] = sim->life[g];
    if (sim->now / TICK_MS % LOOK_TICKS == 0)
        loss_record_look(sim->record, serving, groups, TICK_MS * LOOK_TICKS / 1e3);
}

static struct sim *simulate(uint64_t seed, double kills_a_second, int poison)
{
    struct sim *sim = calloc(1, sizeof *sim);
    assert_non_null(sim);
    sim->random = (struct random){seed};
    sim->record = make_record();
    for (int g = 0; g < GROUPS; g++)
        sim->life[g] = (uint64_t)g + 1;
    for (int i = 0; i < poison; i++)
        sim->lines[(LINES - 1) * (i + 1) / (poison + 1)].poison = true;
    while (sim->over < LINES) {
        step(sim, kills_a_second);
        assert_true(sim->now < 2000000);
    }
    loss_record_destroy(sim->record);
    return sim;
}

static void random_kills_set_no_innocent_line_aside(void **state)
{
    (void)state;
    int kills = 0, aside = 0;
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        struct sim *sim = simulate(seed, 1, 0);
        kills += sim->kills;
        aside += sim->innocent_aside;
        free(sim);
    }
    print_message("%d lines, %d random kills: %d set aside\n", SEEDS * LINES, kills, aside);
    assert_true(kills > 5000);
    assert_int_equal(aside, 0);
}

static void a_poisonous_line_is_set_aside_after_four_losses(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim *sim = simulate(seed, 0, 1);
        assert_int_equal(sim->poison_aside, 1);
        assert_in_range(sim->poison_losses, 2, 4);
        assert_int_equal(sim->innocent_aside, 0);
        free(sim);
    }
}

static void poisonous_lines_are_told_apart_among_random_kills(void **state)
{
    (void)state;
    int losses = 0, innocent = 0;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        struct sim *sim = simulate(seed, 0.5, 5);
        assert_int_equal(sim->poison_aside, 5);
        losses += sim->poison_losses;
        innocent += sim->innocent_aside;
        free(sim);
    }
    print_message("100 poisonous lines among kills: %d losses\n", losses);
    assert_true(losses < 12 * 100);
    assert_int_equal(innocent, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(where_groups_live_long_two_losses_are_enough),
        cmocka_unit_test(what_was_charged_to_a_line_goes_with_it),
        cmocka_unit_test(a_line_rests_while_a_group_is_watched),
        cmocka_unit_test(the_longer_a_line_runs_the_less_a_loss_says),
        cmocka_unit_test(where_groups_die_all_the_time_a_loss_says_little),
        cmocka_unit_test(random_kills_set_no_innocent_line_aside),
        cmocka_unit_test(a_poisonous_line_is_set_aside_after_four_losses),
        cmocka_unit_test(poisonous_lines_are_told_apart_among_random_kills),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
