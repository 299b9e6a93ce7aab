/* Settings: where a value comes from, and what a configuration file may not hold. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "proto/config.h"
#include "proto/nearest.h"

static struct config *config_of(void)
{
    struct config *config = NULL;
    assert_int_equal(config_create(&config), STATUS_OK);
    return config;
}

static enum status read_text(struct config *config, const char *text)
{
    return config_read_bytes(config, "c.yaml", text, strlen(text));
}

static size_t row_of(const char *flag)
{
    for (size_t i = 0; i < config_rows_count(); i++)
        if (config_row_at(i)->flag && strcmp(config_row_at(i)->flag, flag) == 0)
            return i;
    assert_string_equal("a flag of the table", flag);
    return 0;
}

static void a_file_overrides_the_default(void **state)
{
    (void)state;
    struct config *config = config_of();
    const char *where = NULL;
    assert_int_equal(config_integer(config, "engine.workers"), 1);
    assert_int_equal(config_origin(config, "engine.workers", &where), CONFIG_DEFAULT);
    assert_int_equal(read_text(config, "engine:\n  threads: 2\n  workers: 3\n"), STATUS_OK);
    assert_int_equal(config_integer(config, "engine.workers"), 3);
    assert_int_equal(config_origin(config, "engine.workers", &where), CONFIG_FILE);
    assert_string_equal(where, "c.yaml:3");
    config_destroy(config);
}

static void a_flag_wins_over_a_file_read_later(void **state)
{
    (void)state;
    struct config *config = config_of();
    const char *where = NULL;
    assert_int_equal(config_set_flag(config, row_of("workers"), "4"), STATUS_OK);
    assert_int_equal(read_text(config, "engine: {workers: 3, threads: 5}\n"), STATUS_OK);
    assert_int_equal(config_integer(config, "engine.workers"), 4);
    assert_int_equal(config_integer(config, "engine.threads"), 5);
    config_origin(config, "engine.workers", &where);
    assert_string_equal(where, "--workers");
    config_destroy(config);
}

static void a_wrong_flag_names_itself_and_changes_nothing(void **state)
{
    (void)state;
    struct config *config = config_of();
    assert_int_equal(config_set_flag(config, row_of("workers"), "0"), STATUS_INVALID_ARGUMENT);
    assert_string_equal(status_message(), "--workers: 0 is outside 1 to 1024");
    assert_int_equal(config_set_flag(config, row_of("workers"), "99999999999999999999"),
                     STATUS_INVALID_ARGUMENT);
    assert_int_equal(config_set_flag(config, row_of("workers"), " 2"), STATUS_INVALID_ARGUMENT);
    assert_int_equal(config_set_flag(config, row_of("workers"), "2x"), STATUS_INVALID_ARGUMENT);
    assert_int_equal(config_set_flag(config, row_of("transport"), "pigeon"),
                     STATUS_INVALID_ARGUMENT);
    assert_string_equal(status_message(),
                        "--transport: \"pigeon\" is none of auto|mpi|loopback|nccl");
    assert_int_equal(config_set_flag(config, row_of("heartbeat"), "nan"), STATUS_INVALID_ARGUMENT);
    assert_int_equal(config_integer(config, "engine.workers"), 1);
    assert_string_equal(config_text(config, "engine.transport"), "auto");
    config_destroy(config);
}

/* Reads `text` and expects exactly this one problem. */
static void expect_problem(const char *text, const char *problem)
{
    struct config *config = config_of();
    assert_int_equal(read_text(config, text), STATUS_INVALID_ARGUMENT);
    assert_int_equal(config_problems_count(config), 1);
    assert_string_equal(config_problem(config, 0), problem);
    assert_string_equal(status_message(), problem);
    config_destroy(config);
}

static void an_unknown_key_is_answered_with_the_nearest(void **state)
{
    (void)state;
    expect_problem("engine:\n  wrokers: 2\n",
                   "c.yaml:2:3: unknown key \"engine.wrokers\"; did you mean \"engine.workers\"?");
    expect_problem("model:\n  workers: 2\n",
                   "c.yaml:2:3: unknown key \"model.workers\"; did you mean \"engine.workers\"?");
    expect_problem("engin:\n  workers: 2\n",
                   "c.yaml:1:1: unknown section \"engin\"; did you mean \"engine\"?");
    expect_problem("workers: 2\n",
                   "c.yaml:1:1: unknown key \"workers\"; did you mean \"engine.workers\"?");
    expect_problem(
        "engine:\n  \"wro\\ekers\\n\": 2\n",
        "c.yaml:2:3: unknown key \"engine.wro.kers.\"; `longhaul config show` lists all");
    expect_problem("engine:\n  zzzzzzzz: 2\n", "c.yaml:2:3: unknown key \"engine.zzzzzzzz\"; "
                                               "`longhaul config show` lists all");
}

static void wrong_types_and_ranges_are_told_with_their_place(void **state)
{
    (void)state;
    expect_problem("engine:\n  workers: two\n",
                   "c.yaml:2:12: engine.workers: \"two\" is not a whole number from 1 to 1024");
    expect_problem("engine:\n  workers: 0\n",
                   "c.yaml:2:12: engine.workers: 0 is outside 1 to 1024");
    expect_problem("engine:\n  workers: \"2\"\n",
                   "c.yaml:2:12: engine.workers: expects a number, not a quoted text");
    expect_problem("engine:\n  workers:\n",
                   "c.yaml:2:11: engine.workers: \"\" is not a whole number from 1 to 1024");
    expect_problem("engine:\n  workers: [2]\n",
                   "c.yaml:2:12: engine.workers: takes one value, not a list");
    expect_problem("engine:\n  workers: {a: 2}\n",
                   "c.yaml:2:3: engine.workers: takes one value, not a section");
    expect_problem("coordinator:\n  launch: yes\n",
                   "c.yaml:2:11: coordinator.launch: \"yes\" is neither true nor false");
    expect_problem("engine: 2\n", "c.yaml:1:9: \"engine\" is a section; write its settings below "
                                  "it, indented");
}

static void duplicates_are_errors(void **state)
{
    (void)state;
    expect_problem("engine:\n  workers: 2\n  workers: 2\n",
                   "c.yaml:3:3: engine.workers: is there twice, first on line 2");
    expect_problem("engine:\n  workers: 2\nlog:\n  level: info\nengine:\n  threads: 2\n",
                   "c.yaml:5:1: the section \"engine\" is there twice; join the two");
}

static void all_problems_are_reported_in_order(void **state)
{
    (void)state;
    struct config *config = config_of();
    const char *text = "engine:\n  workers: x\n  thread: 3\n  context: [1, [2, {a: b}]]\n"
                       "nowhere: {a: {b: [c]}}\nlog:\n  level: loud\n";
    assert_int_equal(read_text(config, text), STATUS_INVALID_ARGUMENT);
    assert_int_equal(config_problems_count(config), 5);
    assert_non_null(strstr(config_problem(config, 0), "c.yaml:2:12:"));
    assert_non_null(strstr(config_problem(config, 1), "did you mean \"engine.threads\""));
    assert_non_null(strstr(config_problem(config, 2), "c.yaml:4:12:"));
    assert_non_null(strstr(config_problem(config, 3), "c.yaml:5:1: unknown section \"nowhere\""));
    assert_non_null(strstr(config_problem(config, 4), "c.yaml:7:10: log.level: \"loud\""));
    assert_non_null(strstr(status_message(), "(and 4 more)"));
    config_destroy(config);
}

static void anchors_aliases_tags_and_second_documents_are_refused(void **state)
{
    (void)state;
    const char *plain = "anchors, aliases and tags are not supported; write the value out";
    char problem[128];
    snprintf(problem, sizeof problem, "c.yaml:1:9: %s", plain);
    expect_problem("engine: &a {workers: 2}\n", problem);
    expect_problem("engine: !x {workers: 2}\n", problem);
    expect_problem("engine: *a\n", problem);
    expect_problem("engine:\n  workers: 2\n---\nlog:\n  level: info\n",
                   "c.yaml:3:1: a second document begins; a configuration is one");
    expect_problem("- a\n", "c.yaml:1:1: the file must hold sections such as \"engine:\"");
}

static void broken_yaml_is_told_with_its_place(void **state)
{
    (void)state;
    struct config *config = config_of();
    assert_int_equal(read_text(config, "engine:\n  workers: 2\n bad\n"), STATUS_INVALID_ARGUMENT);
    assert_int_equal(config_problems_count(config), 1);
    assert_ptr_equal(strstr(config_problem(config, 0), "c.yaml:3:2: not YAML: "),
                     config_problem(config, 0));
    config_destroy(config);
}

static void depth_and_size_are_limited(void **state)
{
    (void)state;
    enum { MANY = 200000, OVER = (1 << 20) + 1 };
    char *text = malloc(OVER);
    assert_non_null(text);
    struct config *config = config_of();
    memset(text, '[', MANY);
    memcpy(text, "a: ", 3);
    assert_int_equal(config_read_bytes(config, "deep", text, MANY), STATUS_INVALID_ARGUMENT);
    assert_int_equal(config_problems_count(config), 2);
    assert_non_null(strstr(config_problem(config, 1), "nested deeper than 32"));
    memset(text, ' ', OVER);
    assert_int_equal(config_read_bytes(config, "large", text, OVER), STATUS_INVALID_ARGUMENT);
    assert_non_null(strstr(status_message(), "larger than 1 MiB"));
    free(text);
    config_destroy(config);
}

static void more_problems_than_are_kept_are_counted(void **state)
{
    (void)state;
    enum { LINES = 1000 };
    const size_t room = LINES * 16;
    char *text = malloc(room);
    size_t used = 0;
    for (int i = 0; i < LINES; i++)
        used += (size_t)snprintf(text + used, room - used, "zzz%d: 1\n", i);
    struct config *config = config_of();
    assert_int_equal(config_read_bytes(config, "c", text, used), STATUS_INVALID_ARGUMENT);
    assert_true(config_problems_count(config) < LINES);
    assert_non_null(strstr(status_message(), "(and 999 more)"));
    free(text);
    config_destroy(config);
}

static void an_empty_file_and_an_empty_section_are_fine(void **state)
{
    (void)state;
    struct config *config = config_of();
    assert_int_equal(read_text(config, ""), STATUS_OK);
    assert_int_equal(read_text(config, "# nothing\n---\n"), STATUS_OK);
    assert_int_equal(read_text(config, "engine:\nlog:\n"), STATUS_OK);
    config_destroy(config);
}

static void a_missing_file_is_not_found(void **state)
{
    (void)state;
    struct config *config = config_of();
    assert_int_equal(config_read_file(config, "/nonexistent/c.yaml"), STATUS_NOT_FOUND);
    config_destroy(config);
}

static void the_shipped_example_is_right(void **state)
{
    (void)state;
    struct config *config = config_of();
    assert_int_equal(config_read_file(config, "deploy/cluster.example.yaml"), STATUS_OK);
    config_destroy(config);
}

static void settings_are_handed_on_as_flags(void **state)
{
    (void)state;
    struct config *config = config_of();
    char *arguments[8];
    assert_int_equal(read_text(config, "engine: {workers: 3}\nmodel: {path: -m}\n"), STATUS_OK);
    assert_int_equal(config_set_flag(config, row_of("launch"), "true"), STATUS_OK);
    assert_int_equal(config_arguments(config, CONFIG_COORDINATOR, arguments, 8), 3);
    assert_string_equal(arguments[0], "--model=-m");
    assert_string_equal(arguments[1], "--workers=3");
    assert_string_equal(arguments[2], "--launch");
    for (int i = 0; i < 3; i++)
        free(arguments[i]);
    config_destroy(config);
}

static void every_row_has_what_help_and_files_need(void **state)
{
    (void)state;
    for (size_t i = 0; i < config_rows_count(); i++) {
        const struct config_row *row = config_row_at(i);
        assert_non_null(strchr(row->key, '.'));
        assert_true(row->help && row->help[0] && row->standard);
        assert_int_equal(row->value == NULL, row->type == CONFIG_SWITCH);
        assert_int_equal(row->choices != NULL, row->type == CONFIG_CHOICE);
        for (size_t j = 0; j < i; j++) {
            assert_string_not_equal(config_row_at(j)->key, row->key);
            if (row->flag && config_row_at(j)->flag)
                assert_string_not_equal(config_row_at(j)->flag, row->flag);
        }
    }
}

static void the_nearest_name_is_near(void **state)
{
    (void)state;
    const char *const names[] = {"run", "score", "tokenize", "plan"};
    assert_int_equal(nearest_distance("kitten", "sitting"), 3);
    assert_int_equal(nearest_distance("ab", "ba"), 1);
    assert_string_equal(nearest_name("tokenise", names, 4), "tokenize");
    assert_string_equal(nearest_name("paln", names, 4), "plan");
    assert_null(nearest_name("xyzzy", names, 4));
    /* Two letters of three are another word. */
    assert_null(nearest_name("rag", names, 4));
    assert_null(nearest_name("pl", (const char *const[]){"run", "ps"}, 2));
    assert_null(nearest_name("scrub", names, 4));
    assert_string_equal(nearest_name("ruin", names, 4), "run");
    assert_string_equal(nearest_name("RUN", names, 4), "run");
    /* A beginning, where it begins one name only. */
    assert_string_equal(nearest_name("tok", names, 4), "tokenize");
    assert_null(nearest_name("max", (const char *const[]){"max-tokens", "max-age"}, 2));
    /* Beyond what is compared nothing is near, equal beginnings or not. */
    const char *const long_names[] = {
        "a-name-of-more-than-sixty-three-letters-that-no-setting-will-ever-have"};
    assert_null(nearest_name(
        "a-name-of-more-than-sixty-three-letters-that-no-setting-will-ever-end", long_names, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_file_overrides_the_default),
        cmocka_unit_test(a_flag_wins_over_a_file_read_later),
        cmocka_unit_test(a_wrong_flag_names_itself_and_changes_nothing),
        cmocka_unit_test(an_unknown_key_is_answered_with_the_nearest),
        cmocka_unit_test(wrong_types_and_ranges_are_told_with_their_place),
        cmocka_unit_test(duplicates_are_errors),
        cmocka_unit_test(all_problems_are_reported_in_order),
        cmocka_unit_test(anchors_aliases_tags_and_second_documents_are_refused),
        cmocka_unit_test(broken_yaml_is_told_with_its_place),
        cmocka_unit_test(depth_and_size_are_limited),
        cmocka_unit_test(more_problems_than_are_kept_are_counted),
        cmocka_unit_test(an_empty_file_and_an_empty_section_are_fine),
        cmocka_unit_test(a_missing_file_is_not_found),
        cmocka_unit_test(the_shipped_example_is_right),
        cmocka_unit_test(settings_are_handed_on_as_flags),
        cmocka_unit_test(every_row_has_what_help_and_files_need),
        cmocka_unit_test(the_nearest_name_is_near),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
