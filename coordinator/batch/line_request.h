/* A line of a batch as the request that an errand takes: its body, the document that it names, its
 * prompt's ids and their panels. */
#pragma once

#include <stddef.h>

#include "coordinator/batch/panel_chain.h"
#include "coordinator/batch/store.h"
#include "coordinator/openai/batch_line.h"
#include "coordinator/openai/openai_request.h"
#include "coordinator/prompt.h"
#include "coordinator/text/id_list.h"
#include "proto/rpc/status_details.h"
#include "proto/status.h"

/* Borrowed. */
struct line_request_tools {
    struct store *store;
    const struct prompt_forms *forms;
};

struct line_request {
    struct batch_line parts;       /* its body points into the text */
    struct openai_request *openai; /* NULL where the line is wrong */
    char document[STORE_ID_BYTES]; /* the id of the one that it names; "": none */
    struct id_list ids;            /* of its prompt */
    struct panel_chain chain;
};

/* On failure says what is wrong, for the line's own result; `parts` has what could be read, a
 * custom_id where there is one. The caller calls line_request_deinit in either case. */
MUST_CHECK enum status line_request_init(struct line_request *request,
                                         struct status_details *details,
                                         const struct line_request_tools *tools, const char *tenant,
                                         const char *text, size_t bytes);
void line_request_deinit(struct line_request *request);

/* Of its longest answers together. */
int64_t line_request_answer_tokens(const struct line_request *request);

/* Whether a failure is the line's own: it would fail in the same way again. */
bool line_request_is_wrong(enum status status);
