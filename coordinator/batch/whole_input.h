/* The lines of a batch that comes with its input, checked at once. */
#pragma once

#include "coordinator/batch/batch_tools.h"
#include "coordinator/batch/line_check.h"
#include "coordinator/batch/store_batch.h"

struct whole_input {
    struct checked_line *checked; /* [count] */
    struct store_new_line *lines; /* [count] */
    size_t count, room;
    char endpoint[STORE_ENDPOINT_BYTES];
};

/* `endpoint`: all lines' url; "": the first line's. Looks before each line whether the call should
 * end: CANCELLED once its client has left, UNAVAILABLE while the coordinator drains. The caller
 * calls whole_input_deinit in either case. */
MUST_CHECK enum status whole_input_init(struct whole_input *input,
                                        const struct batch_context *context, const char *batch_id,
                                        const char *endpoint, const void *bytes, size_t size);
void whole_input_deinit(struct whole_input *input);
