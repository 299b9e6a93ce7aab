/* "rope,string:shift=4096,local=128": several methods, whose spellings have commas of their own. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "proto/plan/method.h"
#include "proto/status.h"

enum { METHOD_LIST_MAX = 12 };

struct method_list {
    char spellings[METHOD_LIST_MAX]
                  [METHOD_TEXT_BYTES]; /* as they were given, but for tables in files */
    size_t count;
};

/* A part "key=value" belongs to the method before it. INVALID_ARGUMENT for what a model trained on
 * `trained_tokens` does not take, and for too many. */
MUST_CHECK enum status method_list_parse(struct method_list *list, const char *text,
                                         int64_t trained_tokens);
