/* A request over HTTP whose answer is collected, as its errand sees it. */
#pragma once

#include "coordinator/http/http_exchange.h"
#include "coordinator/openai/openai_answer.h"
#include "coordinator/errand_client.h"

struct http_client {
    struct http_exchange *exchange;
    struct openai_answer *answer; /* the caller's */
};

/* Lives as long as both. */
struct errand_client http_client_errand(struct http_client *client);

/* Whether the client has gone, or the server ends. */
bool http_client_left(const struct http_exchange *exchange);

/* Keeps the request's name for the answer's head. */
void http_client_name(struct http_exchange *exchange, const char *request_id);
