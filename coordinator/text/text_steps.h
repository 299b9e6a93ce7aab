/* What happens to a text before it is cut into words: normal forms, lower case, a prefix,
 * replacements. */
#pragma once

#include <stdbool.h>
#include <stddef.h>

#include "coordinator/text/nfc.h"
#include "proto/model/vocab.h"
#include "proto/status.h"

struct text_steps;

/* Working memory, of one thread; starts as {0}. */
struct text_steps_scratch {
    struct nfc nfc;
    struct text_buffer {
        char *bytes;
        size_t count;
        size_t capacity;
    } buffers[2];
};

/* Copies `steps` [count]. */
MUST_CHECK enum status text_steps_create(struct text_steps **created,
                                         const struct vocab_step *steps, int count);

/* Accepts NULL. */
void text_steps_destroy(struct text_steps *steps);

/* At most how many bytes of a text become one; 0 where that is not known. */
size_t text_steps_shrink_by(const struct text_steps *steps);

/* Replaces *text [*bytes], UTF-8, by what the steps make of it: a view that lives until the next
 * call. OUT_OF_RANGE where that has more than `bytes_max`, or as nfc_normalise fails. */
MUST_CHECK enum status text_steps_apply(const struct text_steps *steps,
                                        struct text_steps_scratch *scratch, const char **text,
                                        size_t *bytes, size_t bytes_max);

void text_steps_scratch_deinit(struct text_steps_scratch *scratch);
