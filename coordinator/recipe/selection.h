/* Which sentences are trained on. A sentence is kept where one of its tokens is marked; another one
 * is dropped with a chance that the selection says.
 *
 *   none    all are kept
 *   digits  marked: tokens with a digit; others dropped with (int(10 ratio) - 1) / 10, as published
 *   impact  marked: ids that gain by tuning (token_impact.h); others are all dropped
 *   tags    marked: what a tagger gave one of the types (tagger_output.h); others are all
 *           dropped
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/recipe/documents.h"
#include "coordinator/recipe/token_impact.h"
#include "coordinator/text/tokenizer.h"
#include "proto/status.h"
#include "proto/train/train_config.h"

struct selection;

struct selection_args {
    enum train_selection kind;
    uint64_t seed;
    double ratio;                      /* of digits */
    const struct token_impact *impact; /* of impact; read while the selection is made */
    double share;                      /* of impact */
    const char *tags;                  /* of tags; borrowed */
    const char *tag_types;             /* of tags, apart by blanks; borrowed */
    int64_t documents;                 /* of tags: how many there are */
    const struct tokenizer *tokenizer; /* borrowed */
};

/* FAILED_PRECONDITION where no id at all is impactful, INVALID_ARGUMENT where the tagger's output
 * has another number of lines than there are documents. */
MUST_CHECK enum status selection_create(struct selection **selection,
                                        const struct selection_args *args);

/* Accepts NULL. */
void selection_destroy(struct selection *selection);

/* Marks the tokens of document `number`. INVALID_ARGUMENT for a tagger's line that is of no use. */
MUST_CHECK enum status selection_begin(struct selection *selection, const struct document *document,
                                       int64_t number);

/* The document's sentences are asked for one after the other: whether tokens first .. end are
 * kept. What is kept follows from the seed, the document's number and the sentence's. */
bool selection_keeps(struct selection *selection, int64_t first, int64_t end);
