/* The pure parts of batches: how lines are cut, what follows from how one ended, which names there
 * are, and which texts were seen. */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>

#include "coordinator/batch/create_call.h"
#include "coordinator/batch/line_outcome.h"
#include "coordinator/batch/line_splitter.h"
#include "coordinator/batch/resource_name.h"
#include "coordinator/batch/text_set.h"
#include "tests/support/random.h"
#include "tests/support/unit.h"

/* ---- lines ---- */

enum { LINES_MAX = 64, LINE_BYTES_MAX = 40 };

struct seen {
    char texts[LINES_MAX][LINE_BYTES_MAX + 2];
    int64_t offsets[LINES_MAX], bytes[LINES_MAX];
    int count;
};

static enum status note_line(void *context, const struct split_line *line)
{
    struct seen *seen = context;
    assert_true(seen->count < LINES_MAX);
    assert_int_equal(line->number, seen->count + 1);
    assert_int_equal(line->text[line->bytes], 0);
    memcpy(seen->texts[seen->count], line->text, line->bytes + 1);
    seen->offsets[seen->count] = line->offset;
    seen->bytes[seen->count++] = line->stream_bytes;
    return STATUS_OK;
}

static void split(struct seen *seen, const char *text, size_t bytes, struct random *random)
{
    struct line_splitter splitter;
    *seen = (struct seen){.count = 0};
    line_splitter_init(&splitter, LINE_BYTES_MAX, 0, 0);
    for (size_t at = 0; at < bytes;) {
        const size_t part = (size_t)random_between(random, 1, (int64_t)(bytes - at) + 1);
        assert_int_equal(line_splitter_feed(&splitter, text + at, part, note_line, seen),
                         STATUS_OK);
        at += part;
    }
    assert_int_equal(line_splitter_end(&splitter, note_line, seen), STATUS_OK);
    line_splitter_deinit(&splitter);
}

static void lines_are_the_same_however_they_come(void **state)
{
    (void)state;
    static const char text[] = "first\n\nsecond\r\n\r\nthird \n\n\nlast";
    struct random random = {3};
    for (int round = 0; round < 500; round++) {
        struct seen seen;
        split(&seen, text, sizeof text - 1, &random);
        assert_int_equal(seen.count, 4);
        const char *const wanted[] = {"first", "second", "third ", "last"};
        for (int i = 0; i < seen.count; i++) {
            assert_string_equal(seen.texts[i], wanted[i]);
            assert_memory_equal(text + seen.offsets[i], wanted[i], strlen(wanted[i]));
        }
    }
}

static void a_line_that_is_too_long_is_cut_and_said_to_be(void **state)
{
    (void)state;
    char text[200];
    struct random random = {5};
    memset(text, 'x', sizeof text);
    text[150] = '\n';
    for (int round = 0; round < 100; round++) {
        struct seen seen;
        split(&seen, text, sizeof text, &random);
        assert_int_equal(seen.count, 2);
        assert_int_equal(strlen(seen.texts[0]), LINE_BYTES_MAX + 1);
        assert_int_equal(seen.bytes[0], 150);
        assert_int_equal(seen.offsets[1], 151);
    }
}

static enum status refuse(void *context, const struct split_line *line)
{
    (void)context;
    return line->number == 2 ? fail(STATUS_OUT_OF_RANGE, "two") : STATUS_OK;
}

static void a_failure_of_the_taker_ends_the_splitting(void **state)
{
    (void)state;
    struct line_splitter splitter;
    line_splitter_init(&splitter, LINE_BYTES_MAX, 0, 0);
    assert_int_equal(line_splitter_feed(&splitter, "a\nb\nc\n", 6, refuse, NULL),
                     STATUS_OUT_OF_RANGE);
    assert_int_equal(splitter.number, 2);
    line_splitter_deinit(&splitter);
}

/* ---- ends ---- */

static const struct line_end fine = {.status = STATUS_OK, .attempt = 1, .cause = ""};

static struct line_decision decide(struct line_end end)
{
    struct line_decision decision;
    line_outcome_decide(&decision, &end);
    return decision;
}

static void expect_again(struct line_end end, enum store_give_back how)
{
    const struct line_decision decision = decide(end);
    assert_int_equal(decision.outcome, LINE_OUTCOME_AGAIN);
    assert_int_equal(decision.how, how);
}

static void expect_commit(struct line_end end, enum line_outcome outcome,
                          enum store_line_state state)
{
    const struct line_decision decision = decide(end);
    assert_int_equal(decision.outcome, outcome);
    assert_int_equal(decision.state, state);
}

static void what_was_not_tried_waits_again(void **state)
{
    (void)state;
    struct line_end end = fine;
    expect_commit(end, LINE_OUTCOME_ANSWER, STORE_LINE_COMPLETED);
    end.cut_off = true;
    expect_again(end, STORE_GIVE_BACK_UNTRIED);
    end = fine;
    end.status = STATUS_CANCELLED;
    end.ending = true;
    expect_again(end, STORE_GIVE_BACK_UNTRIED);
    static const char *const reasons[] = {"DRAINING", "NO_WORKERS", "QUEUE_FULL", "QUOTA_EXCEEDED"};
    for (size_t i = 0; i < sizeof reasons / sizeof reasons[0]; i++) {
        end = fine;
        end.status = i < 2 ? STATUS_UNAVAILABLE : STATUS_RESOURCE_EXHAUSTED;
        end.reason = reasons[i];
        end.attempt = 100;
        end.losses = 5;
        end.guilty = true;
        expect_again(end, STORE_GIVE_BACK_UNTRIED);
    }
}

static void what_its_batch_ended_is_unanswered(void **state)
{
    (void)state;
    struct line_end end = fine;
    end.status = STATUS_CANCELLED;
    end.stopped = STORE_LINE_CANCELLED;
    expect_commit(end, LINE_OUTCOME_UNANSWERED, STORE_LINE_CANCELLED);
    end.ending = true;
    expect_commit(end, LINE_OUTCOME_UNANSWERED, STORE_LINE_CANCELLED);
    end = fine;
    end.status = STATUS_DEADLINE_EXCEEDED;
    expect_commit(end, LINE_OUTCOME_FAILURE, STORE_LINE_FAILED);
    end.expired = true;
    expect_commit(end, LINE_OUTCOME_UNANSWERED, STORE_LINE_EXPIRED);
    end = fine;
    end.stopped = STORE_LINE_CANCELLED; /* it was done before it heard */
    expect_commit(end, LINE_OUTCOME_ANSWER, STORE_LINE_COMPLETED);
}

static void failures_are_tried_three_times_unless_they_are_the_lines_own(void **state)
{
    (void)state;
    struct line_end end = fine;
    end.status = STATUS_INTERNAL;
    for (end.attempt = 1; end.attempt < LINE_OUTCOME_ATTEMPTS; end.attempt++)
        expect_again(end, STORE_GIVE_BACK_FAILED);
    expect_commit(end, LINE_OUTCOME_FAILURE, STORE_LINE_FAILED);
    end.losses = 1; /* which is no attempt of its own */
    expect_again(end, STORE_GIVE_BACK_FAILED);
    end = fine;
    end.status = STATUS_OUT_OF_RANGE;
    expect_commit(end, LINE_OUTCOME_FAILURE, STORE_LINE_FAILED);
    end.status = STATUS_INTERNAL;
    end.reason = "NON_FINITE_LOGITS";
    assert_string_equal(decide(end).cause, "NON_FINITE_LOGITS");
    expect_again(end, STORE_GIVE_BACK_FAILED);
    end.attempt = 2;
    end.cause = "NON_FINITE_LOGITS";
    expect_commit(end, LINE_OUTCOME_FAILURE, STORE_LINE_FAILED);
}

static void a_line_that_chance_does_not_explain_is_set_aside(void **state)
{
    (void)state;
    struct line_end end = fine;
    end.status = STATUS_UNAVAILABLE;
    end.reason = "WORKERS_LOST";
    for (end.losses = 0; end.losses < 4; end.losses++)
        expect_again(end, STORE_GIVE_BACK_LOST); /* however many they are */
    end.guilty = true;
    expect_commit(end, LINE_OUTCOME_FAILURE, STORE_LINE_FAILED);
    assert_true(decide(end).poison);
}

static void the_more_it_lost_the_fewer_run_beside_a_line(void **state)
{
    (void)state;
    const struct line_company none = {.running = 0}, clean = {.running = 5},
                              suspect = {.running = 5, .suspects = 1},
                              loner = {.running = 1, .suspects = 1, .loner = true};
    const struct line_company *const companies[] = {&none, &clean, &suspect, &loner};
    static const bool may[3][4] = {
        {true, true, true, false}, {true, true, false, false}, {true, false, false, false}};
    for (int64_t losses = 0; losses < 3; losses++)
        for (int i = 0; i < 4; i++)
            assert_int_equal(line_outcome_may_begin(losses, companies[i]), may[losses][i]);
}

/* ---- names ---- */

static void names_have_their_collection_and_an_id(void **state)
{
    (void)state;
    const char *id = NULL;
    char name[RESOURCE_NAME_BYTES];
    assert_int_equal(resource_name_id(&id, "batches/my-batch_1", "batches"), STATUS_OK);
    assert_string_equal(id, "my-batch_1");
    static const char *const wrong[] = {"",
                                        "batches",
                                        "batches/",
                                        "batch/a",
                                        "batches/a/b",
                                        "batches/a b",
                                        "batches/\xC3\xA4",
                                        "documents/a"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(resource_name_id(&id, wrong[i], "batches"), STATUS_INVALID_ARGUMENT);
    resource_name_write(name, "batches", "abc");
    assert_string_equal(name, "batches/abc");
    static const char *const chosen[] = {"", "abcd", "a-1b", "a123456789"};
    for (size_t i = 0; i < sizeof chosen / sizeof chosen[0]; i++)
        assert_int_equal(resource_name_check_chosen(chosen[i]), STATUS_OK);
    static const char *const bad[] = {"abc", "1abc", "Abcd", "abc-", "ab_cd", "-abc"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_int_equal(resource_name_check_chosen(bad[i]), STATUS_INVALID_ARGUMENT);
}

/* ---- texts ---- */

static void a_set_knows_what_was_added(void **state)
{
    (void)state;
    struct text_set set = {.count = 0};
    bool added = false;
    char text[32];
    assert_false(text_set_has(&set, "a"));
    for (int n = 0; n < 5000; n++) {
        snprintf(text, sizeof text, "custom-%d", n);
        assert_int_equal(text_set_add(&set, &added, text), STATUS_OK);
        assert_true(added);
        assert_int_equal(text_set_add(&set, &added, text), STATUS_OK);
        assert_false(added);
    }
    assert_int_equal(set.count, 5000);
    for (int n = 0; n < 6000; n++) {
        snprintf(text, sizeof text, "custom-%d", n);
        assert_int_equal(text_set_has(&set, text), n < 5000);
    }
    text_set_deinit(&set);
}

/* ---- requests ---- */

/* Escapes may spell the word; whoever writes other letters so is taken for one that is long. */
static void a_creation_that_may_name_a_document_is_not_brief(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        bool is_brief;
    } cases[] = {
        {"{\"prompt\": \"what is a document?\"}", true},
        {"{\"prompt\": \"a line\\n\\u20ac\"}", true},
        {"{\"document\": \"documents/a\"}", false},
        {"{\"\\u0064ocument\": \"documents/a\"}", false},
        {"{\"docum\\u0065nt\" : \"documents/a\"}", false},
    };
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++)
        assert_int_equal(
            create_call_is_brief((const uint8_t *)cases[c].text, strlen(cases[c].text)),
            cases[c].is_brief);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lines_are_the_same_however_they_come),
        cmocka_unit_test(a_line_that_is_too_long_is_cut_and_said_to_be),
        cmocka_unit_test(a_failure_of_the_taker_ends_the_splitting),
        cmocka_unit_test(what_was_not_tried_waits_again),
        cmocka_unit_test(what_its_batch_ended_is_unanswered),
        cmocka_unit_test(failures_are_tried_three_times_unless_they_are_the_lines_own),
        cmocka_unit_test(a_line_that_chance_does_not_explain_is_set_aside),
        cmocka_unit_test(the_more_it_lost_the_fewer_run_beside_a_line),
        cmocka_unit_test(names_have_their_collection_and_an_id),
        cmocka_unit_test(a_set_knows_what_was_added),
        cmocka_unit_test(a_creation_that_may_name_a_document_is_not_brief),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
