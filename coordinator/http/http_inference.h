/* Models and answers: /v1/models, /v1/completions, /v1/chat/completions, /longhaul/v1/generate. */
#pragma once

#include "coordinator/http/http_exchange.h"

MUST_CHECK enum status http_inference_models(struct http_exchange *exchange);
MUST_CHECK enum status http_inference_model(struct http_exchange *exchange);
MUST_CHECK enum status http_inference_answer(struct http_exchange *exchange);
