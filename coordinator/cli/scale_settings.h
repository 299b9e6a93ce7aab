/* What `longhaul scale` is asked to measure. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/bench/manifest.h"
#include "coordinator/cli/method_list.h"
#include "coordinator/cli/number_list.h"
#include "proto/config.h"
#include "proto/status.h"

enum { SCALE_SETTINGS_TEXT_BYTES = 32 };

struct scale_settings {
    /* As they were given, or as a manifest has them; NULL: not given. Borrowed. */
    const char *workers_text, *nodes_text, *mode_text, *methods_text;
    const char *rates_text; /* when the rates that plans follow were measured; "": none are known */
    int64_t prompt_tokens, repetitions, warmup_tokens;
    /* What they say (scale_settings_read). */
    struct number_list workers, nodes;
    bool weak;
    struct method_list methods; /* (scale_settings_read_methods) */
};

/* Reads the texts, but for the methods, of which it sees that some are given: they need the model.
 * INVALID_ARGUMENT with the option's name, for one that is missing or wrong. */
MUST_CHECK enum status scale_settings_read(struct scale_settings *settings);

/* Reads the methods, for a model that was trained for so many tokens. INVALID_ARGUMENT. */
MUST_CHECK enum status scale_settings_read_methods(struct scale_settings *settings,
                                                   int64_t trained_tokens);

/* Tokens of the prompt for so many workers. */
int64_t scale_settings_tokens(const struct scale_settings *settings, int64_t workers);

/* Of the longest prompt. */
int64_t scale_settings_most_tokens(const struct scale_settings *settings);

/* Numbers as texts, for the manifest that points to them. */
struct scale_settings_texts {
    char prompt_tokens[SCALE_SETTINGS_TEXT_BYTES];
    char repetitions[SCALE_SETTINGS_TEXT_BYTES];
    char warmup_tokens[SCALE_SETTINGS_TEXT_BYTES];
};

/* Tells the manifest of them; both may not move while it is used. */
void scale_settings_tell(const struct scale_settings *settings, struct scale_settings_texts *texts,
                         struct manifest *manifest);
