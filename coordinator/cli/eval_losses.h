/* losses.jsonl: how likely each method makes a text, window by window. */
#pragma once

#include "coordinator/cli/eval_settings.h"
#include "coordinator/cli/server_option.h"
#include "proto/config.h"

#define EVAL_LOSSES_FILE "losses.jsonl"

/* Scores the windows that have no line yet, in one sequence: length by length, window by window,
 * method by method. CANCELLED after an interrupt; the same call goes on. */
MUST_CHECK enum status eval_losses_make(const struct eval_settings *settings, const char *folder,
                                        const struct server_option *server,
                                        const struct config *config);
