/* What a program's tests share that all run one model: the model in a file, and ids to feed it. */
#pragma once

#include <stdint.h>

#include "tests/support/tiny_model.h"

struct model_fixture {
    struct tiny_model_shape shape; /* its matrices are Q4_1 */
    int64_t tokens;
    char path[TINY_MODEL_PATH_BYTES]; /* this and the next by model_fixture_make */
    int32_t *ids;                     /* [tokens] of bytes, drawn at random, always the same */
};

/* From shape and tokens. Any failure ends the program. */
void model_fixture_make(struct model_fixture *fixture);

void model_fixture_drop(struct model_fixture *fixture);
