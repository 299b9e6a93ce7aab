/* Bodies in OpenAI's JSON: what they ask for, what is refused, and by which name. */
#include "tests/support/unit.h"

#include <stdio.h>
#include <stdlib.h>

#include "coordinator/openai/openai_request.h"

#define COMPLETIONS "/v1/completions"
#define CHAT "/v1/chat/completions"
#define GENERATE "/longhaul/v1/generate"

static struct status_details details;

static struct openai_request *parse(const char *url, const char *body)
{
    struct openai_request *request = NULL;
    details = (struct status_details){0};
    const enum status status = openai_request_parse(&request, &details, url, body, strlen(body));
    if (status != STATUS_OK)
        print_error("%s: %s\n", body, status_message());
    assert_int_equal(status, STATUS_OK);
    return request;
}

/* The field that the refusal names: a literal of ours, or the client's own key. */
static const char *refused_field(void)
{
    if (details.field)
        return details.field;
    for (int i = 0; i < details.fact_count; i++)
        if (strcmp(details.facts[i].key, OPENAI_PARAMETER) == 0)
            return details.facts[i].value;
    return "";
}

static void expect_refused(const char *url, const char *body, const char *field,
                           const char *sentence)
{
    struct openai_request *request = NULL;
    details = (struct status_details){0};
    assert_int_equal(openai_request_parse(&request, &details, url, body, strlen(body)),
                     STATUS_INVALID_ARGUMENT);
    assert_null(request);
    assert_string_equal(refused_field(), field);
    if (!strstr(status_message(), sentence))
        fail_msg("%s: \"%s\" is not in \"%s\"", body, sentence, status_message());
}

static void a_completion_is_a_raw_text(void **state)
{
    (void)state;
    struct openai_request *request =
        parse(COMPLETIONS, "{\"model\": \"m\", \"prompt\": \"Once\", \"max_tokens\": 7, \"stop\": "
                           "[\"a\", \"b\"], \"logprobs\": 3, \"seed\": -1}");
    const Longhaul__V1__GenerateRequest *generate = request->generate;
    assert_int_equal(request->form, OPENAI_COMPLETION);
    assert_string_equal(request->model, "m");
    assert_false(request->stream);
    assert_int_equal(generate->prompt->content_case, LONGHAUL__V1__PROMPT__CONTENT_TEXT);
    assert_string_equal(generate->prompt->text, "Once");
    assert_true(generate->prompt->raw);
    assert_int_equal(generate->max_tokens, 7);
    assert_int_equal(generate->n_stop, 2);
    assert_string_equal(generate->stop[1], "b");
    assert_int_equal(generate->logprobs, 3);
    assert_true(generate->sampling->seed == UINT64_MAX);
    assert_string_equal(request->document, "");
    openai_request_free(request);
}

static void a_list_of_one_prompt_is_a_prompt(void **state)
{
    (void)state;
    struct openai_request *request = parse(COMPLETIONS, "{\"prompt\": [\"Once\"]}");
    assert_string_equal(request->generate->prompt->text, "Once");
    assert_int_equal(request->generate->optional_max_tokens_case, 0);
    openai_request_free(request);
    expect_refused(COMPLETIONS, "{\"prompt\": [\"a\", \"b\"]}", "prompt", "2 entries");
    expect_refused(COMPLETIONS, "{\"prompt\": [12]}", "prompt", "token ids");
    expect_refused(COMPLETIONS, "{\"prompt\": [[12, 13]]}", "prompt", "token ids");
}

static void a_chat_keeps_roles_and_joins_parts(void **state)
{
    (void)state;
    struct openai_request *request = parse(
        CHAT, "{\"messages\": [{\"role\": \"developer\", \"content\": \"Be brief.\"}, {\"role\": "
              "\"user\", \"content\": [{\"type\": \"text\", \"text\": \"one \"}, {\"type\": "
              "\"text\", \"text\": \"two\"}]}, {\"role\": \"assistant\", \"content\": \"yes\", "
              "\"refusal\": null, \"tool_calls\": []}], \"stream\": true, \"stream_options\": "
              "{\"include_usage\": true}, \"logprobs\": true, \"top_logprobs\": 2, "
              "\"max_completion_tokens\": 5, \"temperature\": 0.5, \"method\": \"string\"}");
    const Longhaul__V1__GenerateRequest *generate = request->generate;
    const Longhaul__V1__Chat *chat = generate->prompt->chat;
    assert_true(request->stream && request->include_usage);
    assert_int_equal(chat->n_messages, 3);
    assert_int_equal(chat->messages[0]->role, LONGHAUL__V1__ROLE__ROLE_SYSTEM);
    assert_int_equal(chat->messages[1]->role, LONGHAUL__V1__ROLE__ROLE_USER);
    assert_string_equal(chat->messages[1]->content, "one two");
    assert_string_equal(chat->messages[2]->content, "yes");
    assert_int_equal(generate->max_tokens, 5);
    assert_int_equal(generate->logprobs, 2);
    assert_true(generate->sampling->temperature == 0.5F);
    assert_string_equal(generate->options->method->spelling, "string");
    openai_request_free(request);
}

static void what_moves_logits_and_ends_is_read(void **state)
{
    (void)state;
    struct openai_request *request =
        parse(COMPLETIONS,
              "{\"prompt\": \"a\", \"presence_penalty\": 0.5, \"frequency_penalty\": -1, "
              "\"logit_bias\": {\"50256\": -100, \"0\": 2.5}, \"ignore_eos\": true, "
              "\"min_tokens\": 7, \"draft\": \"lookup\", \"positions\": [3, 4, 1099511627775]}");
    const Longhaul__V1__GenerateRequest *generate = request->generate;
    const Longhaul__V1__Sampling *sampling = generate->sampling;
    assert_true(sampling->presence_penalty == 0.5F && sampling->frequency_penalty == -1);
    assert_int_equal(sampling->n_logit_bias, 2);
    for (size_t b = 0; b < 2; b++)
        assert_true(sampling->logit_bias[b]->id == 50256 ? sampling->logit_bias[b]->bias == -100
                                                         : sampling->logit_bias[b]->bias == 2.5F);
    assert_true(generate->ignore_end);
    assert_int_equal(generate->min_tokens, 7);
    assert_int_equal(generate->n_positions, 3);
    assert_true(generate->positions[0] == 3 && generate->positions[2] == 1099511627775);
    assert_int_equal(generate->draft, LONGHAUL__V1__DRAFT__DRAFT_LOOKUP);
    openai_request_free(request);
}

static void what_a_message_cannot_have_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *messages, *sentence;
    } rows[] = {
        {"[]", "one or more"},
        {"{}", "no array"},
        {"[1]", "message 1 is no object"},
        {"[{\"role\": \"user\", \"content\": \"a\"}, {\"role\": \"tool\", \"content\": \"a\"}]",
         "message 2 is \"tool\""},
        {"[{\"role\": \"user\"}]", "content of message 1"},
        {"[{\"role\": \"user\", \"content\": \"a\", \"name\": \"Ann\"}]", "has name"},
        {"[{\"role\": \"assistant\", \"content\": \"a\", \"tool_calls\": [{}]}]", "tool_calls"},
        {"[{\"role\": \"user\", \"content\": [{\"type\": \"image_url\"}]}]", "type image_url"},
        {"[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": 1}]}]", "text part"},
        {"[{\"role\": \"user\", \"content\": [7]}]", "type none"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[256];
        snprintf(body, sizeof body, "{\"messages\": %s}", rows[i].messages);
        expect_refused(CHAT, body, "messages", rows[i].sentence);
    }
}

static void values_that_ask_for_nothing_are_accepted(void **state)
{
    (void)state;
    openai_request_free(parse(
        CHAT,
        "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"n\": 1, "
        "\"presence_penalty\": 0, \"frequency_penalty\": 0.0, \"logit_bias\": {}, \"tools\": [], "
        "\"tool_choice\": \"auto\", \"parallel_tool_calls\": true, \"response_format\": {\"type\": "
        "\"text\"}, \"store\": false, \"user\": \"u\", \"metadata\": {\"a\": \"b\"}, \"logprobs\": "
        "false, \"top_logprobs\": 0, \"modalities\": [\"text\"], \"service_tier\": \"auto\", "
        "\"stop\": [], \"seed\": null, \"max_tokens\": null, \"audio\": null}"));
}

static void what_is_not_supported_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value;
    } rows[] = {
        {"tools", "[{\"type\": \"function\"}]"},
        {"tool_choice", "\"required\""},
        {"response_format", "{\"type\": \"json_object\"}"},
        {"best_of", "2"},
        {"functions", "[{}]"},
        {"modalities", "[\"text\", \"audio\"]"},
        {"store", "true"},
        {"reasoning_effort", "\"high\""},
        {"web_search_options", "{}"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[256];
        snprintf(body, sizeof body,
                 "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"%s\": %s}",
                 rows[i].key, rows[i].value);
        expect_refused(CHAT, body, rows[i].key, "is not supported");
    }
    expect_refused(CHAT, "{\"maxtokens\": 5}", "maxtokens", "has no field maxtokens");
    expect_refused(COMPLETIONS, "{\"prompt\": \"a\", \"n\": 0}", "n", "n is 0; must be 1 to 16");
    expect_refused(COMPLETIONS, "{\"prompt\": \"a\", \"n\": 17}", "n", "n is 17; must be 1 to 16");
    expect_refused(GENERATE, "{\"text\": \"a\", \"n\": 1}", "n", "has no field n");
    expect_refused(COMPLETIONS, "{\"prompt\": \"a\", \"messages\": []}", "messages", "no field");
}

static void a_value_of_the_wrong_kind_is_named(void **state)
{
    (void)state;
    static const struct {
        const char *key, *value, *sentence;
    } rows[] = {
        {"model", "1", "no string"},
        {"stream", "1", "no boolean"},
        {"max_tokens", "1.5", "no integer"},
        {"temperature", "\"0\"", "no number"},
        {"top_k", "3000000000", "out of its range"},
        {"seed", "true", "no integer"},
        {"stop", "1", "no string"},
        {"stop", "[1]", "no string"},
        {"stop",
         "[\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\",\"\""
         ",\"\"]",
         "at most 16"},
        {"method", "{}", "no string"},
        {"draft", "true", "no string"},
        {"draft", "\"model\"", "must be none or lookup"},
        {"presence_penalty", "\"0\"", "no number"},
        {"frequency_penalty", "[]", "no number"},
        {"logit_bias", "[]", "no object"},
        {"logit_bias", "{\"a\": 1}", "a is no token's id"},
        {"logit_bias", "{\"\": 1}", "no token's id"},
        {"logit_bias", "{\"-1\": 1}", "no token's id"},
        {"logit_bias", "{\"1 \": 1}", "no token's id"},
        {"logit_bias", "{\"4294967296\": 1}", "no token's id"},
        {"logit_bias", "{\"1\": null}", "no number"},
        {"ignore_eos", "1", "no boolean"},
        {"min_tokens", "1.5", "no integer"},
        {"positions", "3", "no array of integers"},
        {"positions", "[3, \"4\"]", "an entry of positions is no integer"},
        {"stream_options", "{\"include_usage\": true}", "needs \"stream\""},
        {"stream_options", "{\"other\": true}", "has no other"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char body[256];
        snprintf(body, sizeof body, "{\"prompt\": \"a\", \"%s\": %s}", rows[i].key, rows[i].value);
        expect_refused(COMPLETIONS, body, rows[i].key, rows[i].sentence);
    }
    expect_refused(CHAT,
                   "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"top_logprobs\": "
                   "2}",
                   "top_logprobs", "needs \"logprobs\"");
    expect_refused(CHAT,
                   "{\"messages\": [{\"role\": \"user\", \"content\": \"a\"}], \"max_tokens\": 2, "
                   "\"max_completion_tokens\": 3}",
                   "max_completion_tokens", "one limit");
}

static void a_document_is_named_and_put_in(void **state)
{
    (void)state;
    struct openai_request *request =
        parse(GENERATE, "{\"document\": \"documents/d1\", \"question\": \"Who?\", \"raw\": true}");
    const Longhaul__V1__Document *document = request->generate->prompt->document;
    assert_int_equal(request->generate->prompt->content_case,
                     LONGHAUL__V1__PROMPT__CONTENT_DOCUMENT);
    assert_string_equal(request->document, "documents/d1");
    assert_string_equal(document->document, "");
    assert_string_equal(document->question, "Who?");
    assert_true(request->generate->prompt->raw);
    openai_request_set_document(request, strdup("It was Ann."));
    assert_string_equal(document->document, "It was Ann.");
    openai_request_free(request);
    request = parse(GENERATE, "{\"text\": \"It was Ann.\"}");
    assert_string_equal(request->generate->prompt->document->document, "It was Ann.");
    openai_request_free(request);
    expect_refused(GENERATE, "{\"document\": \"documents/a\", \"text\": \"b\"}", "document", "one");
    expect_refused(GENERATE, "{\"document\": \"a\"}", "document", "documents/ID");
    expect_refused(GENERATE, "{}", "document", "give a document");
}

static void what_is_missing_is_named(void **state)
{
    (void)state;
    expect_refused(COMPLETIONS, "{}", "prompt", "prompt is missing");
    expect_refused(CHAT, "{\"model\": \"m\"}", "messages", "messages is missing");
}

static void text_that_is_no_json_is_refused(void **state)
{
    (void)state;
    static const char *const bodies[] = {
        "",
        "{",
        "[]",
        "{\"prompt\": \"a\"} x",
        "{\"prompt\": \"a\", \"prompt\": \"b\"}",
        "{\"prompt\": \"a\\u0000b\"}",
        "{\"prompt\": \"\xff\"}",
        "{\"prompt\": \"a]}",
        "{\"prompt\": [1}]}",
        "{\"seed\": 99999999999999999999}",
        "\"prompt\"",
    };
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++)
        expect_refused(COMPLETIONS, bodies[i], "", "");
}

/* `text` so many times over. */
static void repeat(char *to, const char *text, size_t times)
{
    const size_t bytes = strlen(text);
    for (size_t i = 0; i < times; i++)
        memcpy(to + i * bytes, text, bytes);
    to[times * bytes] = 0;
}

static void depth_and_number_of_values_are_bounded(void **state)
{
    (void)state;
    enum { VALUES = OPENAI_VALUES_MAX + 1 };
    char *body = malloc(3 * VALUES + 64);
    assert_non_null(body);
    repeat(body, "[", 65);
    expect_refused(COMPLETIONS, body, "", "nests deeper than 64");
    repeat(body, "1,", VALUES);
    body[0] = '[';
    expect_refused(COMPLETIONS, body, "", "more than 65536 values");
    free(body);
}

static void other_urls_and_long_bodies_are_refused(void **state)
{
    (void)state;
    struct openai_request *request = NULL;
    enum openai_form form;
    assert_int_equal(openai_request_parse(&request, &details, "/v1/embeddings", "{}", 2),
                     STATUS_NOT_FOUND);
    assert_false(openai_request_form(&form, "/v1/chat"));
    assert_int_equal(
        openai_request_parse(&request, &details, CHAT, "{}", (size_t)OPENAI_BODY_BYTES_MAX + 1),
        STATUS_OUT_OF_RANGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_completion_is_a_raw_text),
        cmocka_unit_test(a_list_of_one_prompt_is_a_prompt),
        cmocka_unit_test(a_chat_keeps_roles_and_joins_parts),
        cmocka_unit_test(what_moves_logits_and_ends_is_read),
        cmocka_unit_test(what_a_message_cannot_have_is_named),
        cmocka_unit_test(values_that_ask_for_nothing_are_accepted),
        cmocka_unit_test(what_is_not_supported_is_named),
        cmocka_unit_test(a_value_of_the_wrong_kind_is_named),
        cmocka_unit_test(a_document_is_named_and_put_in),
        cmocka_unit_test(what_is_missing_is_named),
        cmocka_unit_test(text_that_is_no_json_is_refused),
        cmocka_unit_test(depth_and_number_of_values_are_bounded),
        cmocka_unit_test(other_urls_and_long_bodies_are_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
