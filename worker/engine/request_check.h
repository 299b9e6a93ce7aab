/* Whether a rank can take a request, before anything of it begins. */
#pragma once

#include "proto/status.h"
#include "worker/engine/engine.h"
#include "worker/engine/places.h"

/* Refuses, with a sentence for whoever asked, what the group and its model cannot serve. It changes
 * nothing: a peer may refuse. */
MUST_CHECK enum status request_check(const struct engine_request *request,
                                     const struct places *places);
