/* Samples made of documents: these in an order of their own, sentence by sentence, cut into samples
 * of one length, which are then shuffled and given their positions. All of it follows from the
 * seed: samples are the same wherever and however often they are made.
 */
#pragma once

#include <stdint.h>

#include "coordinator/recipe/documents.h"
#include "coordinator/recipe/positions.h"
#include "coordinator/recipe/selection.h"
#include "coordinator/recipe/sentences.h"
#include "proto/status.h"
#include "proto/train/train_config.h"

struct packing_args {
    const struct documents *documents;
    const struct sentences *sentences;
    struct selection *selection; /* NULL: whole documents, as of replay */
    struct positions_args positions;
    enum train_loss loss; /* TRAIN_LOSS_RESPONSE: prompts are not counted */
    int64_t sample_tokens;
    int64_t samples; /* at most; 0: what there is */
    int64_t vocab;   /* the rows of the model's embedding */
    uint64_t seed;
    /* Asked between documents: whether to stop, CANCELLED. */
    bool (*stops)(void);
};

struct packing_report {
    int64_t documents; /* read */
    int64_t tokens;    /* of them */
    int64_t sentences; /* with a selection */
    int64_t kept;      /* of the sentences */
    int64_t samples;
    int64_t uncounted; /* further ones, which were dropped: the loss counts no token of them */
};

/* order [count]: the document that is packed as the nth, and the packed sample that is the nth of
 * the file. */
void packing_document_order(int64_t *order, int64_t count, uint64_t seed);
void packing_sample_order(int64_t *order, int64_t count, uint64_t seed);

/* Writes a file of samples at `path` (sample_file.h). What is left of the last sample is dropped.
 * FAILED_PRECONDITION where the documents do not fill one, or the loss counts none of their
 * tokens. */
MUST_CHECK enum status packing_write(const char *path, struct packing_report *report,
                                     const struct packing_args *args);
