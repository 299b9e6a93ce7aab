/* The rows of all methods: one each, in a file of its own, from which spelling, defaults, ranges
 * and bands follow. To add a method, write its file and add it here and to the list in
 * method_rows.c. */
#pragma once

#include "proto/plan/method.h"

struct method_row {
    const char *name;
    /* To one without a name; `logn` comes last in every method, and is not of the row. */
    struct parameter parameters[PARAMETER_LIST_MAX];
    bool has_table; /* of a user's own: `keys` and `sink_keys` are read into method->table */
    /* What no range can say: INVALID_ARGUMENT names the parameter. NULL: nothing. */
    enum status (*check)(const struct method *method);
    /* Of a method that passed its checks; sets all of `bands`. */
    void (*bands)(const struct method *method, struct bands *bands);
    /* method_local_heads and method_local_bands, both or neither; NULL: there are none. */
    int64_t (*local_heads)(const struct method *method);
    void (*local_bands)(const struct method *method, struct bands *bands);
    /* NULL: 1 */
    double (*logit_scale)(const struct method *method);
};

extern const struct method_row method_rope;
extern const struct method_row method_string;
extern const struct method_row method_lm_infinite;
extern const struct method_row method_streaming_llm;
extern const struct method_row method_rerope;
extern const struct method_row method_leaky_rerope;
extern const struct method_row method_self_extend;
extern const struct method_row method_dca;
extern const struct method_row method_streaming_heads;
extern const struct method_row method_lampe;
extern const struct method_row method_table;

/* In the order in which messages name them. */
extern const struct method_row *const method_rows[];
extern const int method_rows_count;
