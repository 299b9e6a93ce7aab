/* A line's result: the output line, in memory, with the code that HTTP has for it. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "coordinator/batch/store_line.h"
#include "coordinator/openai/openai_answer.h"
#include "proto/rpc/status_details.h"
#include "proto/status.h"

struct line_result {
    int status_code; /* 200, or the error's, as HTTP has it */
    char *json;      /* owned; ends in 0 */
    size_t bytes;
};

/* Whose result it is. */
struct line_result_name {
    const char *batch_id;
    int64_t line;
    const char *custom_id; /* "": it has none */
};

/* What an errand made of it. */
MUST_CHECK enum status line_result_answer(struct line_result *result,
                                          const struct line_result_name *name,
                                          const struct openai_answer *answer);

/* A failure, with its sentence. */
MUST_CHECK enum status line_result_failure(struct line_result *result,
                                           const struct line_result_name *name, enum status status,
                                           const struct status_details *details,
                                           const char *sentence);

/* It was not carried out: "batch_cancelled" or "batch_expired", by its state. */
MUST_CHECK enum status line_result_unanswered(struct line_result *result,
                                              const struct line_result_name *name,
                                              enum store_line_state state);

/* The result as the store tells it, with words for one that has no body or is damaged. */
MUST_CHECK enum status line_result_told(struct line_result *result, const char *batch_id,
                                        const struct store_told_result *told);

void line_result_deinit(struct line_result *result);
