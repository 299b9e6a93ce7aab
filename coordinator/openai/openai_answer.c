/* Owns the text and the log-probabilities of an answer that is collected. Promises the shapes of
 * OpenAI's objects: text_completion, chat.completion, chat.completion.chunk, and longhaul's own. */
#include "coordinator/openai/openai_answer.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "coordinator/openai/openai_logprobs.h"
#include "proto/json_writer.h"

enum { ID_BYTES = 96 };

/* One of the answers to a prompt. */
struct choice {
    int index;
    char *text; /* collected; not terminated */
    size_t text_bytes, text_room;
    struct openai_token *tokens; /* [token_count], where log-probabilities were asked for */
    size_t token_count, token_room;
    struct openai_offset offset;
    bool role_told; /* of a chat's stream */
    bool finished;
    Longhaul__V1__FinishReason reason;
    uint64_t seed;
};

struct openai_answer {
    struct openai_answer_facts facts;
    char id[ID_BYTES];      /* "" until the first event */
    struct choice *choices; /* [count] */
    int count, finished;
    Longhaul__V1__Usage usage;
    Longhaul__V1__Seconds seconds;
};

/* Of each form. */
static const struct {
    const char *id;
    const char *object;
    const char *chunk;
} shapes[] = {
    [OPENAI_COMPLETION] = {"cmpl", "text_completion", "text_completion"},
    [OPENAI_CHAT] = {"chatcmpl", "chat.completion", "chat.completion.chunk"},
    [OPENAI_GENERATE] = {"gen", "longhaul.generate", "longhaul.generate.chunk"},
};

enum status openai_answer_create(struct openai_answer **answer,
                                 const struct openai_answer_facts *facts)
{
    struct openai_answer *a = calloc(1, sizeof *a);
    if (!a)
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an answer");
    a->facts = *facts;
    a->count = facts->answers > 1 ? facts->answers : 1;
    a->choices = calloc((size_t)a->count, sizeof *a->choices);
    if (!a->choices) {
        free(a);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for %d answers", facts->answers);
    }
    for (int c = 0; c < a->count; c++)
        a->choices[c].index = c;
    longhaul__v1__usage__init(&a->usage);
    longhaul__v1__seconds__init(&a->seconds);
    *answer = a;
    return STATUS_OK;
}

static void free_tokens(struct openai_token *tokens, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        free(tokens[i].likeliest);
        free(tokens[i].likeliest_logprobs);
    }
    free(tokens);
}

void openai_answer_destroy(struct openai_answer *answer)
{
    if (!answer)
        return;
    for (int c = 0; c < answer->count; c++) {
        free_tokens(answer->choices[c].tokens, answer->choices[c].token_count);
        free(answer->choices[c].text);
    }
    free(answer->choices);
    free(answer);
}

Longhaul__V1__FinishReason openai_answer_reason(const struct openai_answer *answer)
{
    const Longhaul__V1__FinishReason cancelled =
        LONGHAUL__V1__FINISH_REASON__FINISH_REASON_CANCELLED;
    for (int c = 1; c < answer->count; c++)
        if (answer->choices[c].reason == cancelled)
            return cancelled;
    return answer->choices[0].reason;
}

const Longhaul__V1__Usage *openai_answer_usage(const struct openai_answer *answer)
{
    return &answer->usage;
}

/* ---- collecting ---- */

static enum status add_text(struct choice *choice, const char *text)
{
    const size_t bytes = strlen(text);
    if (choice->text_bytes + bytes > choice->text_room) {
        const size_t room = 2 * (choice->text_bytes + bytes);
        char *longer = realloc(choice->text, room);
        if (!longer)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for an answer's text");
        choice->text = longer;
        choice->text_room = room;
    }
    if (bytes > 0)
        memcpy(choice->text + choice->text_bytes, text, bytes);
    choice->text_bytes += bytes;
    return STATUS_OK;
}

static enum status set_token(struct openai_token *token, int32_t id,
                             const Longhaul__V1__TokenLogprobs *logprobs)
{
    const size_t count = logprobs->n_likeliest;
    *token = (struct openai_token){.id = id, .logprob = logprobs->logprob};
    if (count == 0)
        return STATUS_OK;
    token->likeliest = malloc(count * sizeof *token->likeliest);
    token->likeliest_logprobs = malloc(count * sizeof *token->likeliest_logprobs);
    if (!token->likeliest || !token->likeliest_logprobs) {
        free(token->likeliest);
        free(token->likeliest_logprobs);
        return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for log-probabilities");
    }
    for (size_t n = 0; n < count; n++) {
        token->likeliest[n] = logprobs->likeliest[n]->id;
        token->likeliest_logprobs[n] = logprobs->likeliest[n]->logprob;
    }
    token->likeliest_count = count;
    return STATUS_OK;
}

static enum status add_tokens(struct choice *choice, const Longhaul__V1__Tokens *tokens)
{
    const size_t count = tokens->n_logprobs;
    if (choice->token_count + count > choice->token_room) {
        const size_t room = 2 * (choice->token_count + count);
        struct openai_token *more = realloc(choice->tokens, room * sizeof *more);
        if (!more)
            return fail(STATUS_RESOURCE_EXHAUSTED, "no memory for log-probabilities");
        choice->tokens = more;
        choice->token_room = room;
    }
    for (size_t i = 0; i < count; i++) {
        TRY(set_token(&choice->tokens[choice->token_count], tokens->ids[i], tokens->logprobs[i]));
        choice->token_count++;
    }
    return STATUS_OK;
}

static void name_answer(struct openai_answer *answer, const Longhaul__V1__GenerateResponse *event)
{
    if (!answer->id[0])
        snprintf(answer->id, sizeof answer->id, "%s-%s-%" PRIx64, shapes[answer->facts.form].id,
                 event->request_id, (uint64_t)answer->facts.created_s);
}

/* The prompt's tokens count once, however many answers it has. */
static void add_usage(Longhaul__V1__Usage *usage, const Longhaul__V1__Usage *more, bool first)
{
    usage->prompt_tokens = more->prompt_tokens;
    if (first)
        usage->cached_tokens = more->cached_tokens;
    usage->completion_tokens += more->completion_tokens;
    usage->prefilled_tokens += more->prefilled_tokens;
    usage->drafted_tokens += more->drafted_tokens;
    usage->accepted_tokens += more->accepted_tokens;
}

static void finish(struct openai_answer *answer, struct choice *choice,
                   const Longhaul__V1__Finished *finished)
{
    choice->finished = true;
    choice->reason = finished->finish_reason;
    choice->seed = finished->seed;
    answer->finished++;
    if (finished->usage)
        add_usage(&answer->usage, finished->usage, choice->index == 0);
    if (finished->seconds)
        answer->seconds = *finished->seconds;
}

/* The coordinator's own events: their answers are those that were asked for. */
static struct choice *choice_of(struct openai_answer *answer,
                                const Longhaul__V1__GenerateResponse *event)
{
    assert(event->answer >= 0 && event->answer < answer->count);
    return &answer->choices[event->answer];
}

enum status openai_answer_take(struct openai_answer *answer,
                               const Longhaul__V1__GenerateResponse *event)
{
    struct choice *choice = choice_of(answer, event);
    name_answer(answer, event);
    if (event->event_case == LONGHAUL__V1__GENERATE_RESPONSE__EVENT_FINISHED)
        finish(answer, choice, event->finished);
    if (event->event_case != LONGHAUL__V1__GENERATE_RESPONSE__EVENT_TOKENS)
        return STATUS_OK;
    TRY(add_text(choice, event->tokens->text));
    return add_tokens(choice, event->tokens);
}

/* ---- writing ---- */

static const char *reason_word(Longhaul__V1__FinishReason reason)
{
    switch (reason) {
    case LONGHAUL__V1__FINISH_REASON__FINISH_REASON_STOP:
        return "stop";
    case LONGHAUL__V1__FINISH_REASON__FINISH_REASON_CANCELLED:
        return "cancelled";
    default:
        return "length";
    }
}

static void write_head(struct json_writer *writer, const struct openai_answer *answer,
                       const char *object)
{
    json_writer_text(writer, "id", answer->id);
    json_writer_text(writer, "object", object);
    json_writer_integer(writer, "created", answer->facts.created_s);
    json_writer_text(writer, "model", answer->facts.model);
}

static void write_usage(struct json_writer *writer, const Longhaul__V1__Usage *usage)
{
    json_writer_begin_object(writer, "usage");
    json_writer_integer(writer, "prompt_tokens", usage->prompt_tokens);
    json_writer_integer(writer, "completion_tokens", usage->completion_tokens);
    json_writer_integer(writer, "total_tokens", usage->prompt_tokens + usage->completion_tokens);
    json_writer_begin_object(writer, "prompt_tokens_details");
    json_writer_integer(writer, "cached_tokens", usage->cached_tokens);
    json_writer_end_object(writer);
    json_writer_begin_object(writer, "completion_tokens_details");
    json_writer_integer(writer, "accepted_prediction_tokens", usage->accepted_tokens);
    json_writer_integer(writer, "rejected_prediction_tokens",
                        usage->drafted_tokens - usage->accepted_tokens);
    json_writer_end_object(writer);
    json_writer_integer(writer, "prefilled_tokens", usage->prefilled_tokens);
    json_writer_end_object(writer);
}

static void write_end(struct json_writer *writer, const struct openai_answer *answer)
{
    json_writer_text(writer, "finish_reason", reason_word(answer->choices[0].reason));
    json_writer_unsigned(writer, "seed", answer->choices[0].seed);
    write_usage(writer, &answer->usage);
    json_writer_begin_object(writer, "seconds");
    json_writer_real(writer, "prefill", answer->seconds.prefill);
    json_writer_real(writer, "decode", answer->seconds.decode);
    json_writer_end_object(writer);
}

/* "logprobs" of tokens; null where none were asked for. */
static void write_logprobs(struct json_writer *writer, const struct openai_answer *answer,
                           const struct openai_token *tokens, size_t count,
                           struct openai_offset *offset)
{
    if (count == 0)
        json_writer_null(writer, "logprobs");
    else
        openai_logprobs_write(writer, answer->facts.form, answer->facts.tokenizer, tokens, count,
                              offset);
}

static void write_text(struct json_writer *writer, const char *key, const struct choice *choice)
{
    json_writer_bytes(writer, key, choice->text ? choice->text : "", choice->text_bytes);
}

static void write_choice(struct json_writer *writer, const struct openai_answer *answer,
                         const struct choice *choice)
{
    struct openai_offset offset = {0};
    json_writer_begin_object(writer, NULL);
    json_writer_integer(writer, "index", choice->index);
    if (answer->facts.form == OPENAI_CHAT) {
        json_writer_begin_object(writer, "message");
        json_writer_text(writer, "role", "assistant");
        write_text(writer, "content", choice);
        json_writer_null(writer, "refusal");
        json_writer_end_object(writer);
    } else {
        write_text(writer, "text", choice);
    }
    write_logprobs(writer, answer, choice->tokens, choice->token_count, &offset);
    json_writer_text(writer, "finish_reason", reason_word(choice->reason));
    json_writer_end_object(writer);
}

void openai_answer_write(const struct openai_answer *answer, FILE *file)
{
    struct json_writer writer = {.file = file};
    struct openai_offset offset = {0};
    const struct choice *first = &answer->choices[0];
    assert(answer->finished == answer->count);
    json_writer_begin_object(&writer, NULL);
    write_head(&writer, answer, shapes[answer->facts.form].object);
    if (answer->facts.form == OPENAI_GENERATE) {
        write_text(&writer, "text", first);
        write_logprobs(&writer, answer, first->tokens, first->token_count, &offset);
        write_end(&writer, answer);
    } else {
        json_writer_begin_array(&writer, "choices");
        for (int c = 0; c < answer->count; c++)
            write_choice(&writer, answer, &answer->choices[c]);
        json_writer_end_array(&writer);
        write_usage(&writer, &answer->usage);
    }
    json_writer_end_object(&writer);
}

/* ---- telling ---- */

static void begin_chunk(struct json_writer *writer, const struct openai_answer *answer)
{
    fputs("data: ", writer->file);
    json_writer_begin_object(writer, NULL);
    write_head(writer, answer, shapes[answer->facts.form].chunk);
}

static void end_chunk(struct json_writer *writer)
{
    json_writer_end_object(writer);
    fputs("\n\n", writer->file);
    writer->comma = false;
}

/* A part of the answer, of /v1/...; the first of a chat tells the role. */
struct part {
    struct choice *choice;
    const char *text; /* NULL: none */
    const struct openai_token *tokens;
    size_t token_count;
    const char *reason; /* NULL: it goes on */
};

static void write_delta(struct json_writer *writer, struct openai_answer *answer,
                        const struct part *part)
{
    if (answer->facts.form == OPENAI_COMPLETION) {
        json_writer_text(writer, "text", part->text ? part->text : "");
        return;
    }
    json_writer_begin_object(writer, "delta");
    if (!part->choice->role_told)
        json_writer_text(writer, "role", "assistant");
    if (part->text || !part->choice->role_told)
        json_writer_text(writer, "content", part->text ? part->text : "");
    part->choice->role_told = true;
    json_writer_end_object(writer);
}

static void tell_part(struct openai_answer *answer, const struct part *part, FILE *file)
{
    struct json_writer writer = {.file = file};
    begin_chunk(&writer, answer);
    json_writer_begin_array(&writer, "choices");
    json_writer_begin_object(&writer, NULL);
    json_writer_integer(&writer, "index", part->choice->index);
    write_delta(&writer, answer, part);
    write_logprobs(&writer, answer, part->tokens, part->token_count, &part->choice->offset);
    if (part->reason)
        json_writer_text(&writer, "finish_reason", part->reason);
    else
        json_writer_null(&writer, "finish_reason");
    json_writer_end_object(&writer);
    json_writer_end_array(&writer);
    if (answer->facts.include_usage)
        json_writer_null(&writer, "usage");
    end_chunk(&writer);
}

static void tell_usage(struct openai_answer *answer, FILE *file)
{
    struct json_writer writer = {.file = file};
    begin_chunk(&writer, answer);
    json_writer_begin_array(&writer, "choices");
    json_writer_end_array(&writer);
    write_usage(&writer, &answer->usage);
    end_chunk(&writer);
}

/* An event of /v1/...: what is no part of the answer is a comment. */
static void tell_openai(struct openai_answer *answer, const Longhaul__V1__GenerateResponse *event,
                        const struct part *part, FILE *file)
{
    switch (event->event_case) {
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_QUEUED:
        fprintf(file, ": waiting behind %" PRId64 "\n\n", event->queued->ahead);
        break;
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_PROGRESS:
        fprintf(file, ": reading %" PRId64 " of %" PRId64 "\n\n", event->progress->tokens_done,
                event->progress->tokens_total);
        break;
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_TOKENS:
        if (part->text[0] || part->token_count > 0)
            tell_part(answer, part, file);
        break;
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_FINISHED:
        tell_part(answer,
                  &(const struct part){.choice = part->choice,
                                       .reason = reason_word(part->choice->reason)},
                  file);
        if (answer->facts.include_usage && answer->finished == answer->count)
            tell_usage(answer, file);
        break;
    default:
        break;
    }
}

static void write_plan(struct json_writer *writer, const Longhaul__V1__PlanSummary *plan)
{
    json_writer_begin_object(writer, "planned");
    json_writer_text(writer, "text", plan->text);
    json_writer_text(writer, "method", plan->method);
    json_writer_integer(writer, "workers", plan->workers);
    json_writer_text(writer, "kernels", plan->kernels);
    json_writer_integer(writer, "prompt_tokens", plan->prompt_tokens);
    json_writer_integer(writer, "max_tokens", plan->max_tokens);
    json_writer_integer(writer, "stage_tokens", plan->stage_tokens);
    json_writer_integer(writer, "memory_bytes", plan->memory_bytes);
    json_writer_integer(writer, "sent_bytes", plan->sent_bytes);
    json_writer_real(writer, "flops", plan->flops);
    json_writer_real(writer, "seconds", plan->seconds);
    json_writer_end_object(writer);
}

/* An event of /longhaul/v1/generate: all of them are told. */
static void tell_generate(struct openai_answer *answer, const Longhaul__V1__GenerateResponse *event,
                          const struct part *part, FILE *file)
{
    struct json_writer writer = {.file = file};
    begin_chunk(&writer, answer);
    switch (event->event_case) {
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_QUEUED:
        json_writer_begin_object(&writer, "queued");
        json_writer_integer(&writer, "ahead", event->queued->ahead);
        json_writer_boolean(&writer, "waiting_for_workers", event->queued->waiting_for_workers);
        json_writer_end_object(&writer);
        break;
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_PLANNED:
        write_plan(&writer, event->planned);
        break;
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_PROGRESS:
        json_writer_begin_object(&writer, "progress");
        json_writer_integer(&writer, "tokens_done", event->progress->tokens_done);
        json_writer_integer(&writer, "tokens_total", event->progress->tokens_total);
        json_writer_real(&writer, "tokens_per_second", event->progress->tokens_per_second);
        json_writer_end_object(&writer);
        break;
    case LONGHAUL__V1__GENERATE_RESPONSE__EVENT_TOKENS:
        json_writer_text(&writer, "text", part->text);
        write_logprobs(&writer, answer, part->tokens, part->token_count, &part->choice->offset);
        break;
    default:
        write_end(&writer, answer);
        break;
    }
    end_chunk(&writer);
}

enum status openai_answer_tell(struct openai_answer *answer,
                               const Longhaul__V1__GenerateResponse *event, FILE *file)
{
    const bool has_tokens = event->event_case == LONGHAUL__V1__GENERATE_RESPONSE__EVENT_TOKENS;
    struct choice *choice = choice_of(answer, event);
    struct part part = {.choice = choice};
    enum status status = STATUS_OK;
    name_answer(answer, event);
    if (event->event_case == LONGHAUL__V1__GENERATE_RESPONSE__EVENT_FINISHED)
        finish(answer, choice, event->finished);
    choice->token_count = 0;
    if (has_tokens) {
        TRY_ELSE(add_tokens(choice, event->tokens), free_likeliest);
        part =
            (struct part){choice, event->tokens->text, choice->tokens, choice->token_count, NULL};
    }
    if (answer->facts.form == OPENAI_GENERATE)
        tell_generate(answer, event, &part, file);
    else
        tell_openai(answer, event, &part, file);
free_likeliest:
    for (size_t i = 0; i < choice->token_count; i++) {
        free(choice->tokens[i].likeliest);
        free(choice->tokens[i].likeliest_logprobs);
    }
    choice->token_count = 0;
    return status;
}

void openai_answer_tell_end(FILE *file)
{
    fputs("data: [DONE]\n\n", file);
}
