/* Owns the list of methods. */
#include "proto/plan/method_rows.h"

const struct method_row *const method_rows[] = {
    &method_rope,
    &method_string,
    &method_lm_infinite,
};
const int method_rows_count = sizeof method_rows / sizeof method_rows[0];
