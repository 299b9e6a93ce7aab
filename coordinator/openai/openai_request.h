/* What a client asks for in OpenAI's JSON, as the request that errands take.
 *
 *   /v1/completions         a text as it is, without the model's chat form
 *   /v1/chat/completions    a conversation
 *   /longhaul/v1/generate   a stored document or a text, and a question about it:
 *                           {"document": "documents/ID" | "sha256:HEX", "text", "question", "raw"},
 *                           or {"session": "sessions/ID", "question"}
 *
 * All three take max_tokens, temperature, top_p, top_k, min_p, repetition_penalty, seed, stop,
 * method (a spelling), logprobs, model, stream and stream_options. What OpenAI has and this server
 * has not (tools, response_format, ...) is refused by name; a value that asks for
 * nothing ("best_of": 1, "tools": [], null) is accepted. docs/http.md has the list.
 *
 * Nothing is read or written here: a document that is named is put in by whoever has the store.
 */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "longhaul/v1/inference.pb-c.h"
#include "proto/rpc/status_details.h"
#include "proto/status.h"

enum openai_form {
    OPENAI_COMPLETION, /* /v1/completions */
    OPENAI_CHAT,       /* /v1/chat/completions */
    OPENAI_GENERATE    /* /longhaul/v1/generate */
};

enum { OPENAI_BODY_BYTES_MAX = 32 << 20, OPENAI_DEPTH_MAX = 64, OPENAI_VALUES_MAX = 1 << 16 };

/* The fact of status_details under which a refusal tells the field that it is about, where its name
 * is the client's. */
#define OPENAI_PARAMETER "param"

struct openai_request {
    enum openai_form form;
    bool stream;          /* answer by server-sent events */
    bool include_usage;   /* a last chunk with the usage */
    const char *model;    /* as the client wrote it; "": not given */
    const char *document; /* "documents/ID", "sha256:HEX"; "": none is named */
    /* Complete, but for the text of `document`. Its request_id is "". */
    Longhaul__V1__GenerateRequest *generate;
};

/* Whether this is the path of a request that openai_request_parse takes; `*form` is which. */
bool openai_request_form(enum openai_form *form, const char *url);

/* A body of a request, need not end in 0. Its memory is bounded by its size: OUT_OF_RANGE above
 * OPENAI_BODY_BYTES_MAX, INVALID_ARGUMENT for what nests deeper than OPENAI_DEPTH_MAX or has more
 * than OPENAI_VALUES_MAX values, for text that is no JSON in UTF-8, for a key that comes twice, and
 * for every field that is refused, by its name. NOT_FOUND for another url. */
MUST_CHECK enum status openai_request_parse(struct openai_request **request,
                                            struct status_details *details, const char *url,
                                            const char *body, size_t bytes);

/* The text of the document that was named; takes `text`, which is malloced, ends in 0 and is UTF-8.
 * Not for a request that names none. */
void openai_request_set_document(struct openai_request *request, char *text);

/* Accepts NULL. */
void openai_request_free(struct openai_request *request);
