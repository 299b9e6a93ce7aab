/* What validation finds of a line: where it belongs among the others, or what is wrong with it. */
#pragma once

#include <stdbool.h>

#include "coordinator/batch/line_request.h"
#include "coordinator/batch/line_result.h"
#include "coordinator/batch/store_batch.h"

/* A line as the store takes it, with its storage; `line` points into the rest. */
struct checked_line {
    struct store_new_line line;
    struct line_result failed; /* the result of a line that is wrong */
    char custom_id[BATCH_LINE_ID_BYTES];
    char document[STORE_ID_BYTES];
    uint8_t order_key[PANEL_CHAIN_KEY_BYTES];
};

/* Whose line it is. */
struct line_check_place {
    const char *tenant, *batch_id;
    int64_t number;      /* from 1 */
    int64_t offset;      /* in the batch's input */
    int64_t input_bytes; /* that it takes there */
    /* The url that all lines have; where it is empty, this line's is written there. */
    char *endpoint;
};

/* INVALID_ARGUMENT where `endpoint` is another one; an empty one becomes `url`. */
MUST_CHECK enum status line_check_url(char *endpoint, struct status_details *details,
                                      const char *url);

/* A line that is wrong is no failure: it gets its result. The caller calls line_check_deinit.
 * `request` is left for the caller to look at and to deinit. */
MUST_CHECK enum status line_check(struct checked_line *checked, struct line_request *request,
                                  const struct line_request_tools *tools,
                                  const struct line_check_place *place, const char *text,
                                  size_t bytes);
/* Points `line` into the rest, again, after the struct has been moved. */
void line_check_settle(struct checked_line *checked);

void line_check_deinit(struct checked_line *checked);
