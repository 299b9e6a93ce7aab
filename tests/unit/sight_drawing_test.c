/* What a plan says that a token sees: the worked examples of docs/methods.md. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/cli/sight_drawing.h"

static char *drawn(const char *spelling, int64_t tokens)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    assert_non_null(file);
    sight_drawing_print(file, spelling, tokens);
    fclose(file);
    return text;
}

/* Each of the lines, in this sequence, with any number of blanks where one is written. */
static void draws(const char *spelling, int64_t tokens, const char *const *lines)
{
    char *text = drawn(spelling, tokens);
    const char *at = text;
    for (; *lines; lines++) {
        const char *word = *lines;
        const char *found = NULL;
        for (const char *start = at; *start && !found; start++) {
            const char *t = start;
            const char *w = word;
            while (*w && *t && (*w == *t || (*w == ' ' && *t == ' '))) {
                if (*w == ' ')
                    t += strspn(t, " ");
                else
                    t++;
                w++;
            }
            if (!*w)
                found = t;
        }
        if (!found)
            fail_msg("%s: no \"%s\" in what follows:\n%s", spelling, word, at);
        at = found;
    }
    free(text);
}

static void the_worked_examples_are_drawn(void **state)
{
    (void)state;
    draws("rope", 12,
          (const char *const[]){"what the last of 12 tokens sees", "all 0 and more 12 0 to 11 i j",
                                "token 11 ############",
                                "keeps the values of its tokens and their keys in 1 way\n", NULL});
    draws("string:shift=4,local=1", 12,
          (const char *const[]){"all 0 to 3 4 0 to 3 i j", "all 4 and more 8 1 to 8 i - 3 j",
                                "token 5 ++####", "token 11 ++++++++####", NULL});
    draws("lm_infinite:window=4,sinks=2,ceiling=4", 12,
          (const char *const[]){"all 0 to 3 4 0 to 3 i j", "the first 2 4 and more 2 4 4 0",
                                "others 6 not at all", "token 11 ++......####",
                                "drops what lies 4 tokens back and more",
                                "keeps the first 2 tokens besides", NULL});
    draws("dca:chunk=6,local=2", 12,
          (const char *const[]){"0 chunks 4 0 to 3 i mod 4 j mod 4",
                                "1 chunks 4 3 to 6 min(6, i mod 4 + 4) j mod 4",
                                "2 chunks and more 4 3 to 6 6 j mod 4", NULL});
    draws("lampe:near=4,far=3,mapped=5,length=12", 12,
          (const char *const[]){"all 4 to 7 4 4 to 6 floor(5 i / 11) + 2 floor(5 j / 11)",
                                "8 and more 4 6 to 9 i - 2 j", "keys in 2 ways", NULL});
    draws("leaky_rerope:window=4,factor=2", 12,
          (const char *const[]){"all 4 and more 8 4 to 7.5 0.5 i + 2 0.5 j", NULL});
    draws("streaming_heads:heads=1,window=4,sinks=2", 12,
          (const char *const[]){"all 0 and more 12 0 to 11 i j",
                                "the last 1 KV heads of each layer see less", "others 6 not at all",
                                NULL});
}

static void what_is_not_known_is_not_drawn(void **state)
{
    (void)state;
    char *text = drawn("telepathy:reach=9", 12);
    assert_string_equal(text, "");
    free(text);
    text = drawn("rope", 0);
    assert_string_equal(text, "");
    free(text);
    text = drawn("rope", INT64_MAX);
    assert_string_equal(text, "");
    free(text);
    draws("rope", 1, (const char *const[]){"what the last of 1 tokens sees", "token 0 #", NULL});
}

static void a_program_gets_the_same_as_numbers(void **state)
{
    (void)state;
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    assert_non_null(file);
    struct json_writer writer = {.file = file};
    json_writer_begin_object(&writer, NULL);
    sight_drawing_json(&writer, "lm_infinite:window=4,sinks=2,ceiling=4", 12);
    json_writer_end_object(&writer);
    fclose(file);
    assert_non_null(strstr(text, "\"sight\""));
    assert_non_null(strstr(text, "\"first_key\": 0"));
    assert_non_null(strstr(text, "\"end_key\": 2"));
    assert_non_null(strstr(text, "\"first_key\": 8"));
    assert_non_null(strstr(text, "\"most_distance\": 3"));
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_worked_examples_are_drawn),
        cmocka_unit_test(what_is_not_known_is_not_drawn),
        cmocka_unit_test(a_program_gets_the_same_as_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
