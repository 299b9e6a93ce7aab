/* The builders of the tasks in eval_task.c's table. */
#pragma once

#include "coordinator/eval/eval_task.h"

/* A key in noise: `count` is its digits. */
eval_task_build eval_hidden_passkey, eval_hidden_number;

/* Needles in sentences or noise: `count` of one key. */
eval_task_build eval_needles_of_one_key;

/* RULER's. */
eval_task_build eval_needles_single, eval_needles_among_words, eval_needles_among_uuids;
eval_task_build eval_variables, eval_common_words, eval_coded_words;

/* How many words eval_common_words has to choose from. */
size_t eval_lists_words(const struct eval_material *material);

/* A JSON object of uuids, and a random graph of at most so many nodes. */
enum { EVAL_WALKS_NODES = 90000 };
eval_task_build eval_pairs, eval_walks;
