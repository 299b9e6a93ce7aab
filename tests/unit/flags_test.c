/* A command's own options beside the settings that it takes. */
#include "tests/support/unit.h"

#include "proto/flags.h"

static int parse(struct config *config, const char **method, const char **transport, int argc,
                 char **argv)
{
    const struct flags_row rows[] = {
        {.name = "method", .type = FLAGS_TEXT, .target = method, .value = "M", .help = "several"},
        {.name = "speed", .type = FLAGS_TEXT, .target = transport, .value = "S", .help = "of it"},
    };
    const struct flags_command command = {
        .program = "longhaul test",
        .example = "",
        .summary = "",
        .rows = rows,
        .rows_count = 2,
        .takers = CONFIG_RUN,
        .config = config,
    };
    return flags_parse(&command, argc, argv, NULL);
}

/* A beginning alone is refused where two options have it. */
static void an_option_of_its_own_takes_the_place_of_a_setting(void **state)
{
    (void)state;
    char *argv[] = {(char *)"test",
                    (char *)"--metho",
                    (char *)"rope,no method at all",
                    (char *)"--workers",
                    (char *)"3",
                    (char *)"--speed=x",
                    NULL};
    const char *method = NULL, *speed = NULL;
    struct config *config = NULL;
    assert_int_equal(config_create(&config), STATUS_OK);
    assert_int_equal(parse(config, &method, &speed, 6, argv), FLAGS_GO_ON);
    assert_string_equal(method, "rope,no method at all");
    assert_string_equal(speed, "x");
    assert_int_equal(config_origin(config, "engine.method", NULL), CONFIG_DEFAULT);
    assert_int_equal(config_integer(config, "engine.workers"), 3);
    config_destroy(config);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_option_of_its_own_takes_the_place_of_a_setting),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
