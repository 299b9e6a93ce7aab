/* A table of the user's own (docs/methods.md, A table of your own). */
#include "proto/plan/method_rows.h"

enum { SINKS };

static enum status table_check(const struct method *method)
{
    struct own_table_fault fault;
    if (own_table_check(&method->table, method->numbers[SINKS].tokens, &fault))
        return STATUS_OK;
    if (fault.band < 0)
        return fail(STATUS_INVALID_ARGUMENT, "method table: %s", fault.sentence);
    return fail(STATUS_INVALID_ARGUMENT, "method table: %s, band %d: %s",
                fault.key_class == BAND_SINK ? "sink_keys" : "keys", fault.band + 1,
                fault.sentence);
}

static void table_bands(const struct method *method, struct bands *bands)
{
    own_table_bands(&method->table, method->numbers[SINKS].tokens, bands);
}

const struct method_row method_table = {
    .name = "table",
    .parameters = {[SINKS] = {.name = "sinks",
                              .type = PARAMETER_TOKENS,
                              .least.tokens = 1,
                              .most.tokens = PARAMETER_TOKENS_MAX,
                              .zero_is_none = true}},
    .has_table = true,
    .check = table_check,
    .bands = table_bands,
};
