/* Which parts of speech gain by tuning for long text: what token_impact.h counts by token, counted
 * by the types of a tagger's output, as the paper does. */
#pragma once

#include <stdint.h>

#include "coordinator/recipe/documents.h"
#include "coordinator/recipe/tagger_output.h"
#include "coordinator/recipe/token_impact.h"
#include "coordinator/text/tokenizer.h"
#include "proto/status.h"

struct type_impact {
    struct token_impact_row rows[TAGGER_OUTPUT_TYPES_MAX]; /* as the tagger's names stand */
    struct token_impact_row none;                          /* tokens without a type */
};

struct type_impact_args {
    const struct documents *documents; /* that the samples were packed of, all of them */
    const struct tokenizer *tokenizer;
    const struct record_file *samples, *scores; /* that belong together */
    uint64_t seed;                              /* that they were packed with */
    double top;                                 /* as token_impact_init has it */
};

/* Walks the documents as packing did. INVALID_ARGUMENT where the samples are not of them. */
MUST_CHECK enum status type_impact_find(struct type_impact *impact, struct tagger_output *tags,
                                        const struct type_impact_args *args);
