/* The log line: what a value can do to it, and what happens when standard error takes nothing. */
#include "tests/support/unit.h"

#include <fcntl.h>
#include <jansson.h>
#include <math.h>
#include <poll.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "proto/clock.h"
#include "proto/log.h"
#include "proto/log_output.h"

enum { TEXT_BYTES = 1 << 20, DEADLINE_MS = 10000, FLOOD_LINES = 6000 };

/* Standard error, turned into a pipe. */
static int reading_end, kept_stderr;
static char text[TEXT_BYTES];

static int redirect(void **state)
{
    (void)state;
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0)
        return -1;
    kept_stderr = dup(STDERR_FILENO);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    reading_end = ends[0];
    log_configure(LOG_INFO, -1);
    log_write_as(LOG_LOGFMT);
    log_request(NULL);
    log_batch(NULL);
    return 0;
}

static int restore(void **state)
{
    (void)state;
    dup2(kept_stderr, STDERR_FILENO);
    close(kept_stderr);
    close(reading_end);
    return 0;
}

/* Reads until `end` has been read, which must be within DEADLINE_MS. */
static const char *read_until(const char *end)
{
    size_t used = 0;
    int64_t deadline_ns = clock_after_ms(DEADLINE_MS);
    text[0] = 0;
    while (!strstr(text, end)) {
        struct pollfd input = {.fd = reading_end, .events = POLLIN};
        assert_true(clock_now_ns() < deadline_ns);
        if (poll(&input, 1, 100) <= 0)
            continue;
        ssize_t got = read(reading_end, text + used, TEXT_BYTES - 1 - used);
        assert_true(got > 0);
        used += (size_t)got;
        text[used] = 0;
        assert_true(used < TEXT_BYTES - 1);
    }
    return text;
}

/* The line of one event, from its first field on. */
static const char *line_of(const char *value)
{
    log_line(LOG_INFO, "probe", log_text("value", value), log_integer("last", 7));
    const char *line = read_until("last=7\n");
    assert_int_equal(line[strlen(line) - 1], '\n');
    assert_ptr_equal(strchr(line, '\n'), line + strlen(line) - 1);
    const char *event = strstr(line, "info event=probe ");
    assert_non_null(event);
    return event + strlen("info event=probe ");
}

static void a_plain_value_stands_as_it_is(void **state)
{
    (void)state;
    assert_string_equal(line_of("ipv4:127.0.0.1:40312"), "value=ipv4:127.0.0.1:40312 last=7\n");
    assert_string_equal(line_of(NULL), "value=\"\" last=7\n");
}

static void no_value_forges_a_field_or_a_line(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"a b", "\"a b\""},
        {"a=b", "\"a=b\""},
        {"x\" level=error cause=\"y", "\"x\\\" level=error cause=\\\"y\""},
        {"ends in \\", "\"ends in \\\\\""},
        {"one\n2026-01-01T00:00:00.000Z error event=forged\n",
         "\"one.2026-01-01T00:00:00.000Z error event=forged.\""},
        {"\033[2Jcleared\r\a", ".[2Jcleared.."},
        {"C1 \xC2\x9B"
         "2J and no UTF-8 \xFF\xC3",
         "\"C1 ..2J and no UTF-8 ..\""},
        {"reversed \xE2\x80\xAE!", "\"reversed ...!\""},
        {"gr\xC3\xBC\xC3\x9F", "\"gr\xC3\xBC\xC3\x9F\""},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char wanted[256];
        snprintf(wanted, sizeof wanted, "value=%s last=7\n", cases[i][1]);
        assert_string_equal(line_of(cases[i][0]), wanted);
    }
}

static void stamps_and_numbers_are_fields_too(void **state)
{
    (void)state;
    log_configure(LOG_INFO, 3);
    log_request("a b\"\n");
    log_line(LOG_WARN, "two words", log_real("seconds", 1.23456, 2), log_integer("n", -5),
             log_real("huge", 1e300, 1), log_text("end", "x"));
    const char *line = read_until("end=x\n");
    assert_non_null(strstr(line, "Z warn event=\"two words\" rank=3 request=\"a b\\\".\" "
                                 "seconds=1.23 n=-5 huge=1e+300 end=x\n"));
}

/* The line's object; the caller lets go of it. */
static json_t *object_of(const char *line)
{
    json_error_t error;
    json_t *object = json_loads(line, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(object))
        fail_msg("%s: %s", error.text, line);
    return object;
}

static void a_line_may_be_an_object_that_no_value_breaks(void **state)
{
    (void)state;
    static const char *const cases[][2] = {
        {"plain", "plain"},
        {"a \"b\" \\ c", "a \"b\" \\ c"},
        {"two\nlines\t\x01", "two.lines.."},
        {"no UTF-8 \xFF\xC3", "no UTF-8 .."},
        {"gr\xC3\xBC\xC3\x9F", "gr\xC3\xBC\xC3\x9F"},
    };
    log_write_as(LOG_JSON);
    log_configure(LOG_INFO, 3);
    log_request("a\"b");
    log_batch("batches/x");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char end[32];
        snprintf(end, sizeof end, "\"last\":%zu}\n", i);
        log_line(LOG_WARN, "two words", log_text("value", cases[i][0]), log_real("s", 1.236, 2),
                 log_real("none", NAN, 1), log_integer("last", (int64_t)i));
        json_t *object = object_of(read_until(end));
        assert_string_equal(json_string_value(json_object_get(object, "value")), cases[i][1]);
        assert_string_equal(json_string_value(json_object_get(object, "event")), "two words");
        assert_string_equal(json_string_value(json_object_get(object, "level")), "warn");
        assert_string_equal(json_string_value(json_object_get(object, "request")), "a\"b");
        assert_string_equal(json_string_value(json_object_get(object, "batch")), "batches/x");
        assert_int_equal(json_integer_value(json_object_get(object, "rank")), 3);
        assert_true(json_real_value(json_object_get(object, "s")) == 1.24);
        assert_true(json_is_null(json_object_get(object, "none")));
        assert_int_equal(strlen(json_string_value(json_object_get(object, "time"))), 24);
        json_decref(object);
    }
}

static void in_json_a_long_line_and_one_of_no_event_are_objects_too(void **state)
{
    (void)state;
    static char quotes[5000];
    struct log_field fields[8];
    log_write_as(LOG_JSON);
    memset(quotes, '"', sizeof quotes - 1);
    for (int i = 0; i < 8; i++)
        fields[i] = log_text((const char *[]){"a", "b", "c", "d", "e", "f", "g", "h"}[i], quotes);
    log_fields(LOG_INFO, "long", fields, 8);
    json_decref(object_of(read_until("}\n")));
    assert_int_equal(fail(STATUS_IO, "a \"reason\""), STATUS_IO);
    log_failure("program");
    json_t *failure = object_of(read_until("}\n"));
    assert_string_equal(json_string_value(json_object_get(failure, "cause")),
                        "program: a \"reason\"");
    json_decref(failure);
    log_relay("mpirun says {", 13);
    json_t *said = object_of(read_until("}\n"));
    assert_string_equal(json_string_value(json_object_get(said, "text")), "mpirun says {");
    json_decref(said);
    log_relay("{\"event\":\"a worker's\"}", 22);
    assert_string_equal(read_until("}\n"), "{\"event\":\"a worker's\"}\n");
    log_relay("", 0);
    json_decref(object_of(read_until("}\n")));
}

static void a_long_value_is_cut_and_later_fields_stay(void **state)
{
    (void)state;
    static char quotes[5000];
    memset(quotes, '"', sizeof quotes - 1);
    const char *line = line_of(quotes);
    assert_true(strlen(line) > 2 * 1024 && strlen(line) < LOG_OUTPUT_LINE_BYTES);
    assert_non_null(strstr(line, "\\\"...\" last=7\n"));
    log_line(LOG_INFO, "probe", log_text("a", quotes), log_text("b", quotes),
             log_text("last", "end"));
    line = read_until("last=end\n");
    assert_null(strstr(line, " b=")); /* no part of a field for which there was no room */
}

static void a_failure_is_told_behind_the_lines_before_it(void **state)
{
    (void)state;
    log_line(LOG_INFO, "before", log_integer("n", 1));
    assert_int_equal(fail(STATUS_IO, "open %s: no", "x\033[2J\ny"), STATUS_IO);
    log_failure("longhaul-probe");
    const char *line = read_until("longhaul-probe: open x.[2J.y: no\n");
    assert_true(strstr(line, "event=before") < strstr(line, "longhaul-probe: "));
}

static void a_relayed_line_stays_one_line_that_steers_nothing(void **state)
{
    (void)state;
    static char endless[2 * LOG_OUTPUT_LINE_BYTES];
    memset(endless, 'x', sizeof endless);
    log_relay("rank 1: \033[1mbold\n\x80", 18);
    log_relay(endless, sizeof endless);
    log_relay("end", 3);
    const char *line = read_until("\nend\n");
    assert_memory_equal(line, "rank 1: .[1mbold..\n", 19);
    assert_int_equal(strlen(line), 19 + LOG_OUTPUT_LINE_BYTES + 4);
}

/* ---- a reader that stops ---- */

/* Logs lines n=0, n=1 ...; all calls together must take no time. */
static void flood(int lines)
{
    int64_t begin_ns = clock_now_ns();
    for (int n = 0; n < lines; n++)
        log_line(LOG_INFO, "flood", log_integer("n", n));
    assert_true(clock_seconds_since(begin_ns) < 2);
}

static void a_reader_that_stops_costs_lines_and_no_time(void **state)
{
    (void)state;
    flood(FLOOD_LINES);
    int64_t begin_ns = clock_now_ns();
    log_output_flush(50);
    assert_true(clock_seconds_since(begin_ns) < 2);
    /* From here on it reads. */
    const char *from = read_until("log lines dropped");
    int kept = 0;
    for (int n = 0;; n++, kept++) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "event=flood n=%d\n", n);
        const char *found = strstr(from, wanted);
        if (!found)
            break;
        from = found + strlen(wanted);
    }
    assert_true(kept > 500 && kept < FLOOD_LINES);
    assert_null(strstr(from, "event=flood"));
    const char *notice = strstr(from, "warn event=\"log lines dropped\" count=");
    assert_non_null(notice);
    assert_int_equal(strtol(notice + strlen("warn event=\"log lines dropped\" count="), NULL, 10),
                     FLOOD_LINES - kept);
    assert_string_equal(line_of("again"), "value=again last=7\n");
}

static void a_reader_that_has_gone_is_no_signal(void **state)
{
    (void)state;
    int ends[2];
    close(reading_end);
    flood(3);
    log_output_flush(DEADLINE_MS);
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    reading_end = ends[0];
    log_line(LOG_INFO, "lost", log_integer("n", 1));
    assert_non_null(strstr(read_until("count=4"), "log lines dropped"));
    assert_string_equal(line_of("again"), "value=again last=7\n");
}

static bool is_child;

/* Registered first, so that it is the last: a leak checker behind it would itself write to the
 * standard error that takes nothing. */
static void end_child(void)
{
    if (is_child)
        _exit(0);
}

/* A child logs and ends; its exit code, and how long it took. */
static int child_ends(void (*log_something)(void), double *seconds)
{
    int64_t begin_ns = clock_now_ns();
    pid_t child = fork();
    if (child == 0) {
        is_child = true;
        log_something();
        exit(1); /* end_child makes it 0 */
    }
    int how = 0;
    assert_int_equal(waitpid(child, &how, 0), child);
    *seconds = clock_seconds_since(begin_ns);
    return WIFEXITED(how) ? WEXITSTATUS(how) : -1;
}

static void log_two_lines(void)
{
    log_line(LOG_INFO, "first", log_integer("n", 1));
    log_line(LOG_INFO, "last words", log_integer("n", 2));
}

static void log_a_flood(void)
{
    flood(FLOOD_LINES);
}

static void what_was_logged_is_out_before_the_process_ends(void **state)
{
    (void)state;
    double seconds = 0;
    log_two_lines(); /* the parent's thread is there: a child has to get its own */
    read_until("last words");
    for (int n = 0; n < 50; n++) {
        assert_int_equal(child_ends(log_two_lines, &seconds), 0);
        read_until("event=\"last words\" n=2\n");
    }
}

static void a_reader_that_stops_does_not_keep_a_process(void **state)
{
    (void)state;
    double seconds = 0;
    assert_int_equal(child_ends(log_a_flood, &seconds), 0);
    assert_true(seconds >= LOG_OUTPUT_END_MS / 1000.0);
    assert_true(seconds < 5);
}

static void a_level_above_the_threshold_is_not_logged(void **state)
{
    (void)state;
    log_configure(LOG_WARN, -1);
    log_line(LOG_INFO, "quiet", log_integer("n", 1));
    log_line(LOG_WARN, "loud", log_integer("n", 2));
    assert_null(strstr(read_until("n=2\n"), "quiet"));
    enum log_level level = LOG_INFO;
    assert_int_equal(log_level_parse(&level, "loud"), STATUS_INVALID_ARGUMENT);
    assert_int_equal(log_level_parse(&level, "debug"), STATUS_OK);
    enum log_format format;
    assert_int_equal(log_format_parse(&format, "xml"), STATUS_INVALID_ARGUMENT);
    assert_int_equal(log_format_parse(&format, "json"), STATUS_OK);
    assert_int_equal(format, LOG_JSON);
    assert_int_equal(level, LOG_DEBUG);
}

#define PIPED(test) cmocka_unit_test_setup_teardown(test, redirect, restore)

int main(void)
{
    const struct CMUnitTest tests[] = {
        PIPED(a_plain_value_stands_as_it_is),
        PIPED(no_value_forges_a_field_or_a_line),
        PIPED(a_line_may_be_an_object_that_no_value_breaks),
        PIPED(in_json_a_long_line_and_one_of_no_event_are_objects_too),
        PIPED(stamps_and_numbers_are_fields_too),
        PIPED(a_long_value_is_cut_and_later_fields_stay),
        PIPED(a_failure_is_told_behind_the_lines_before_it),
        PIPED(a_relayed_line_stays_one_line_that_steers_nothing),
        PIPED(a_reader_that_stops_costs_lines_and_no_time),
        PIPED(a_reader_that_has_gone_is_no_signal),
        PIPED(what_was_logged_is_out_before_the_process_ends),
        PIPED(a_reader_that_stops_does_not_keep_a_process),
        PIPED(a_level_above_the_threshold_is_not_logged),
    };
    atexit(end_child);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
