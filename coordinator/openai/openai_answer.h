/* An answer in OpenAI's JSON: the events of an errand collected to one body, or told one by one as
 * server-sent events.
 *
 *     TRY(openai_answer_create(&answer, &facts));
 *     for each event:  TRY(openai_answer_take(answer, event))       to collect, or
 *                      TRY(openai_answer_tell(answer, event, file)) to stream
 *     openai_answer_write(answer, file)                            the collected body, or
 *     openai_answer_tell_end(file)                                 "data: [DONE]"
 *
 * While a prompt waits or is read, a stream of /v1/... gets comments (": reading 128 of 9000"),
 * which clients skip and which keep a connection alive; one of /longhaul/v1/generate gets events.
 *
 * What is written goes to a FILE of the caller's (open_memstream, say), who looks at its errors.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "coordinator/openai/openai_request.h"
#include "coordinator/text/tokenizer.h"
#include "longhaul/v1/inference.pb-c.h"
#include "proto/status.h"

struct openai_answer;

/* Borrowed while the answer lives. */
struct openai_answer_facts {
    enum openai_form form;
    int answers;                       /* to the prompt; 0: one */
    bool include_usage;                /* of a stream */
    const char *model;                 /* to be echoed */
    int64_t created_s;                 /* seconds since 1970 */
    const struct tokenizer *tokenizer; /* for the text of log-probabilities' tokens */
};

MUST_CHECK enum status openai_answer_create(struct openai_answer **answer,
                                            const struct openai_answer_facts *facts);
void openai_answer_destroy(struct openai_answer *answer);

/* RESOURCE_EXHAUSTED: no memory for it. */
MUST_CHECK enum status openai_answer_take(struct openai_answer *answer,
                                          const Longhaul__V1__GenerateResponse *event);

/* What the last events said; all 0 until they have come. Of several answers: CANCELLED where one
 * was, and the tokens of all, the prompt's once. */
Longhaul__V1__FinishReason openai_answer_reason(const struct openai_answer *answer);
const Longhaul__V1__Usage *openai_answer_usage(const struct openai_answer *answer);

/* The whole body, one line without a line feed. Only of a finished answer. */
void openai_answer_write(const struct openai_answer *answer, FILE *file);

/* An event as a client of a stream reads it: nothing, a comment, or one or several "data: ..."
 * with their empty lines. RESOURCE_EXHAUSTED: no memory for its log-probabilities. */
MUST_CHECK enum status openai_answer_tell(struct openai_answer *answer,
                                          const Longhaul__V1__GenerateResponse *event, FILE *file);
void openai_answer_tell_end(FILE *file);
