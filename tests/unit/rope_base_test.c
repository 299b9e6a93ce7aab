/* The base for a longer window against the figures of LongRecipe's table (methods 3.4: 48.9M,
 * 131.5M, 13.5M) and against numbers worked out apart. */
#include "tests/support/unit.h"

#include <math.h>

#include "proto/model/rope_base.h"

struct figure {
    double base;
    int64_t trained;
    double factor;
    int64_t tokens;
    double millions; /* as published, to three decimals */
};

static void bases_are_those_of_the_published_models(void **state)
{
    (void)state;
    static const struct figure figures[] = {
        {5e5, 8192, 10, 81920, 48.877},   /* Llama-3 to 80k */
        {5e5, 8192, 16, 131072, 131.461}, /* Llama-3 to 128k */
        {1e6, 32768, 4, 131072, 13.540},  /* Qwen2 to 128k, used for 80k too */
    };
    for (size_t i = 0; i < sizeof figures / sizeof figures[0]; i++) {
        const struct figure *f = &figures[i];
        const double base = rope_base_stretched(f->base, 128, f->trained, f->factor, f->tokens);
        assert_true(fabs(base / 1e6 - f->millions) < 0.0005);
        assert_true((double)(float)base == base);
    }
}

/* (10 * 10 - 9)^(128 / 126) and the like have closed forms at other head dimensions: d = 4 squares
 * the stretch. */
static void the_formula_is_exact_where_it_is_a_power(void **state)
{
    (void)state;
    assert_true(rope_base_stretched(10000, 4, 256, 4, 1024) == 10000.0 * 13 * 13);
    assert_true(rope_base_stretched(10000, 64, 256, 7, 256) == 10000); /* no longer: no change */
    assert_true(rope_base_stretched(10000, 64, 256, 1, 256) == 10000);
    assert_true(rope_base_stretched(10000, 4, 1000, 1, 1500) == 10000 * 2.25);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bases_are_those_of_the_published_models),
        cmocka_unit_test(the_formula_is_exact_where_it_is_a_power),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
