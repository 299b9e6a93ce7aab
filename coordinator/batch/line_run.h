/* One attempt at a line: its errand, with the line as the errand's client, and what came of
 * it. */
#pragma once

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "coordinator/batch/line_request.h"
#include "coordinator/batch/line_result.h"
#include "coordinator/batch/reading_gate.h"
#include "coordinator/batch/store_line.h"
#include "coordinator/openai/openai_answer.h"
#include "coordinator/errand.h"
#include "proto/status.h"

enum { LINE_RUN_CAUSE_BYTES = 64, LINE_RUN_TENANT_BYTES = 128, LINE_RUN_SENTENCE_BYTES = 512 };

/* A line that waits or runs; the dispatch owns it. */
struct line_run {
    struct line_run *next;
    char tenant[LINE_RUN_TENANT_BYTES];
    char batch_id[STORE_ID_BYTES];
    char custom_id[BATCH_LINE_ID_BYTES];
    char cause[LINE_RUN_CAUSE_BYTES]; /* of the attempt before */
    int64_t batch, line;
    int priority;
    int64_t attempt, epoch, losses;
    int64_t expires_us; /* its batch's, by the store's clock */
    size_t order_key_bytes;
    uint8_t order_key[256];
    char *text;                  /* owned: what the request was read from; NULL: not yet */
    struct line_request request; /* from there; where it could not be read, `wrong` says why */
    enum status wrong;
    struct status_details details;
    char sentence[LINE_RUN_SENTENCE_BYTES];
    struct reading_line reading; /* under the dispatch's lock */
    int64_t placed_ns;           /* the same: when it got its place in a group; 0: it has none */
    bool in_company;             /* the same: another line has lost its group beside it */
    atomic_int stopped;          /* STORE_LINE_CANCELLED or _EXPIRED: it ends within a step */
};

/* Reads the line's text from the store and makes its request. A line that is wrong is no
 * failure. */
MUST_CHECK enum status line_run_prepare(struct line_run *line,
                                        const struct line_request_tools *tools);

/* What a line's thread says of its errand. */
typedef void line_run_news(void *context, struct line_run *line);

struct line_run_tools {
    struct store *store;
    struct errand_tools *errand;
    line_run_news *placed; /* it has a place in a group */
    line_run_news *read;   /* its prompt is read, once */
    line_run_news *left;   /* its errand is over: it has no place any more */
    /* It has lost this group, before `left`; whether it alone can be the reason. */
    bool (*lost)(void *context, struct line_run *line, const char *group_id);
    line_run_news *over; /* it has its result */
    void *context;
};

/* Runs the errand and writes what follows into the store; where the store takes no changes, waits
 * until it does. Failures of the line are no failures here. `*untried`: nobody had room for it. */
void line_run_attempt(struct line_run *line, const struct line_run_tools *tools, bool *untried);

/* Attempts are counted by how they end, from now on with their zeros. */
void line_run_offer(void);

/* Frees what the line has; NULL is accepted. */
void line_run_free(struct line_run *line);
