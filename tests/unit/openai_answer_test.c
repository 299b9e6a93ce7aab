/* Answers and errors in OpenAI's JSON, whole and as a stream. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "coordinator/openai/openai_answer.h"
#include "coordinator/openai/openai_error.h"
#include "tests/support/tiny_vocab.h"

static struct tiny_vocab tiny;
static struct tokenizer *tokenizer;

static int open_vocabulary(void **state)
{
    (void)state;
    tiny_vocab_open(&tiny, &(struct tiny_vocab_args){0});
    return tokenizer_create(&tokenizer, tiny.vocab) == STATUS_OK ? 0 : -1;
}

static int close_vocabulary(void **state)
{
    (void)state;
    tokenizer_destroy(tokenizer);
    tiny_vocab_close(&tiny);
    return 0;
}

/* ---- events, each with the storage that it points at ---- */

struct told {
    Longhaul__V1__GenerateResponse event;
    Longhaul__V1__Queued queued;
    Longhaul__V1__Progress progress;
    Longhaul__V1__PlanSummary planned;
    Longhaul__V1__Tokens tokens;
    Longhaul__V1__TokenLogprobs logprobs;
    Longhaul__V1__TokenLogprobs *logprobs_list[1];
    Longhaul__V1__LikelyToken likely;
    Longhaul__V1__LikelyToken *likely_list[1];
    Longhaul__V1__Finished finished;
    Longhaul__V1__Usage usage;
    Longhaul__V1__Seconds seconds;
    int32_t id;
};

static void begin(struct told *told, Longhaul__V1__GenerateResponse__EventCase which)
{
    longhaul__v1__generate_response__init(&told->event);
    told->event.request_id = (char *)"r7";
    told->event.event_case = which;
}

static void set_tokens(struct told *told, const char *text)
{
    begin(told, LONGHAUL__V1__GENERATE_RESPONSE__EVENT_TOKENS);
    longhaul__v1__tokens__init(&told->tokens);
    told->tokens.text = (char *)text;
    told->event.tokens = &told->tokens;
}

/* Of one token, which is the byte `token`, with `likely` as the likeliest. */
static void add_logprobs(struct told *told, int token, int likely)
{
    told->id = TINY_BYTES + token;
    told->tokens.ids = &told->id;
    told->tokens.n_ids = 1;
    longhaul__v1__token_logprobs__init(&told->logprobs);
    told->logprobs.logprob = -0.5F;
    longhaul__v1__likely_token__init(&told->likely);
    told->likely.id = TINY_BYTES + likely;
    told->likely.logprob = -0.25F;
    told->likely_list[0] = &told->likely;
    told->logprobs.likeliest = told->likely_list;
    told->logprobs.n_likeliest = 1;
    told->logprobs_list[0] = &told->logprobs;
    told->tokens.logprobs = told->logprobs_list;
    told->tokens.n_logprobs = 1;
}

static void set_finished(struct told *told, Longhaul__V1__FinishReason reason)
{
    begin(told, LONGHAUL__V1__GENERATE_RESPONSE__EVENT_FINISHED);
    longhaul__v1__finished__init(&told->finished);
    longhaul__v1__usage__init(&told->usage);
    longhaul__v1__seconds__init(&told->seconds);
    told->usage.prompt_tokens = 130;
    told->usage.cached_tokens = 128;
    told->usage.prefilled_tokens = 2;
    told->usage.completion_tokens = 3;
    told->seconds.prefill = 0.5;
    told->seconds.decode = 0.25;
    told->finished.finish_reason = reason;
    told->finished.usage = &told->usage;
    told->finished.seconds = &told->seconds;
    told->finished.seed = UINT64_MAX;
    told->event.finished = &told->finished;
}

static struct openai_answer *create(enum openai_form form, bool include_usage)
{
    const struct openai_answer_facts facts = {
        .form = form,
        .include_usage = include_usage,
        .model = "m",
        .created_s = 16,
        .tokenizer = tokenizer,
    };
    struct openai_answer *answer = NULL;
    assert_int_equal(openai_answer_create(&answer, &facts), STATUS_OK);
    return answer;
}

static void take(struct openai_answer *answer, const struct told *told)
{
    assert_int_equal(openai_answer_take(answer, &told->event), STATUS_OK);
}

static void expect_body(const struct openai_answer *answer, const char *expected)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    openai_answer_write(answer, file);
    fclose(file);
    assert_string_equal(text, expected);
    free(text);
}

static void expect_told(struct openai_answer *answer, const struct told *told, const char *expected)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    assert_int_equal(openai_answer_tell(answer, &told->event, file), STATUS_OK);
    fclose(file);
    assert_string_equal(text, expected);
    free(text);
}

#define USAGE                                                                                      \
    "\"usage\": {\"prompt_tokens\": 130, \"completion_tokens\": 3, \"total_tokens\": 133, "        \
    "\"prompt_tokens_details\": {\"cached_tokens\": 128}, "                                        \
    "\"completion_tokens_details\": {\"accepted_prediction_tokens\": 0, "                          \
    "\"rejected_prediction_tokens\": 0}, \"prefilled_tokens\": 2}"
#define CHUNK_HEAD                                                                                 \
    "data: {\"id\": \"chatcmpl-r7-10\", \"object\": \"chat.completion.chunk\", \"created\": 16, "  \
    "\"model\": \"m\", "

static void a_completion_is_collected(void **state)
{
    (void)state;
    struct openai_answer *answer = create(OPENAI_COMPLETION, false);
    struct told told = {0};
    set_tokens(&told, "Hi ");
    take(answer, &told);
    set_tokens(&told, "\xc3\xa9\"");
    take(answer, &told);
    set_finished(&told, LONGHAUL__V1__FINISH_REASON__FINISH_REASON_LENGTH);
    take(answer, &told);
    assert_int_equal(openai_answer_usage(answer)->cached_tokens, 128);
    assert_int_equal(openai_answer_reason(answer),
                     LONGHAUL__V1__FINISH_REASON__FINISH_REASON_LENGTH);
    expect_body(answer,
                "{\"id\": \"cmpl-r7-10\", \"object\": \"text_completion\", \"created\": "
                "16, \"model\": \"m\", \"choices\": [{\"index\": 0, \"text\": \"Hi "
                "\xc3\xa9\\\"\", \"logprobs\": null, \"finish_reason\": \"length\"}], " USAGE "}");
    openai_answer_destroy(answer);
}

static void several_answers_are_choices_and_the_prompt_counts_once(void **state)
{
    (void)state;
    const struct openai_answer_facts facts = {
        .form = OPENAI_COMPLETION, .answers = 2, .model = "m", .created_s = 16};
    struct openai_answer *answer = NULL;
    struct told told = {0};
    assert_int_equal(openai_answer_create(&answer, &facts), STATUS_OK);
    for (int k = 1; k >= 0; k--) {
        set_tokens(&told, k == 0 ? "a" : "b");
        told.event.answer = k;
        take(answer, &told);
    }
    for (int k = 1; k >= 0; k--) {
        set_finished(&told, k == 0 ? LONGHAUL__V1__FINISH_REASON__FINISH_REASON_STOP
                                   : LONGHAUL__V1__FINISH_REASON__FINISH_REASON_CANCELLED);
        told.usage.cached_tokens = k == 0 ? 128 : 129;
        told.usage.prefilled_tokens = k == 0 ? 2 : 1;
        told.event.answer = k;
        take(answer, &told);
    }
    assert_int_equal(openai_answer_reason(answer),
                     LONGHAUL__V1__FINISH_REASON__FINISH_REASON_CANCELLED);
    expect_body(answer,
                "{\"id\": \"cmpl-r7-10\", \"object\": \"text_completion\", \"created\": 16, "
                "\"model\": \"m\", \"choices\": [{\"index\": 0, \"text\": \"a\", "
                "\"logprobs\": null, \"finish_reason\": \"stop\"}, {\"index\": 1, \"text\": "
                "\"b\", \"logprobs\": null, \"finish_reason\": \"cancelled\"}], \"usage\": "
                "{\"prompt_tokens\": 130, \"completion_tokens\": 6, \"total_tokens\": 136, "
                "\"prompt_tokens_details\": {\"cached_tokens\": 128}, "
                "\"completion_tokens_details\": {\"accepted_prediction_tokens\": 0, "
                "\"rejected_prediction_tokens\": 0}, \"prefilled_tokens\": 3}}");
    openai_answer_destroy(answer);
}

static void logprobs_of_a_completion_have_offsets(void **state)
{
    (void)state;
    struct openai_answer *answer = create(OPENAI_COMPLETION, false);
    struct told told = {0};
    set_tokens(&told, "a");
    add_logprobs(&told, 'a', 'b');
    take(answer, &told);
    set_tokens(&told, "");
    add_logprobs(&told, 0xc3, 'c');
    take(answer, &told);
    set_finished(&told, LONGHAUL__V1__FINISH_REASON__FINISH_REASON_STOP);
    take(answer, &told);
    expect_body(answer,
                "{\"id\": \"cmpl-r7-10\", \"object\": \"text_completion\", \"created\": 16, "
                "\"model\": \"m\", \"choices\": [{\"index\": 0, \"text\": \"a\", \"logprobs\": "
                "{\"tokens\": [\"a\", \"bytes:\\\\xc3\"], \"token_logprobs\": [-0.5, -0.5], "
                "\"top_logprobs\": [{\"b\": -0.25}, {\"c\": -0.25}], \"text_offset\": [0, 1]}, "
                "\"finish_reason\": \"stop\"}], " USAGE "}");
    openai_answer_destroy(answer);
}

static void a_chat_is_collected_with_logprobs(void **state)
{
    (void)state;
    struct openai_answer *answer = create(OPENAI_CHAT, false);
    struct told told = {0};
    set_tokens(&told, "a");
    add_logprobs(&told, 'a', 0xff);
    take(answer, &told);
    set_finished(&told, LONGHAUL__V1__FINISH_REASON__FINISH_REASON_CANCELLED);
    take(answer, &told);
    expect_body(answer,
                "{\"id\": \"chatcmpl-r7-10\", \"object\": \"chat.completion\", \"created\": 16, "
                "\"model\": \"m\", \"choices\": [{\"index\": 0, \"message\": {\"role\": "
                "\"assistant\", \"content\": \"a\", \"refusal\": null}, \"logprobs\": "
                "{\"content\": [{\"token\": \"a\", \"logprob\": -0.5, \"bytes\": [97], "
                "\"top_logprobs\": [{\"token\": \"bytes:\\\\xff\", \"logprob\": -0.25, \"bytes\": "
                "[255]}]}], \"refusal\": null}, \"finish_reason\": \"cancelled\"}], " USAGE "}");
    openai_answer_destroy(answer);
}

static void a_stream_of_a_chat_tells_role_text_end_and_usage(void **state)
{
    (void)state;
    struct openai_answer *answer = create(OPENAI_CHAT, true);
    struct told told = {0};
    begin(&told, LONGHAUL__V1__GENERATE_RESPONSE__EVENT_QUEUED);
    longhaul__v1__queued__init(&told.queued);
    told.queued.ahead = 2;
    told.event.queued = &told.queued;
    expect_told(answer, &told, ": waiting behind 2\n\n");
    begin(&told, LONGHAUL__V1__GENERATE_RESPONSE__EVENT_PROGRESS);
    longhaul__v1__progress__init(&told.progress);
    told.progress.tokens_done = 64;
    told.progress.tokens_total = 128;
    told.event.progress = &told.progress;
    expect_told(answer, &told, ": reading 64 of 128\n\n");
    set_tokens(&told, "");
    expect_told(answer, &told, "");
    set_tokens(&told, "Hi");
    expect_told(answer, &told,
                CHUNK_HEAD "\"choices\": [{\"index\": 0, \"delta\": {\"role\": \"assistant\", "
                           "\"content\": \"Hi\"}, \"logprobs\": null, \"finish_reason\": null}], "
                           "\"usage\": null}\n\n");
    expect_told(answer, &told,
                CHUNK_HEAD "\"choices\": [{\"index\": 0, \"delta\": {\"content\": \"Hi\"}, "
                           "\"logprobs\": null, \"finish_reason\": null}], \"usage\": null}\n\n");
    set_finished(&told, LONGHAUL__V1__FINISH_REASON__FINISH_REASON_STOP);
    expect_told(answer, &told,
                CHUNK_HEAD "\"choices\": [{\"index\": 0, \"delta\": {}, \"logprobs\": null, "
                           "\"finish_reason\": \"stop\"}], \"usage\": null}\n\n" CHUNK_HEAD
                           "\"choices\": [], " USAGE "}\n\n");
    openai_answer_destroy(answer);
}

static void a_stream_of_generate_tells_the_plan(void **state)
{
    (void)state;
#define GENERATE_HEAD                                                                              \
    "data: {\"id\": \"gen-r7-10\", \"object\": \"longhaul.generate.chunk\", \"created\": 16, "     \
    "\"model\": \"m\", "
    struct openai_answer *answer = create(OPENAI_GENERATE, false);
    struct told told = {0};
    begin(&told, LONGHAUL__V1__GENERATE_RESPONSE__EVENT_PLANNED);
    longhaul__v1__plan_summary__init(&told.planned);
    told.planned.method = (char *)"rope";
    told.planned.workers = 2;
    told.planned.seconds = 1.5;
    told.event.planned = &told.planned;
    expect_told(answer, &told,
                GENERATE_HEAD
                "\"planned\": {\"text\": \"\", \"method\": \"rope\", \"workers\": 2, \"kernels\": "
                "\"\", \"prompt_tokens\": 0, \"max_tokens\": 0, \"stage_tokens\": 0, "
                "\"memory_bytes\": 0, \"sent_bytes\": 0, \"flops\": 0, \"seconds\": 1.5}}\n\n");
    set_tokens(&told, "Hi");
    expect_told(answer, &told, GENERATE_HEAD "\"text\": \"Hi\", \"logprobs\": null}\n\n");
    set_finished(&told, LONGHAUL__V1__FINISH_REASON__FINISH_REASON_STOP);
    expect_told(answer, &told,
                GENERATE_HEAD "\"finish_reason\": \"stop\", \"seed\": 18446744073709551615, " USAGE
                              ", \"seconds\": {\"prefill\": 0.5, \"decode\": 0.25}}\n\n");
    openai_answer_destroy(answer);
}

static void expect_error(enum status status, const struct status_details *details, int code,
                         const char *expected)
{
    char *text = NULL;
    size_t bytes = 0;
    FILE *file = open_memstream(&text, &bytes);
    openai_error_write(file, status, details, "no \"x\"");
    fclose(file);
    assert_int_equal(openai_error_http_code(status), code);
    assert_string_equal(text, expected);
    free(text);
}

static void errors_have_openais_shape(void **state)
{
    (void)state;
    struct status_details details = {.field = "sampling.top_p"};
    expect_error(STATUS_INVALID_ARGUMENT, &details, 400,
                 "{\"error\": {\"message\": \"no \\\"x\\\"\", \"type\": \"invalid_request_error\", "
                 "\"param\": \"top_p\", \"code\": null}}");
    details = (struct status_details){.reason = "CONTEXT_EXCEEDED", .field = "prompt"};
    expect_error(STATUS_OUT_OF_RANGE, &details, 400,
                 "{\"error\": {\"message\": \"no \\\"x\\\"\", \"type\": \"invalid_request_error\", "
                 "\"param\": \"prompt\", \"code\": \"context_length_exceeded\"}}");
    details = (struct status_details){.reason = "QUEUE_FULL"};
    status_details_fact(&details, OPENAI_PARAMETER, "%s", "theirs");
    expect_error(STATUS_RESOURCE_EXHAUSTED, &details, 429,
                 "{\"error\": {\"message\": \"no \\\"x\\\"\", \"type\": \"rate_limit_error\", "
                 "\"param\": \"theirs\", \"code\": \"queue_full\"}}");
    details = (struct status_details){0};
    expect_error(STATUS_UNAVAILABLE, &details, 503,
                 "{\"error\": {\"message\": \"no \\\"x\\\"\", \"type\": \"server_error\", "
                 "\"param\": null, \"code\": null}}");
    assert_int_equal(openai_error_http_code(STATUS_UNIMPLEMENTED), 400);
    assert_int_equal(openai_error_http_code(STATUS_UNAUTHENTICATED), 401);
    assert_int_equal(openai_error_http_code(STATUS_PERMISSION_DENIED), 403);
    assert_int_equal(openai_error_http_code(STATUS_NOT_FOUND), 404);
    assert_int_equal(openai_error_http_code(STATUS_INTERNAL), 500);
    assert_int_equal(openai_error_http_code(STATUS_DEADLINE_EXCEEDED), 504);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_completion_is_collected),
        cmocka_unit_test(several_answers_are_choices_and_the_prompt_counts_once),
        cmocka_unit_test(logprobs_of_a_completion_have_offsets),
        cmocka_unit_test(a_chat_is_collected_with_logprobs),
        cmocka_unit_test(a_stream_of_a_chat_tells_role_text_end_and_usage),
        cmocka_unit_test(a_stream_of_generate_tells_the_plan),
        cmocka_unit_test(errors_have_openais_shape),
    };
    return cmocka_run_group_tests(tests, open_vocabulary, close_vocabulary);
}
