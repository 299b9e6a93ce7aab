/* An answer as server-sent events. The errand runs on a thread of its own; what it tells is kept
 * until the client takes it. */
#pragma once

#include "coordinator/http/http_exchange.h"
#include "coordinator/openai/openai_answer.h"

/* Waits for the first event, so that a request that cannot begin still has an error's code. Takes
 * the request, whatever it returns. */
MUST_CHECK enum status http_stream_answer(struct http_exchange *exchange,
                                          struct openai_request *request,
                                          const struct openai_answer_facts *facts);
