/* The long-context methods: how they are spelt, their parameters, and their bands
 * (docs/methods.md). */
#pragma once

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
 * `trained_tokens` (0.33), or `auto` (a third of it). */
MUST_CHECK enum status method_parse(struct method *method, const char *text,
                                    int64_t trained_tokens);

/* Refuses parameters out of range; for methods that did not come from method_parse. */
MUST_CHECK enum status method_check(const struct method *method);

/* The canonical spelling, every parameter as a number; method_parse gives the same method back. */
void method_print(const struct method *method, char text[METHOD_TEXT_BYTES]);

/* The bands of a method that passed method_check. */
void method_bands(const struct method *method, struct bands *bands);
