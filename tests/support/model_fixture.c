/* Owns the file and the ids of a fixture, from make to drop. */
#include "tests/support/model_fixture.h"

#include <stdlib.h>
#include <unistd.h>

void model_fixture_make(struct model_fixture *fixture)
{
    tiny_model_make(fixture->path, &fixture->shape, DTYPE_Q4_1);
    fixture->ids = calloc((size_t)fixture->tokens, sizeof *fixture->ids);
    if (!fixture->ids)
        abort();
    tiny_model_ids(fixture->ids, fixture->tokens);
}

void model_fixture_drop(struct model_fixture *fixture)
{
    unlink(fixture->path);
    free(fixture->ids);
}
