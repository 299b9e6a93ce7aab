/* A command's own options beside the settings that it takes. */
#include "tests/support/unit.h"

#include <stdlib.h>
#include <unistd.h>

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

/* A file that programs share: the table is opened by those who take it, and where no option says
 * another method. */
static void a_table_in_a_shared_file_is_opened_by_who_takes_it(void **state)
{
    (void)state;
    static const char text[] = "engine:\n  method: table:file=/nowhere/longhaul.yaml\n";
    static const struct {
        unsigned takers;
        const char *option;
        int exit_code;
    } rows[] = {{CONFIG_WORKER, NULL, FLAGS_GO_ON},
                {CONFIG_MODEL_ONLY, NULL, FLAGS_GO_ON},
                {CONFIG_RUN, "--method=string:shift=8,local=2", FLAGS_GO_ON},
                {CONFIG_RUN, NULL, FLAGS_EXIT_CONFIG},
                {CONFIG_RUN, "--method=table:file=/nowhere/else.yaml", FLAGS_EXIT_USAGE}};
    char path[] = "/tmp/longhaul-flags-XXXXXX";
    const int file = mkstemp(path);
    assert_true(file >= 0);
    assert_int_equal(write(file, text, strlen(text)), (ssize_t)strlen(text));
    close(file);
    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        char *argv[] = {(char *)"test", (char *)"--config", path, (char *)rows[r].option, NULL};
        struct config *config = NULL;
        assert_int_equal(config_create(&config), STATUS_OK);
        const struct flags_command command = {.program = "longhaul test",
                                              .example = "",
                                              .summary = "",
                                              .takers = rows[r].takers,
                                              .config = config};
        assert_int_equal(flags_parse(&command, rows[r].option ? 4 : 3, argv, NULL),
                         rows[r].exit_code);
        if (rows[r].exit_code == FLAGS_EXIT_CONFIG)
            assert_non_null(strstr(status_message(), ":2: engine.method: open the table /nowhere"));
        if (rows[r].exit_code == FLAGS_EXIT_USAGE)
            assert_non_null(strstr(status_message(), "--method: open the table /nowhere/else"));
        config_destroy(config);
    }
    unlink(path);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_option_of_its_own_takes_the_place_of_a_setting),
        cmocka_unit_test(a_table_in_a_shared_file_is_opened_by_who_takes_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
