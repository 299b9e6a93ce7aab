/* The long-context methods (docs/methods.md): how they are spelt, their parameters and their bands.
 * The table is in method_rows.c; this is the only parser of a spelling. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "kernels/bands.h"
#include "proto/status.h"

enum method_kind {
    METHOD_ROPE,
    METHOD_STRING,
    METHOD_LM_INFINITE,
};

/* The logit scale of the published STRING code: (0.1 ln 2 + 1) squared. */
#define METHOD_PUBLISHED_LOGIT_SCALE 1.143434

/* Largest number of tokens anywhere: sums of two stay far from overflow. */
#define METHOD_TOKENS_MAX ((int64_t)1 << 40)

enum { METHOD_TEXT_BYTES = 128 };

/* Parameters of other kinds are 0. */
struct method {
    enum method_kind kind;
    double logit_scale;   /* multiplies every logit; 1 unless asked for */
    int64_t shift, local; /* STRING: e = d below shift, d - shift + local from there on */
    int64_t window, sinks,
        ceiling; /* LM-Infinite: e = d below window; sinks at e = ceiling beyond */
};

/* `rope`, `string[:shift=S,local=W,logit_scale=X|published]` or
 * `lm_infinite[:window=B,sinks=G,ceiling=c]`. S is a number of tokens, a fraction of
 * `trained_tokens` (0.33), or `auto` (a third of it). INVALID_ARGUMENT names what is wrong and what
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

/* Refuses parameters out of range; for methods that came from neither of the two. */
MUST_CHECK enum status method_check(const struct method *method);

/* The canonical spelling, every parameter as a number; method_parse gives the same method back,
 * whatever the trained length. */
void method_print(const struct method *method, char text[METHOD_TEXT_BYTES]);

/* The bands of a method that passed method_check. */
void method_bands(const struct method *method, struct bands *bands);
