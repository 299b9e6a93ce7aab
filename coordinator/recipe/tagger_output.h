/* What a tagger says of documents: JSON lines, one a document in the sequence of data.files, with
 * spans of first byte, byte behind the last, and type, ascending, in bytes of the document's text:
 *
 *   {"spans": [[0, 4, "NUM"], [5, 9, "NOUN"]]}
 *
 * A token has the type of the first span that it shares a byte with.
 */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "coordinator/recipe/documents.h"
#include "coordinator/text/tokenizer.h"
#include "proto/model/mapping.h"
#include "proto/status.h"

enum { TAGGER_OUTPUT_TYPES_MAX = 64, TAGGER_OUTPUT_NAME_BYTES = 32 };

struct tagger_output {
    const char *path;                                              /* borrowed */
    struct mapping lines;                                          /* the file */
    size_t *starts;                                                /* [documents]: of lines */
    char names[TAGGER_OUTPUT_TYPES_MAX][TAGGER_OUTPUT_NAME_BYTES]; /* met so far */
    int count;
};

/* INVALID_ARGUMENT where the file has another number of lines than there are documents. */
MUST_CHECK enum status tagger_output_open(struct tagger_output *output, const char *path,
                                          int64_t documents);

/* Also of {0}. */
void tagger_output_close(struct tagger_output *output);

/* types [document->ids.count] of document `number`: a place in names, or -1. INVALID_ARGUMENT for a
 * line that is of no use, and for a document of ids, which has no bytes. */
MUST_CHECK enum status tagger_output_read(struct tagger_output *output, int8_t *types,
                                          const struct document *document,
                                          const struct tokenizer *tokenizer, int64_t number);
