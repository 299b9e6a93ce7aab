/* Owns the list of methods. */
#include "proto/plan/method_rows.h"

const struct method_row *const method_rows[] = {
    &method_rope,            /* as the model was trained */
    &method_string,          /* far distances moved back */
    &method_lm_infinite,     /* a window, and sinks at a ceiling */
    &method_streaming_llm,   /* a window, and sinks at their places in its cache */
    &method_rerope,          /* distances that stop at a window */
    &method_leaky_rerope,    /* distances that grow more slowly from a window on */
    &method_self_extend,     /* distances of groups of tokens from a window on */
    &method_dca,             /* distances by the chunks that two tokens are in */
    &method_streaming_heads, /* a window, and sinks, for some heads */
    &method_lampe,           /* distances that a text's length squeezes, but for near and far */
    &method_table,           /* as a user says it, band by band */
};
const int method_rows_count = sizeof method_rows / sizeof method_rows[0];
