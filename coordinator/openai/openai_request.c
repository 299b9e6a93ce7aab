/* Owns the table of fields and the tree of a body, which the request's texts point into. Promises
 * that a field is read, harmless, or refused by its name: none is passed over in silence. */
#include "coordinator/openai/openai_request.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include <jansson.h>

#include "coordinator/openai/json_span.h"
#include "coordinator/openai/openai_messages.h"
#include "coordinator/openai/openai_neutral.h"
#include "proto/sampling.h"

enum {
    COMPLETION = 1 << OPENAI_COMPLETION,
    CHAT = 1 << OPENAI_CHAT,
    GENERATE = 1 << OPENAI_GENERATE,
    ALL = COMPLETION | CHAT | GENERATE,
    STOPS_MAX = 16,
};

/* What a request points at. */
struct owned {
    struct openai_request request;
    Longhaul__V1__GenerateRequest generate;
    Longhaul__V1__Prompt prompt;
    Longhaul__V1__Document document;
    struct openai_messages messages;
    Longhaul__V1__Sampling sampling;
    Longhaul__V1__PlanOptions options;
    Longhaul__V1__Method method;
    Longhaul__V1__LogitBias *biases;       /* [n_logit_bias] */
    Longhaul__V1__LogitBias **bias_places; /* [n_logit_bias] */
    char *stops[STOPS_MAX];
    int64_t *positions; /* [n_positions] */
    char *document_text;
    json_t *root;
    bool has_text, told_logprobs, has_top_logprobs, has_stream_options;
};

static const struct {
    const char *url;
    enum openai_form form;
} urls[] = {
    {"/v1/completions", OPENAI_COMPLETION},
    {"/v1/chat/completions", OPENAI_CHAT},
    {"/longhaul/v1/generate", OPENAI_GENERATE},
};

bool openai_request_form(enum openai_form *form, const char *url)
{
    for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++)
        if (strcmp(url, urls[i].url) == 0) {
            *form = urls[i].form;
            return true;
        }
    return false;
}

/* ---- values ---- */

static enum status need(bool right, const char *key, const char *what)
{
    return right ? STATUS_OK : fail(STATUS_INVALID_ARGUMENT, "%s is no %s", key, what);
}

static enum status read_text(const char **text, const json_t *value, const char *key)
{
    TRY(need(json_is_string(value), key, "string"));
    *text = json_string_value(value);
    return STATUS_OK;
}

static enum status read_flag(bool *flag, const json_t *value, const char *key)
{
    TRY(need(json_is_boolean(value), key, "boolean"));
    *flag = json_is_true(value);
    return STATUS_OK;
}

static enum status read_real(float *real, const json_t *value, const char *key)
{
    TRY(need(json_is_number(value), key, "number"));
    *real = (float)json_number_value(value);
    return STATUS_OK;
}

static enum status read_integer(int64_t *integer, const json_t *value, const char *key)
{
    TRY(need(json_is_integer(value), key, "integer"));
    *integer = json_integer_value(value);
    return STATUS_OK;
}

static enum status read_small(int32_t *integer, const json_t *value, const char *key)
{
    int64_t wide = 0;
    TRY(read_integer(&wide, value, key));
    if (wide < INT32_MIN || wide > INT32_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "%s is out of its range", key);
    *integer = (int32_t)wide;
    return STATUS_OK;
}

/* ---- fields: `own` is what they fill, `key` how the client calls them ---- */

static enum status take_model(struct owned *own, const json_t *value, const char *key)
{
    return read_text(&own->request.model, value, key);
}

static enum status take_stream(struct owned *own, const json_t *value, const char *key)
{
    return read_flag(&own->request.stream, value, key);
}

static enum status take_stream_options(struct owned *own, const json_t *value, const char *key)
{
    const char *name;
    json_t *option;
    TRY(need(json_is_object(value), key, "object"));
    own->has_stream_options = true;
    json_object_foreach((json_t *)value, name, option)
    {
        bool harmless = false; /* include_obfuscation pads chunks: there is nothing to hide here */
        if (strcmp(name, "include_usage") == 0)
            TRY(read_flag(&own->request.include_usage, option, "stream_options.include_usage"));
        else if (strcmp(name, "include_obfuscation") == 0)
            TRY(read_flag(&harmless, option, "stream_options.include_obfuscation"));
        else
            return fail(STATUS_INVALID_ARGUMENT, "stream_options has no %s", name);
    }
    return STATUS_OK;
}

static enum status take_max_tokens(struct owned *own, const json_t *value, const char *key)
{
    int64_t tokens = 0;
    Longhaul__V1__GenerateRequest *generate = &own->generate;
    TRY(read_integer(&tokens, value, key));
    if (generate->optional_max_tokens_case && generate->max_tokens != tokens)
        return fail(STATUS_INVALID_ARGUMENT,
                    "max_tokens and max_completion_tokens are one limit: give one of them");
    generate->optional_max_tokens_case =
        LONGHAUL__V1__GENERATE_REQUEST__OPTIONAL_MAX_TOKENS_MAX_TOKENS;
    generate->max_tokens = tokens;
    return STATUS_OK;
}

static enum status take_temperature(struct owned *own, const json_t *value, const char *key)
{
    own->sampling.optional_temperature_case =
        LONGHAUL__V1__SAMPLING__OPTIONAL_TEMPERATURE_TEMPERATURE;
    return read_real(&own->sampling.temperature, value, key);
}

static enum status take_top_p(struct owned *own, const json_t *value, const char *key)
{
    own->sampling.optional_top_p_case = LONGHAUL__V1__SAMPLING__OPTIONAL_TOP_P_TOP_P;
    return read_real(&own->sampling.top_p, value, key);
}

static enum status take_top_k(struct owned *own, const json_t *value, const char *key)
{
    return read_small(&own->sampling.top_k, value, key);
}

static enum status take_min_p(struct owned *own, const json_t *value, const char *key)
{
    return read_real(&own->sampling.min_p, value, key);
}

static enum status take_penalty(struct owned *own, const json_t *value, const char *key)
{
    own->sampling.optional_repetition_penalty_case =
        LONGHAUL__V1__SAMPLING__OPTIONAL_REPETITION_PENALTY_REPETITION_PENALTY;
    return read_real(&own->sampling.repetition_penalty, value, key);
}

static enum status take_presence(struct owned *own, const json_t *value, const char *key)
{
    return read_real(&own->sampling.presence_penalty, value, key);
}

static enum status take_frequency(struct owned *own, const json_t *value, const char *key)
{
    return read_real(&own->sampling.frequency_penalty, value, key);
}

/* A token's id, as JSON's objects have names: digits alone. */
static enum status read_id(int32_t *id, const char *name)
{
    char *end = NULL;
    const long number = name[0] >= '0' && name[0] <= '9' ? strtol(name, &end, 10) : -1;
    if (number < 0 || number > INT32_MAX || *end)
        return fail(STATUS_INVALID_ARGUMENT, "logit_bias: %s is no token's id", name);
    *id = (int32_t)number;
    return STATUS_OK;
}

static enum status take_logit_bias(struct owned *own, const json_t *value, const char *key)
{
    const char *name;
    json_t *bias;
    TRY(need(json_is_object(value), key, "object"));
    const size_t count = json_object_size(value);
    if (count > SAMPLING_BIASES_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "logit_bias has %zu tokens; must be at most %d", count,
                    SAMPLING_BIASES_MAX);
    own->biases = calloc(count + 1, sizeof *own->biases);
    own->bias_places = calloc(count + 1, sizeof *own->bias_places);
    if (!own->biases || !own->bias_places)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a request");
    own->sampling.logit_bias = own->bias_places;
    json_object_foreach((json_t *)value, name, bias)
    {
        Longhaul__V1__LogitBias *place = &own->biases[own->sampling.n_logit_bias];
        longhaul__v1__logit_bias__init(place);
        TRY(read_id(&place->id, name));
        TRY(read_real(&place->bias, bias, "an entry of logit_bias"));
        own->bias_places[own->sampling.n_logit_bias++] = place;
    }
    return STATUS_OK;
}

static enum status take_seed(struct owned *own, const json_t *value, const char *key)
{
    int64_t seed = 0;
    TRY(read_integer(&seed, value, key));
    own->sampling.optional_seed_case = LONGHAUL__V1__SAMPLING__OPTIONAL_SEED_SEED;
    own->sampling.seed = (uint64_t)seed;
    return STATUS_OK;
}

static enum status take_stop(struct owned *own, const json_t *value, const char *key)
{
    const bool one = json_is_string(value);
    const size_t count = one ? 1 : json_array_size(value);
    TRY(need(one || json_is_array(value), key, "string and no array of strings"));
    if (count > STOPS_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "stop has %zu strings; must be at most %d", count,
                    STOPS_MAX);
    for (size_t i = 0; i < count; i++) {
        const json_t *stop = one ? value : json_array_get(value, i);
        TRY(need(json_is_string(stop), "an entry of stop", "string"));
        own->stops[i] = (char *)json_string_value(stop);
    }
    own->generate.stop = own->stops;
    own->generate.n_stop = count;
    return STATUS_OK;
}

static enum status take_positions(struct owned *own, const json_t *value, const char *key)
{
    const size_t count = json_array_size(value);
    TRY(need(json_is_array(value), key, "array of integers"));
    own->positions = malloc(count * sizeof *own->positions + 1);
    if (!own->positions)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %zu positions", count);
    for (size_t i = 0; i < count; i++)
        TRY(read_integer(&own->positions[i], json_array_get(value, i), "an entry of positions"));
    own->generate.positions = own->positions;
    own->generate.n_positions = count;
    return STATUS_OK;
}

static enum status take_ignore_eos(struct owned *own, const json_t *value, const char *key)
{
    bool ignores = false;
    TRY(read_flag(&ignores, value, key));
    own->generate.ignore_end = ignores;
    return STATUS_OK;
}

static enum status take_min_tokens(struct owned *own, const json_t *value, const char *key)
{
    return read_integer(&own->generate.min_tokens, value, key);
}

static enum status take_n(struct owned *own, const json_t *value, const char *key)
{
    TRY(read_small(&own->generate.answers, value, key));
    if (own->generate.answers < 1 || own->generate.answers > SAMPLING_ANSWERS_MAX)
        return fail(STATUS_INVALID_ARGUMENT, "n is %d; must be 1 to %d", own->generate.answers,
                    SAMPLING_ANSWERS_MAX);
    return STATUS_OK;
}

static enum status take_method(struct owned *own, const json_t *value, const char *key)
{
    const char *spelling = NULL;
    TRY(read_text(&spelling, value, key));
    own->method.spelling = (char *)spelling;
    own->options.method = &own->method;
    own->generate.options = &own->options;
    return STATUS_OK;
}

static enum status take_draft(struct owned *own, const json_t *value, const char *key)
{
    const char *name = NULL;
    TRY(read_text(&name, value, key));
    own->generate.draft = strcmp(name, "none") == 0     ? LONGHAUL__V1__DRAFT__DRAFT_NONE
                          : strcmp(name, "lookup") == 0 ? LONGHAUL__V1__DRAFT__DRAFT_LOOKUP
                                                        : LONGHAUL__V1__DRAFT__DRAFT_UNSPECIFIED;
    if (own->generate.draft == LONGHAUL__V1__DRAFT__DRAFT_UNSPECIFIED)
        return fail(STATUS_INVALID_ARGUMENT, "draft is %s; must be none or lookup", name);
    return STATUS_OK;
}

static void ask_logprobs(struct owned *own, int32_t likeliest)
{
    own->generate.optional_logprobs_case =
        LONGHAUL__V1__GENERATE_REQUEST__OPTIONAL_LOGPROBS_LOGPROBS;
    own->generate.logprobs = likeliest;
}

static enum status take_logprobs(struct owned *own, const json_t *value, const char *key)
{
    int32_t likeliest = 0;
    TRY(read_small(&likeliest, value, key));
    ask_logprobs(own, likeliest);
    return STATUS_OK;
}

static enum status take_chat_logprobs(struct owned *own, const json_t *value, const char *key)
{
    TRY(read_flag(&own->told_logprobs, value, key));
    if (own->told_logprobs)
        ask_logprobs(own, own->generate.logprobs);
    return STATUS_OK;
}

static enum status take_top_logprobs(struct owned *own, const json_t *value, const char *key)
{
    TRY(read_small(&own->generate.logprobs, value, key));
    own->has_top_logprobs = own->generate.logprobs != 0;
    return STATUS_OK;
}

static enum status take_prompt(struct owned *own, const json_t *value, const char *key)
{
    const char *text = NULL;
    if (json_is_array(value)) {
        if (json_array_size(value) != 1)
            return fail(STATUS_INVALID_ARGUMENT,
                        "prompt has %zu entries; one prompt a request is supported",
                        json_array_size(value));
        value = json_array_get(value, 0);
    }
    if (json_is_integer(value) || json_is_array(value))
        return fail(STATUS_INVALID_ARGUMENT, "token ids as prompt are not supported: send text");
    TRY(read_text(&text, value, key));
    own->prompt.content_case = LONGHAUL__V1__PROMPT__CONTENT_TEXT;
    own->prompt.text = (char *)text;
    own->prompt.raw = true;
    return STATUS_OK;
}

static enum status take_messages(struct owned *own, const json_t *value, const char *key)
{
    (void)key;
    TRY(openai_messages_read(&own->messages, value));
    own->prompt.content_case = LONGHAUL__V1__PROMPT__CONTENT_CHAT;
    own->prompt.chat = &own->messages.chat;
    return STATUS_OK;
}

static enum status take_document(struct owned *own, const json_t *value, const char *key)
{
    static const char *const beginnings[] = {"documents/", "sha256:"};
    TRY(read_text(&own->request.document, value, key));
    for (size_t i = 0; i < sizeof beginnings / sizeof beginnings[0]; i++)
        if (strncmp(own->request.document, beginnings[i], strlen(beginnings[i])) == 0)
            return STATUS_OK;
    return fail(STATUS_INVALID_ARGUMENT, "document is %s; must be documents/ID or sha256:HEX",
                own->request.document);
}

static enum status take_text(struct owned *own, const json_t *value, const char *key)
{
    const char *text = NULL;
    TRY(read_text(&text, value, key));
    own->document.document = (char *)text;
    own->has_text = true;
    return STATUS_OK;
}

static enum status take_question(struct owned *own, const json_t *value, const char *key)
{
    const char *text = NULL;
    TRY(read_text(&text, value, key));
    own->document.question = (char *)text;
    return STATUS_OK;
}

static enum status take_session(struct owned *own, const json_t *value, const char *key)
{
    const char *name = NULL;
    TRY(read_text(&name, value, key));
    own->generate.session = (char *)name;
    return STATUS_OK;
}

static enum status take_raw(struct owned *own, const json_t *value, const char *key)
{
    bool raw = false;
    TRY(read_flag(&raw, value, key));
    own->prompt.raw = raw;
    return STATUS_OK;
}

static const struct field {
    const char *key;
    unsigned forms;
    enum status (*take)(struct owned *own, const json_t *value, const char *key);
} fields[] = {
    {"model", ALL, take_model},
    {"stream", ALL, take_stream},
    {"stream_options", ALL, take_stream_options},
    {"max_tokens", ALL, take_max_tokens},
    {"max_completion_tokens", CHAT, take_max_tokens},
    {"temperature", ALL, take_temperature},
    {"top_p", ALL, take_top_p},
    {"top_k", ALL, take_top_k},
    {"min_p", ALL, take_min_p},
    {"repetition_penalty", ALL, take_penalty},
    {"presence_penalty", ALL, take_presence},
    {"frequency_penalty", ALL, take_frequency},
    {"logit_bias", ALL, take_logit_bias},
    {"seed", ALL, take_seed},
    {"stop", ALL, take_stop},
    {"ignore_eos", ALL, take_ignore_eos},
    {"min_tokens", ALL, take_min_tokens},
    {"n", COMPLETION | CHAT, take_n},
    {"method", ALL, take_method},
    {"positions", COMPLETION | GENERATE, take_positions},
    {"draft", ALL, take_draft},
    {"logprobs", COMPLETION | GENERATE, take_logprobs},
    {"logprobs", CHAT, take_chat_logprobs},
    {"top_logprobs", CHAT, take_top_logprobs},
    {"prompt", COMPLETION, take_prompt},
    {"messages", CHAT, take_messages},
    {"document", GENERATE, take_document},
    {"text", GENERATE, take_text},
    {"question", GENERATE, take_question},
    {"raw", GENERATE, take_raw},
    {"session", GENERATE, take_session},
};

/* ---- a body ---- */

static enum status take_field(struct owned *own, struct status_details *details, const char *key,
                              const json_t *value)
{
    const unsigned form = 1u << own->request.form;
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        if (strcmp(key, fields[i].key) != 0 || !(fields[i].forms & form))
            continue;
        details->field = fields[i].key;
        if (!json_is_null(value))
            TRY(fields[i].take(own, value, key));
        details->field = NULL;
        return STATUS_OK;
    }
    enum status status = STATUS_OK;
    if (form == GENERATE || !openai_neutral_check(&status, key, value))
        status =
            fail(STATUS_INVALID_ARGUMENT, "%s has no field %s", urls[own->request.form].url, key);
    if (status != STATUS_OK)
        status_details_fact(details, OPENAI_PARAMETER, "%s", key);
    return status;
}

/* The question goes behind the session's document, in its form. */
static enum status check_session(struct owned *own, struct status_details *details)
{
    const char *question = own->document.question;
    details->field = "session";
    if (own->request.document[0] || own->has_text || own->prompt.raw)
        return fail(STATUS_INVALID_ARGUMENT,
                    "a session has its document: give a question without document, text or raw");
    details->field = "question";
    if (!question[0])
        return fail(STATUS_INVALID_ARGUMENT, "a session is asked a question: give one");
    own->prompt.content_case = LONGHAUL__V1__PROMPT__CONTENT_TEXT;
    own->prompt.text = (char *)question;
    return STATUS_OK;
}

/* What one field alone does not show. */
static enum status check_whole(struct owned *own, struct status_details *details)
{
    static const char *const wanted[] = {"prompt", "messages", "document"};
    const bool has_document = own->request.document[0] != 0;
    if (own->generate.session[0]) {
        TRY(check_session(own, details));
    } else if (own->request.form == OPENAI_GENERATE) {
        details->field = "document";
        if (has_document && own->has_text)
            return fail(STATUS_INVALID_ARGUMENT, "document and text are one thing: give one");
        if (!has_document && !own->document.document[0] && !own->document.question[0])
            return fail(STATUS_INVALID_ARGUMENT, "give a document or a text, a question, or both");
    } else if (own->prompt.content_case == LONGHAUL__V1__PROMPT__CONTENT__NOT_SET) {
        details->field = wanted[own->request.form];
        return fail(STATUS_INVALID_ARGUMENT, "%s is missing", details->field);
    }
    details->field = "top_logprobs";
    if (own->has_top_logprobs && !own->told_logprobs)
        return fail(STATUS_INVALID_ARGUMENT, "top_logprobs needs \"logprobs\": true");
    details->field = "stream_options";
    if (own->has_stream_options && !own->request.stream)
        return fail(STATUS_INVALID_ARGUMENT, "stream_options needs \"stream\": true");
    details->field = NULL;
    return STATUS_OK;
}

/* Before anything is allocated for it. */
static enum status check_size(const char *body, size_t bytes)
{
    struct json_span span = {.text = body, .bytes = bytes, .values_max = OPENAI_VALUES_MAX};
    size_t first = 0, end = 0;
    if (bytes > OPENAI_BODY_BYTES_MAX)
        return fail(STATUS_OUT_OF_RANGE, "a body of %zu bytes; must be at most %d", bytes,
                    OPENAI_BODY_BYTES_MAX);
    return json_span_value(&span, &first, &end);
}

static enum status read_body(struct owned *own, struct status_details *details, const char *body,
                             size_t bytes)
{
    json_error_t error;
    const char *key;
    json_t *value;
    TRY(check_size(body, bytes));
    own->root = json_loadb(body, bytes, JSON_REJECT_DUPLICATES, &error);
    if (!own->root)
        return fail(STATUS_INVALID_ARGUMENT, "the body is no JSON: %s (line %d, column %d)",
                    error.text, error.line, error.column);
    TRY(need(json_is_object(own->root), "the body", "object"));
    json_object_foreach(own->root, key, value) TRY(take_field(own, details, key, value));
    return check_whole(own, details);
}

static void init(struct owned *own, enum openai_form form)
{
    longhaul__v1__generate_request__init(&own->generate);
    longhaul__v1__prompt__init(&own->prompt);
    longhaul__v1__document__init(&own->document);
    longhaul__v1__sampling__init(&own->sampling);
    longhaul__v1__plan_options__init(&own->options);
    longhaul__v1__method__init(&own->method);
    openai_messages_init(&own->messages);
    own->generate.prompt = &own->prompt;
    own->generate.sampling = &own->sampling;
    if (form == OPENAI_GENERATE) {
        own->prompt.content_case = LONGHAUL__V1__PROMPT__CONTENT_DOCUMENT;
        own->prompt.document = &own->document;
    }
    own->request = (struct openai_request){
        .form = form, .model = "", .document = "", .generate = &own->generate};
}

enum status openai_request_parse(struct openai_request **request, struct status_details *details,
                                 const char *url, const char *body, size_t bytes)
{
    enum openai_form form;
    if (!openai_request_form(&form, url))
        return fail(STATUS_NOT_FOUND, "no requests are taken at %s", url);
    struct owned *own = calloc(1, sizeof *own);
    if (!own)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for a request");
    init(own, form);
    const enum status status = read_body(own, details, body, bytes);
    if (status != STATUS_OK) {
        openai_request_free(&own->request);
        return status;
    }
    *request = &own->request;
    return STATUS_OK;
}

void openai_request_set_document(struct openai_request *request, char *text)
{
    struct owned *own = (struct owned *)request; /* its first member */
    free(own->document_text);
    own->document_text = text;
    own->document.document = text;
}

void openai_request_free(struct openai_request *request)
{
    struct owned *own = (struct owned *)request;
    if (!own)
        return;
    openai_messages_deinit(&own->messages);
    free(own->document_text);
    free(own->biases);
    free(own->bias_places);
    free(own->positions);
    json_decref(own->root);
    free(own);
}
