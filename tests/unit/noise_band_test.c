/* When a change is more than noise: against values of Welch's test worked out apart. */
#include "tests/support/unit.h"

#include <math.h>

#include "coordinator/bench/noise_band.h"

static struct samples_summary of(size_t count, double mean, double deviation)
{
    return (struct samples_summary){.count = count, .mean = mean, .deviation = deviation};
}

/* Five samples of 100 +- 2 and five of 95 +- 3: the mean differs by 5, its error is
 * sqrt(4/5 + 9/5) = 1.6125, with 2.6^2 / (0.8^2/4 + 1.8^2/4) = 6.97 degrees of freedom, so 6. */
static void the_band_is_welchs(void **state)
{
    (void)state;
    const struct samples_summary before = of(5, 100, 2), after = of(5, 95, 3);
    const struct noise_band found = noise_band_of(&before, &after, true);
    assert_true(fabs(found.change + 0.05) < 1e-12);
    assert_true(fabs(found.band - 3.707 * sqrt(2.6) / 100) < 1e-12);
    assert_int_equal(found.verdict, NOISE_SAME);
}

static void beyond_the_band_is_better_or_worse_by_what_is_measured(void **state)
{
    (void)state;
    const struct samples_summary before = of(5, 100, 2), less = of(5, 90, 3), more = of(5, 110, 3);
    assert_int_equal(noise_band_of(&before, &less, true).verdict, NOISE_WORSE);
    assert_int_equal(noise_band_of(&before, &less, false).verdict, NOISE_BETTER);
    assert_int_equal(noise_band_of(&before, &more, true).verdict, NOISE_BETTER);
    assert_int_equal(noise_band_of(&before, &more, false).verdict, NOISE_WORSE);
}

static void few_and_noisy_samples_make_it_wide(void **state)
{
    (void)state;
    const struct samples_summary two = of(2, 100, 2), worse = of(2, 80, 2);
    const struct samples_summary many = of(100, 100, 2), slightly = of(100, 99, 2);
    assert_int_equal(noise_band_of(&two, &worse, true).verdict, NOISE_WORSE);
    assert_true(fabs(noise_band_of(&two, &worse, true).band - 9.925 * 2 / 100) < 1e-12);
    assert_int_equal(noise_band_of(&many, &slightly, true).verdict, NOISE_WORSE);
    const struct samples_summary noisy = of(2, 80, 20);
    assert_int_equal(noise_band_of(&two, &noisy, true).verdict, NOISE_SAME);
}

static void without_deviation_every_change_counts(void **state)
{
    (void)state;
    const struct samples_summary before = of(3, 100, 0), same = of(3, 100, 0), less = of(3, 99, 0);
    assert_int_equal(noise_band_of(&before, &same, true).verdict, NOISE_SAME);
    assert_int_equal(noise_band_of(&before, &less, true).verdict, NOISE_WORSE);
    assert_true(noise_band_of(&before, &less, true).band == 0);
}

static void of_one_sample_nothing_follows(void **state)
{
    (void)state;
    const struct samples_summary one = of(1, 100, 0), three = of(3, 10, 1);
    assert_int_equal(noise_band_of(&one, &three, true).verdict, NOISE_UNKNOWN);
    assert_int_equal(noise_band_of(&three, &one, true).verdict, NOISE_UNKNOWN);
    assert_true(isnan(noise_band_of(&three, &one, true).band));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_band_is_welchs),
        cmocka_unit_test(beyond_the_band_is_better_or_worse_by_what_is_measured),
        cmocka_unit_test(few_and_noisy_samples_make_it_wide),
        cmocka_unit_test(without_deviation_every_change_counts),
        cmocka_unit_test(of_one_sample_nothing_follows),
    };
    return cmocka_run_group_tests_name("noise_band", tests, NULL, NULL);
}
