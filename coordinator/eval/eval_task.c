/* Owns the table of tasks. Prompts and budgets: RULER (Hsieh et al., 2024), InfiniteBench (Zhang
 * et al., 2024), LM-Infinite (Han et al., 2024), STRING (An et al., 2024); docs/evaluation.md
 * says what of them is theirs and what is ours. */
#include "coordinator/eval/eval_task.h"

#include <string.h>

#include "coordinator/eval/eval_builders.h"

static const struct eval_task tasks[] = {
    {.name = "passkey",
     .group = "passkey",
     .help = "one number of 5 digits in noise",
     .answer_tokens = 12,
     .metric = EVAL_FIRST_INTEGER,
     .deep = true,
     .count = 5,
     .least_units = 1,
     .build = eval_hidden_passkey},
    {.name = "niah_1",
     .group = "niah",
     .help = "one needle in a text",
     .answer_tokens = 32,
     .metric = EVAL_MATCH_ALL,
     .deep = true,
     .count = 1,
     .least_units = 2,
     .build = eval_needles_of_one_key},
    {.name = "niah_4",
     .group = "niah",
     .help = "4 needles of one key in a text",
     .answer_tokens = 64,
     .metric = EVAL_MATCH_ALL,
     .deep = true,
     .count = 4,
     .least_units = 8,
     .build = eval_needles_of_one_key},
    {.name = "niah_8",
     .group = "niah",
     .help = "8 needles of one key in a text",
     .answer_tokens = 128,
     .metric = EVAL_MATCH_ALL,
     .deep = true,
     .count = 8,
     .least_units = 16,
     .build = eval_needles_of_one_key},
    {.name = "niah_single_1",
     .group = "ruler",
     .help = "RULER: a needle in noise",
     .answer_tokens = 128,
     .metric = EVAL_MATCH_ALL,
     .count = 1,
     .least_units = 1,
     .build = eval_needles_single},
    {.name = "niah_multikey_2",
     .group = "ruler",
     .help = "RULER: a needle among needles",
     .answer_tokens = 128,
     .metric = EVAL_MATCH_ALL,
     .count = 1,
     .least_units = 2,
     .build = eval_needles_among_words},
    {.name = "niah_multikey_3",
     .group = "ruler",
     .help = "RULER: the same of uuids",
     .answer_tokens = 128,
     .metric = EVAL_MATCH_ALL,
     .count = 1,
     .least_units = 2,
     .build = eval_needles_among_uuids},
    {.name = "vt",
     .group = "ruler",
     .help = "RULER: variables that have one value",
     .answer_tokens = 30,
     .metric = EVAL_MATCH_ALL,
     .count = 5,
     .least_units = 6,
     .build = eval_variables},
    {.name = "cwe",
     .group = "ruler",
     .help = "RULER: the 10 commonest words of a list",
     .answer_tokens = 120,
     .metric = EVAL_MATCH_ALL,
     .count = 10,
     .least_units = 11,
     .build = eval_common_words,
     .shortage = "give --words FILE with more words, one a line, such as /usr/share/dict/words"},
    {.name = "fwe",
     .group = "ruler",
     .help = "RULER: the 3 commonest of coded words",
     .answer_tokens = 50,
     .metric = EVAL_MATCH_ALL,
     .count = 3,
     .least_units = 32,
     .build = eval_coded_words},
    {.name = "graph",
     .group = "graph",
     .help = "nodes two steps from one in a random graph",
     .answer_tokens = 64,
     .metric = EVAL_NODES_F1,
     .count = 2,
     .least_units = 8,
     .build = eval_walks,
     .shortage = "its nodes have no more names; give smaller --lengths"},
    {.name = "kv",
     .group = "kv",
     .help = "the value of a key in a JSON object of uuids",
     .answer_tokens = 50,
     .metric = EVAL_MATCH_ALL,
     .deep = true,
     .count = 1,
     .least_units = 2,
     .build = eval_pairs},
    {.name = "number",
     .group = "number",
     .help = "one number of 10 digits, many alike, in noise",
     .answer_tokens = 24,
     .metric = EVAL_FIRST_INTEGER,
     .deep = true,
     .count = 10,
     .least_units = 1,
     .build = eval_hidden_number},
};

enum { UNITS_MOST = 1 << 28 };

enum { TASKS = sizeof tasks / sizeof tasks[0] };

const struct eval_task *eval_task_at(size_t number)
{
    return number < TASKS ? &tasks[number] : NULL;
}

const struct eval_task *eval_task_find(const char *name)
{
    for (size_t i = 0; i < TASKS; i++)
        if (strcmp(tasks[i].name, name) == 0)
            return &tasks[i];
    return NULL;
}

int64_t eval_task_most_units(const struct eval_case *of)
{
    if (of->task->build == eval_common_words)
        return (int64_t)eval_lists_words(of->material);
    return of->task->build == eval_walks ? EVAL_WALKS_NODES : UNITS_MOST;
}
