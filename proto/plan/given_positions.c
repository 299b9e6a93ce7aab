/* Owns the refusal of positions that callers give. */
#include "proto/plan/given_positions.h"

#include "proto/plan/method_rows.h"

static enum status check_each(const int64_t *positions, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        if (positions[i] < 0 || positions[i] >= GIVEN_POSITIONS_END)
            return fail(STATUS_INVALID_ARGUMENT,
                        "positions: that of token %zu is %lld, must be between 0 and %lld", i,
                        (long long)positions[i], (long long)GIVEN_POSITIONS_END - 1);
        if (i > 0 && positions[i] <= positions[i - 1])
            return fail(STATUS_INVALID_ARGUMENT,
                        "positions: that of token %zu is %lld, must be above %lld, that of the "
                        "token before it",
                        i, (long long)positions[i], (long long)positions[i - 1]);
    }
    return STATUS_OK;
}

enum status given_positions_check(const int64_t *positions, size_t count, int64_t tokens,
                                  const struct method *method)
{
    if ((int64_t)count != tokens)
        return fail(STATUS_INVALID_ARGUMENT,
                    "positions: %zu are given, and the prompt has %lld tokens", count,
                    (long long)tokens);
    if (method->row != &method_rope)
        return fail(STATUS_INVALID_ARGUMENT,
                    "positions go with the method rope, with any frequencies; the bands of %s go "
                    "by indices",
                    method->row->name);
    return check_each(positions, count);
}
