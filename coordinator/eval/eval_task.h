/* The tasks that are generated: what is asked, how long an answer may be, how it is scored. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include "coordinator/eval/eval_material.h"
#include "coordinator/eval/eval_prompt.h"
#include "coordinator/eval/eval_random.h"
#include "coordinator/eval/eval_score.h"

/* Of what the generators make: another number, other prompts for the same key. */
enum { EVAL_TASK_VERSION = 1 };

/* One sample of a task, before it has a size. */
struct eval_case {
    const struct eval_task *task;
    const struct eval_material *material;
    struct eval_random_key key; /* its task is the task's name */
    int depth;                  /* percent of the text before what is asked for; -1: drawn */
};

/* Writes the prompt of `units` units: lines, sentences, pairs, words, nodes. The same units, the
 * same bytes; more units, a longer prompt. INVALID_ARGUMENT where the material does not suffice. */
typedef enum status eval_task_build(struct eval_prompt *prompt, const struct eval_case *of,
                                    int64_t units);

struct eval_task {
    const char *name;      /* "niah_4" */
    const char *group;     /* what asks for it with others: "niah" */
    const char *help;      /* one line */
    int64_t answer_tokens; /* that an answer may have */
    enum eval_metric metric;
    bool deep; /* what is asked for lies at the depth that is asked for */
    int count; /* of needles, or what the builder makes of it */
    int64_t least_units;
    eval_task_build *build;
    const char *shortage; /* what to do where there are no more units; NULL: there always are */
};

/* NULL behind the last one. */
const struct eval_task *eval_task_at(size_t number);

/* By its own name; NULL: there is none. */
const struct eval_task *eval_task_find(const char *name);

/* As many units as there are for it. */
int64_t eval_task_most_units(const struct eval_case *of);
