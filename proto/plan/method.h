/* The long-context methods (docs/methods.md): how they are spelt, their parameters and their bands.
 * Each has a row in a file of its own (method_rows.h lists them); this is the only parser of a
 * spelling. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernels/bands.h"
#include "proto/plan/frequencies.h"
#include "proto/plan/own_table.h"
#include "proto/plan/parameter.h"
#include "proto/status.h"

enum { METHOD_TEXT_BYTES = 320 };

struct method_row;

/* A method with its parameters as numbers, in the order of its row; what they mean only the row's
 * own file knows. */
struct method {
    const struct method_row *row; /* NULL: none */
    union parameter_number numbers[PARAMETER_LIST_MAX];
    struct own_table table; /* of a row that has one */
    struct frequencies frequencies;
};

/* NAME[:key=value,...][+FREQUENCIES[:key=value,...]], for example
 * `string:shift=60,local=2+yarn:factor=2.68,original=2048`. Absent parameters take the defaults for
 * a model trained on `trained_tokens` (0: unknown). INVALID_ARGUMENT names what is wrong and what
 * is possible. */
MUST_CHECK enum status method_parse(struct method *method, const char *text,
                                    int64_t trained_tokens);

/* A parameter by name, for callers that have numbers instead of a spelling. */
struct method_value {
    const char *name;
    int64_t tokens; /* of a parameter in tokens */
    double real;    /* of any other */
};

/* The method that method_parse makes of `name` with these values, refused in the same words. */
MUST_CHECK enum status method_make(struct method *method, const char *name,
                                   const struct method_value *values, size_t count,
                                   int64_t trained_tokens);

/* Refuses parameters out of range, and a method that a request's length has yet to be told to. */
MUST_CHECK enum status method_check(const struct method *method);

/* Whether what it shows follows from a request's length, and method_fit has not told it yet. Until
 * then its bands are plain rope's. */
bool method_follows_length(const struct method *method);

/* Freezes what follows from the length of a request: `tokens` of its prompt and its answer. */
void method_fit(struct method *method, int64_t tokens);

/* The canonical spelling, every parameter as a number; method_parse gives the same method back,
 * whatever the trained length. */
void method_print(const struct method *method, char text[METHOD_TEXT_BYTES]);

/* Of a method that passed method_check. */
void method_bands(const struct method *method, struct bands *bands);

/* So many of a layer's last KV heads, or all where it has no more, see only what
 * method_local_bands shows: a part of method_bands, in the same frames. 0 for most methods. */
int64_t method_local_heads(const struct method *method);
void method_local_bands(const struct method *method, struct bands *bands);

/* What every logit is multiplied by. */
double method_logit_scale(const struct method *method);

/* L of `logn=L`: the query of index i is multiplied by max(1, ln(i + 1) / ln L). 0: by 1. */
int64_t method_logn(const struct method *method);

/* Whether it is plain rope at the model's own frequencies. */
bool method_is_plain_rope(const struct method *method);
