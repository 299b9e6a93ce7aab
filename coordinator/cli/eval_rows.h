/* results.jsonl as it is read again, and what follows from it for each task, method and length. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "coordinator/eval/eval_interval.h"
#include "coordinator/eval/eval_prompt.h"
#include "proto/plan/method.h"
#include "proto/status.h"

enum { EVAL_ROWS_TASK_BYTES = 64, EVAL_ROWS_HEX_BYTES = 33 };

struct eval_row {
    char task[EVAL_ROWS_TASK_BYTES], method[METHOD_TEXT_BYTES], hex[EVAL_ROWS_HEX_BYTES];
    int64_t length, sample;
    int depth; /* -1: none */
    bool failed;
    bool is_loss; /* less is better */
    double score;
    unsigned char depths[EVAL_ANSWERS_MAX]; /* [placed], in percent */
    bool found[EVAL_ANSWERS_MAX];           /* [placed] */
    size_t placed;
};

struct eval_rows {
    struct eval_row *rows;
    size_t count, room;
};

/* {0} at first. IO, or DATA_LOSS with the line's number. */
MUST_CHECK enum status eval_rows_read(struct eval_rows *rows, const char *folder);
void eval_rows_deinit(struct eval_rows *rows);

/* Rows of one task, method and length. */
struct eval_group {
    const struct eval_row *first;
    const struct eval_row *task_first; /* of its task, in any group */
    size_t samples, failed;
    double sum;
    struct eval_interval interval;
};

struct eval_groups {
    struct eval_group *groups; /* by task, as these come, then length, then method, as they come */
    size_t count;
};

/* The windows of losses.jsonl as rows of the task perplexity: `sample` is the window, `score`
 * its loss in nats. NOT_FOUND where there are none. */
MUST_CHECK enum status eval_rows_read_losses(struct eval_rows *rows, const char *folder);

/* Borrows the rows. */
MUST_CHECK enum status eval_rows_group(struct eval_groups *groups, const struct eval_rows *rows);
void eval_groups_deinit(struct eval_groups *groups);
