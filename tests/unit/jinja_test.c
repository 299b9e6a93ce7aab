/* Chat templates: what jinja2 made of ours (tests/unit/data/make-jinja), and the limits that a
 * template of somebody else's has. */
#include "tests/support/unit.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/jinja/jinja_template.h"
#include "tests/support/jinja_json.h"

enum { CASES_LEAST = 80, OUT_BYTES = 4096 };

static const struct tm july = {
    .tm_mday = 26, .tm_mon = 6, .tm_year = 124, .tm_wday = 5, .tm_yday = 207};

/* Renders into `out`, which is ended by 0. */
static enum status render(char *out, const char *source, size_t bytes, const json_t *json)
{
    struct jinja_template *template;
    struct jinja_arena arena = jinja_template_arena(OUT_BYTES);
    const struct jinja_string *text;
    struct jinja_value variables;
    const char *flat;
    TRY(jinja_template_create(&template, source, bytes));
    enum status status = jinja_json_value(&variables, &arena, json);
    if (status == STATUS_OK)
        status =
            jinja_template_render(template, &text, &arena,
                                  &(struct jinja_template_args){variables.dict, OUT_BYTES, &july});
    if (status == STATUS_OK) {
        assert_int_equal(jinja_string_flat(&arena, &flat, text), STATUS_OK);
        assert_true(text->bytes < OUT_BYTES);
        snprintf(out, OUT_BYTES, "%.*s", (int)text->bytes, flat);
    }
    jinja_arena_deinit(&arena);
    jinja_template_destroy(template);
    return status;
}

static enum status render_text(char *out, const char *source)
{
    json_t *nothing = json_object();
    const enum status status = render(out, source, strlen(source), nothing);
    json_decref(nothing);
    return status;
}

static void templates_are_what_jinja_makes_of_them(void **state)
{
    (void)state;
    json_t *data = json_load_file("tests/unit/data/jinja.json", JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(data);
    size_t row, refused = 0;
    json_t *entry;
    json_array_foreach(json_object_get(data, "cases"), row, entry)
    {
        char out[OUT_BYTES];
        const char *source = json_string_value(json_array_get(entry, 0));
        const char *wanted = json_string_value(json_array_get(entry, 1));
        const enum status status =
            render(out, source, strlen(source), json_object_get(data, "variables"));
        if ((status == STATUS_OK) != (wanted != NULL))
            fail_msg("%s: %s", source, status == STATUS_OK ? out : status_message());
        if (wanted && strcmp(out, wanted) != 0)
            fail_msg("%s\nis\n%s\nnot\n%s", source, out, wanted);
        refused += wanted == NULL;
    }
    assert_true(row >= CASES_LEAST && refused >= 20 && refused < row / 2);
    json_decref(data);
}

static void what_is_not_supported_is_named_with_its_place(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        enum status status;
        const char *words;
    } cases[] = {
        {"{% include 'x' %}", STATUS_UNIMPLEMENTED, "line 1, column 4: the statement include"},
        {"a\n b {{ 1 | wordwrap }}", STATUS_UNIMPLEMENTED,
         "line 2, column 11: the filter wordwrap"},
        {"{{ 1 | from_json }}", STATUS_UNIMPLEMENTED, "the filter from_json"},
        {"{{ 1 is escaped }}", STATUS_UNIMPLEMENTED, "the test escaped"},
        {"{{ ''.zfill(3) }}", STATUS_UNIMPLEMENTED, "the method zfill"},
        {"{{ cycler() }}", STATUS_UNIMPLEMENTED, "the function cycler"},
        {"{{ 'a' % 1 }}", STATUS_UNIMPLEMENTED, "% with a text"},
        {"{{ f(**{}) }}", STATUS_UNIMPLEMENTED, "**"},
        {"{{ x }", STATUS_INVALID_ARGUMENT, "line 1, column 6: a bracket that closes none"},
        {"\n\n  {{ x.y }}", STATUS_INVALID_ARGUMENT, "line 3, column 7: 'x' is undefined"},
        {"{% for x in y %}", STATUS_INVALID_ARGUMENT, "endfor"},
        {"{{ raise_exception('never') }}", STATUS_INVALID_ARGUMENT,
         "the template refuses the conversation: never"},
        {"{{ 9223372036854775807 + 1 }}", STATUS_OUT_OF_RANGE, "64 bits"},
        {"{{ '99999999999999999999' | int }}", STATUS_UNIMPLEMENTED, "64 bits"},
        {"{# x", STATUS_INVALID_ARGUMENT, "comment"},
        {"\xff", STATUS_INVALID_ARGUMENT, "UTF-8"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[OUT_BYTES];
        const enum status status = render_text(out, cases[i].source);
        if (status != cases[i].status || !strstr(status_message(), cases[i].words))
            fail_msg("%s: %s %s", cases[i].source, status_name(status), status_message());
    }
}

/* `text`, `times` times; the caller frees it. */
static char *repeated(const char *before, const char *text, size_t times, const char *behind)
{
    const size_t bytes = strlen(text), first = strlen(before), last = strlen(behind);
    char *made = malloc(first + bytes * times + last + 1);
    assert_non_null(made);
    memcpy(made, before, first);
    for (size_t i = 0; i < times; i++)
        memcpy(made + first + i * bytes, text, bytes);
    memcpy(made + first + bytes * times, behind, last + 1);
    return made;
}

static void what_lies_too_deep_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *before;
        const char *text;
        const char *behind;
    } cases[] = {
        {"{{ ", "(", ""},
        {"{{ ", "[", ""},
        {"{{ ", "not ", "1 }}"},
        {"{{ ", "-", "1 }}"},
        {"{{ 1", " + 1", " }}"},
        {"{{ 1", " | string", " }}"},
        {"{{ x", ".y", " }}"},
        {"{{ x", "()", " }}"},
        {"", "{% if 1 %}", ""},
        {"", "{% for x in y %}", ""},
        {"{{ 1", " if 1 else 1", " }}"},
        {"{{ {", "1:{", " }}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[OUT_BYTES];
        char *source = repeated(cases[i].before, cases[i].text, 5000, cases[i].behind);
        assert_int_equal(render_text(out, source), STATUS_INVALID_ARGUMENT);
        free(source);
    }
    char out[OUT_BYTES];
    assert_int_equal(render_text(out, "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}"),
                     STATUS_OUT_OF_RANGE);
    assert_non_null(strstr(status_message(), "in each other"));
    assert_int_equal(render_text(out, "{{ 'a' | map(*(['map'] * 100000)) }}"), STATUS_OUT_OF_RANGE);
    assert_non_null(strstr(status_message(), "in each other"));
    assert_int_equal(render_text(out, "{% set n = namespace(x=[]) %}{% for i in range(5000) %}"
                                      "{% set n.x = [n.x] %}{% endfor %}{{ n.x }}"),
                     STATUS_OUT_OF_RANGE);
    assert_int_equal(render_text(out, "{% set n = namespace(x=[]) %}{% for i in range(5000) %}"
                                      "{% set n.x = [n.x] %}{% endfor %}{{ n.x == n.x }}"),
                     STATUS_OK);
}

static void what_does_not_end_is_refused(void **state)
{
    (void)state;
    static const struct {
        const char *source;
        const char *words;
    } cases[] = {
        {"{% for a in range(99999) %}{% for b in range(99999) %}{% endfor %}{% endfor %}",
         "memory"},
        {"{% set n = namespace(s='xxxxxxxx') %}{% for a in range(99) %}{% set n.s = n.s ~ n.s %}"
         "{% endfor %}{{ n.s }}",
         "memory"},
        {"{{ range(100001) }}", "100000"},
        {"{{ 'ab' * 99999999999 }}", "than it may take"},
        {"{% set s = 'x' * 99999 %}{% for a in range(99999) %}{% set m = 'y' in s %}{% endfor %}",
         "steps"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[OUT_BYTES];
        const enum status status = render_text(out, cases[i].source);
        if (status != STATUS_OUT_OF_RANGE || !strstr(status_message(), cases[i].words))
            fail_msg("%s: %s %s", cases[i].source, status_name(status), status_message());
    }
}

/* Lists, tuples and texts that hold the one before them several times. */
static void comparing_what_shares_its_parts_ends(void **state)
{
    (void)state;
    static const struct {
        const char *grows;
        const char *compared;
    } cases[] = {
        {"{% set n.a = [n.a, n.a] %}", "{{ n.a == n.a }}"},
        {"{% set n.a = [n.a, n.a] %}", "{{ n.a in [n.a] }}"},
        {"{% set n.a = [n.a, n.a] %}", "{{ [n.a, n.a] | sort }}"},
        {"{% set n.a = {1: n.a, 2: n.a} %}", "{{ n.a != n.a }}"},
        {"{% set n.a = (n.a, n.a) %}", "{{ {}[n.a] }}"},
        {"{% set n.a = (n.a, n.a) %}", "{{ [n.a] | unique | list }}"},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char out[OUT_BYTES], source[256];
        snprintf(source, sizeof source,
                 "{%% set n = namespace(a=1) %%}{%% for i in range(60) %%}%s{%% endfor %%}%s",
                 cases[i].grows, cases[i].compared);
        const enum status status = render_text(out, source);
        if (status != STATUS_OUT_OF_RANGE || !strstr(status_message(), "limit of steps"))
            fail_msg("%s: %s %s", source, status_name(status), status_message());
    }
}

static void long_texts_are_compared_for_steps(void **state)
{
    (void)state;
    static const char *const compared[] = {"{% set x = {a: 1}[b] %}", "{% set x = a < b %}",
                                           "{% set x = b in [a] %}"};
    for (size_t i = 0; i < sizeof compared / sizeof compared[0]; i++) {
        char out[OUT_BYTES], source[256];
        snprintf(source, sizeof source,
                 "{%% set a = ('x' * 99999) ~ 'y' %%}{%% set b = ('x' * 99999) ~ 'z' %%}"
                 "{%% for i in range(4000) %%}%s{%% endfor %%}",
                 compared[i]);
        const enum status status = render_text(out, source);
        if (status != STATUS_OUT_OF_RANGE || !strstr(status_message(), "limit of steps"))
            fail_msg("%s: %s %s", source, status_name(status), status_message());
    }
}

/* Each takes minutes where its work is not counted. */
static void all_work_takes_steps(void **state)
{
    (void)state;
    static const char *const worked[] = {
        "{% set s = 'ab' * 500000 %}{{ s.rfind(s[:500000]) }}",
        "{% set s = 'ab' * 500000 %}{{ s.strip('cd' * 100000 ~ 'ab') }}",
        "{% set s = '\"' * 500000 %}{{ s | tojson }}",
        "{% set s = '\"\\'' * 500000 %}{{ [s] }}",
        "{{ ('{{' * 500000).format() }}",
        "{% set s = 'x' * 500000 %}{% for i in range(99999) %}{% set y = s[0] %}{% endfor %}",
        "{% set s = 'x' * 500000 %}{% for i in range(99999) %}{% set y = s.endswith('x') %}"
        "{% endfor %}",
    };
    for (size_t i = 0; i < sizeof worked / sizeof worked[0]; i++) {
        char out[OUT_BYTES];
        const enum status status = render_text(out, worked[i]);
        if (status != STATUS_OUT_OF_RANGE || !strstr(status_message(), "limit of steps"))
            fail_msg("%s: %s %s", worked[i], status_name(status), status_message());
    }
}

/* "a0=1, a1=1, ..." with `count` names; the caller frees it. */
static char *many_names(const char *before, const char *name, size_t count, const char *behind)
{
    const size_t room = strlen(before) + count * (strlen(name) + 16) + strlen(behind) + 1;
    char *made = malloc(room);
    assert_non_null(made);
    size_t used = (size_t)snprintf(made, room, "%s", before);
    for (size_t i = 0; i < count; i++)
        used += (size_t)snprintf(made + used, room - used, "%s%zu=1,", name, i);
    snprintf(made + used - 1, room - used + 1, "%s", behind);
    return made;
}

static void names_are_few_and_cost_steps(void **state)
{
    (void)state;
    char out[OUT_BYTES];
    char *source = many_names("{{ f(", "a", 5000, ") }}");
    assert_int_equal(render_text(out, source), STATUS_OUT_OF_RANGE);
    assert_non_null(strstr(status_message(), "names"));
    free(source);
    source = many_names("{% macro f(", "a", 3000,
                        ") %}{% endmacro %}{% for i in range(9999) %}{{ f() }}{% endfor %}");
    assert_int_equal(render_text(out, source), STATUS_OUT_OF_RANGE);
    assert_non_null(strstr(status_message(), "limit of steps"));
    free(source);
}

static void a_namespace_has_members_of_any_length(void **state)
{
    (void)state;
    char out[OUT_BYTES];
    char *source =
        repeated("{% set n = namespace() %}{% set n.", "a", 100, " = 2 %}{{ n['a' * 100] }}");
    assert_int_equal(render_text(out, source), STATUS_OK);
    assert_string_equal(out, "2");
    free(source);
    assert_int_equal(render_text(out, "{{ 'a\xC3\xA9' | last }}{{ 'xy' | first }}"
                                      "{{ ('' | last) is undefined }}"),
                     STATUS_OK);
    assert_string_equal(out, "\xC3\xA9xTrue");
}

static void what_writes_too_much_is_refused(void **state)
{
    (void)state;
    char out[OUT_BYTES];
    char *source = repeated("{% for a in range(99999) %}", "long", 5000, "{% endfor %}");
    assert_int_equal(render_text(out, source), STATUS_OUT_OF_RANGE);
    assert_non_null(strstr(status_message(), "writes more than"));
    free(source);
}

static void a_template_has_at_most_so_many_bytes(void **state)
{
    (void)state;
    char out[OUT_BYTES];
    char *source = repeated("", "{#-----------#}", JINJA_TEMPLATE_BYTES_MAX / 15, "");
    assert_int_equal(render_text(out, source), STATUS_OK);
    free(source);
    source = repeated("", "{#-----------#}", JINJA_TEMPLATE_BYTES_MAX / 15 + 1, "");
    assert_int_equal(render_text(out, source), STATUS_OUT_OF_RANGE);
    free(source);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(templates_are_what_jinja_makes_of_them),
        cmocka_unit_test(what_is_not_supported_is_named_with_its_place),
        cmocka_unit_test(what_lies_too_deep_is_refused),
        cmocka_unit_test(what_does_not_end_is_refused),
        cmocka_unit_test(comparing_what_shares_its_parts_ends),
        cmocka_unit_test(long_texts_are_compared_for_steps),
        cmocka_unit_test(all_work_takes_steps),
        cmocka_unit_test(names_are_few_and_cost_steps),
        cmocka_unit_test(a_namespace_has_members_of_any_length),
        cmocka_unit_test(what_writes_too_much_is_refused),
        cmocka_unit_test(a_template_has_at_most_so_many_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
